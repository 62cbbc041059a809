"""From a trained network to an int8 file that was found to be as good and faster."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from reslab.data import AnyData, Role
from reslab.data.dataset import Samples
from reslab.deploy.engine_files import ENGINE_FILES, EngineFiles
from reslab.deploy.gate import Comparison, check, compare
from reslab.deploy.quantizers import QuantizationError
from reslab.deploy.runtime import Engine, load_deployed
from reslab.deploy.writing import publish
from reslab.tasks import find_task
from reslab.texts import show_size
from reslab.trained import Trained

__all__ = ["DEFAULT_IMAGES", "DEFAULT_MAX_DROP", "INT8_SUFFIXES", "Gate", "QuantizationReport", "quantize"]

DEFAULT_IMAGES = 300
DEFAULT_MAX_DROP = 0.5
INT8_SUFFIXES: dict[Engine, str] = {engine: files.suffixes[0] for engine, files in ENGINE_FILES.items()}

_CALIBRATION_BATCH = 25
_LARGEST_GATE = 10_000  # train images, where there is no val split: more would tell no more
_SEED = 0

Progress = Callable[[str, int, int], object]


@dataclass(frozen=True, kw_only=True)
class QuantizationReport:
    """What was written, and how it compares.

    Args:
        model: spelling of the network.
        path: of the file.
        data: name of the images.
        num_bytes: of the file, OpenVINO's weights included.
        float32_bytes: of the file that was quantised.
        calibration_images: from the train split.
        comparison: of the two.
        forced: whether the comparison speaks against the file.
        versions: of the libraries that made it.
        note: what a user must know of the network, a sentence; or empty.
    """

    model: str
    path: Path
    data: str
    num_bytes: int
    float32_bytes: int
    calibration_images: int
    comparison: Comparison
    forced: bool
    versions: dict[str, str]
    note: str = ""

    def __str__(self) -> str:
        found = self.comparison
        seen = ", which the network was trained on" if found.split == "train" else ""
        return (
            f"{self.path}: {show_size(self.num_bytes)}, float32 {show_size(self.float32_bytes)}\n"
            f"{found.what} {found.int8_error:.2f} %, float32 {found.float32_error:.2f} %, on {found.num_images:,} "
            f"{found.split} images of {self.data}{seen}; they agree on {found.agreement:.2f} %\n"
            f"{found.speed_ratio:.2f} times as fast in {found.engine}, batches of {found.batch_size}"
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "model": self.model,
            "path": str(self.path),
            "data": self.data,
            "num_bytes": self.num_bytes,
            "float32_bytes": self.float32_bytes,
            "calibration_images": self.calibration_images,
            **self.comparison.to_dict(),
            "forced": self.forced,
            "versions": self.versions,
        }


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What an int8 file must be to be written.

    Args:
        max_drop: error, in percentage points, that int8 may add.
        force: whether to write a file that is worse or no faster, too.
        threads: that both files are run with; all available cores by default.
    """

    max_drop: float = DEFAULT_MAX_DROP
    force: bool = False
    threads: int | None = None


def quantize(
    trained: Trained,
    data: AnyData,
    out: Path | str,
    *,
    engine: Engine = "openvino",
    num_images: int = DEFAULT_IMAGES,
    gate: Gate | None = None,
    progress: Progress | None = None,
) -> QuantizationReport:
    """Writes an int8 file, after comparing its errors and its speed with those of a float32 file.

    It is calibrated on train images, and compared on the val split; where there is none, on train images that it was
    not calibrated on, which the network has seen in training. Test images decide nothing.

    Args:
        trained: the network, whose normalisation must be known.
        data: labelled images; photos are seen as the network sees them.
        out: of the file to write; its suffix is the engine's.
        engine: that the file is for.
        num_images: to calibrate with.
        gate: what the file must be to be written.
        progress: told what is being done, how much of it is done, and how much there is to do.

    Raises:
        QuantizationError: the int8 network is worse or no faster, or there are too few images. No file is then left,
            and one that was there stays as it was.
        ReslabError: the data do not fit, the libraries are missing, or a file cannot be written.
    """
    out, tell, gate = Path(out), progress or (lambda text, done, total: None), gate or Gate()
    files = ENGINE_FILES[engine]
    _check_name(out, engine)
    data = trained.about.fit(data)
    if trained.about.classes is None:  # a wrong order would show as an error of 90 %
        trained = Trained(trained.model, trained.about.named(data.classes))
    calibration, held_out, role = _parts(data, num_images)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}{out.suffix}" for name in ("float32", "int8")]
        _make(trained, calibration, files, paths, tell)
        load = partial(load_deployed, engine=engine, threads=gate.threads)
        with load(paths[0]) as float32, load(paths[1]) as int8:
            advance = _counting(tell, 2 * len(held_out))
            comparison = compare(float32, int8, held_out, role=role, advance=advance, task=find_task(data.task))
        refused = _refused(comparison, gate)
        publish(paths[1], out, files.suffixes)
        float32_bytes, num_bytes = (files.num_bytes(path) for path in paths)
    return QuantizationReport(
        model=trained.about.model,
        path=out,
        data=data.name,
        num_bytes=num_bytes,
        float32_bytes=float32_bytes,
        calibration_images=len(calibration),
        comparison=comparison,
        forced=refused,
        versions={name: version(name) for name in files.libraries},
        note=trained.about.note,
    )


def _make(trained: Trained, calibration: Samples, files: EngineFiles, paths: Sequence[Path], tell: Progress) -> None:
    """Writes the float32 file, and the int8 file that is made of it."""
    tell("Exporting", 0, 1)
    files.export(trained, paths[0])
    tell("Quantising", 0, 1)
    starts = range(0, len(calibration), _CALIBRATION_BATCH)
    files.quantize(paths[0], [calibration.read(at, at + _CALIBRATION_BATCH) for at in starts], paths[1])


def _counting(tell: Progress, total: int) -> Callable[[int], None]:
    """Adds up what is told to be done."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        tell("Comparing", done, total)

    return advance


def _refused(comparison: Comparison, gate: Gate) -> bool:
    """Whether the comparison speaks against the file, and it is wanted all the same."""
    try:
        check(comparison, gate.max_drop)
    except QuantizationError:
        if not gate.force:
            raise
        return True
    return False


def _check_name(out: Path, engine: Engine) -> None:
    if out.suffix != INT8_SUFFIXES[engine]:
        raise QuantizationError(f"{out.name} must end in {INT8_SUFFIXES[engine]}, as {engine}'s files do.")
    if out.is_dir():
        raise QuantizationError(f"{out} is a folder; give the name of a file that ends in {out.suffix}.")


def _parts(data: AnyData, num_images: int) -> tuple[Samples, Samples, Role]:
    """Images to calibrate with, and others to compare on with their role."""
    if num_images < 1:
        raise QuantizationError(f"it takes at least one image to calibrate with, not {num_images}.")
    train = data.split("train")
    order = np.random.default_rng(_SEED).permutation(len(train))  # a folder's images come class by class
    calibration = train.subset(order[:num_images])
    if "val" in data.splits:
        return calibration, data.split("val"), "val"
    if len(train) <= num_images:
        raise QuantizationError(
            f"{data.name} has no val split, and of its {len(train):,} train images none are left to compare on when "
            f"{num_images:,} calibrate; give fewer with --images."
        )
    return calibration, train.subset(order[num_images : num_images + _LARGEST_GATE]), "train"
