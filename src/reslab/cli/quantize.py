"""`reslab quantize`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from reslab.cli.arguments import OptionalCount, OptionalPath, OptionalText, parse, print_json
from reslab.cli.source import SourceArguments, file_stem, find_source, run_folder, show_size
from reslab.console import progress_bar
from reslab.errors import DataError, WeightsError
from reslab.models.zoo import spell
from reslab.runs import Run
from reslab.training.recipe_files import recipe_from_dict

if TYPE_CHECKING:
    from reslab.deploy.int8 import QuantizationReport

_DESCRIPTION = """Write a network in 8-bit integers, if it is as good and faster than in float32.

  reslab quantize runs/resnet20-cifar10-cifar-paper-seed0
  reslab quantize resnet20 --weights weights.pth --data cifar10 --mean 0.491,0.482,0.447 --std 0.247,0.243,0.262

It is calibrated on train images, and compared with the float32 file in error and speed on the val split, or on other
train images where there is none. `reslab eval FILE --data SPEC` tells its error on the test split."""


@dataclass(frozen=True, kw_only=True)
class Arguments(SourceArguments):
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL|RUN")]
    """A network's name or spelling, with --weights; or the folder of a finished run."""
    data: OptionalText = None
    """digits, fashion-mnist, cifar10, cifar100, or a folder of class folders; a run's own by default."""
    engine: Literal["openvino", "onnxruntime"] = "openvino"
    """OpenVINO (.xml and .bin), the faster on most processors, or ONNX Runtime (.onnx)."""
    images: int = 300
    """Train images to calibrate with."""
    max_drop: float = 0.5
    """Top-1 error, in percentage points, that the int8 network may add."""
    force: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write the file though it is worse or no faster."""
    out: OptionalPath = None
    """File to write; RUN/model-int8.xml (.onnx) or MODEL-int8.xml (.onnx) by default."""
    threads: OptionalCount = None
    """Threads to compare with; all available cores by default."""
    data_dir: OptionalPath = None
    """Where named data sets are looked for first."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def main(arguments: Sequence[str]) -> int:
    """Quantises a network."""
    asked = parse(Arguments, arguments, "quantize", _DESCRIPTION)
    folder = run_folder(asked.model, asked)
    if folder is None and asked.weights is None:
        raise WeightsError(f"{asked.model} is not the folder of a run; for a network's name give its --weights too.")
    run = Run(folder) if folder else None
    spec = asked.data or (run.record["data_spec"] if run else None)
    if spec is None:
        raise DataError("calibrated on which images? Give --data.")

    from reslab.data import load_data
    from reslab.deploy.int8 import INT8_SUFFIXES, quantize

    data = load_data(spec, data_dir=asked.data_dir, progress=True)
    if run and "val" not in data.splits:
        data = data.hold_out(recipe_from_dict(run.record["recipe"]).data.val_images)
    defaults = {"num_classes": data.num_classes, "in_channels": data.image_shape[2]}
    source = find_source(asked.model, asked, defaults)
    suffix = INT8_SUFFIXES[asked.engine]
    default = folder / f"model-int8{suffix}" if folder else Path(f"{file_stem(asked.model, asked)}-int8{suffix}")
    with progress_bar() as bar:
        task = bar.add_task("Exporting", total=1)
        report = quantize(
            source,
            data,
            asked.out or default,
            engine=asked.engine,
            num_images=asked.images,
            max_drop=asked.max_drop,
            force=asked.force,
            threads=asked.threads,
            progress=lambda text, done, total: bar.update(task, description=text, completed=done, total=total),
        )
    if report.forced:
        print(
            "WARNING: this int8 network is worse than allowed, or no faster; it was written since --force was given.",
            file=sys.stderr,
        )
    if asked.json:
        print_json({"model": spell(source.model.spec), "data": data.name, **report.to_dict()})
        return 0
    _print(report, data.name)
    return 0


def _print(report: "QuantizationReport", data: str) -> None:
    found = report.comparison
    print(f"{report.path}: {show_size(report.num_bytes)}, float32 {show_size(report.float32_bytes)}")
    seen = ", which the network was trained on" if found.split == "train" else ""
    print(
        f"top-1 error {found.int8_error:.2f} %, float32 {found.float32_error:.2f} %, on {found.num_images:,} "
        f"{found.split} images of {data}{seen}; they agree on {found.agreement:.2f} %"
    )
    print(f"{found.speed_ratio:.2f} times as fast in {found.engine}, batches of {found.batch_size}")
