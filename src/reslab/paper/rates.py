"""How fast trainings go on this machine: measured once, kept in the user's cache, and used for budgets and costs.

Importing this module imports no torch.
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reslab.environment import describe_environment
from reslab.errors import ReslabError
from reslab.files.cache import cache_folder
from reslab.files.hashing import hash_json
from reslab.files.records import read_record, write_record

if TYPE_CHECKING:
    from reslab.paper.jobs import Job
    from reslab.paper.plan import Plan

__all__ = ["Rate", "keep_rate", "kept_rate", "kept_rates", "measure_rate", "rate_key", "read_rate", "write_rate"]

_SCHEMA = 2
_FIRST, _STEPS = 4, 12  # iterations that are not counted, and that are
_SECONDS = 6.0  # that steps are measured for at most
_IMAGES = 250  # evaluated to see how fast that goes: one pass
_QUICK = 5.0  # seconds within which that is done again, since a first pass has to be prepared


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How fast a training goes.

    Args:
        iteration_seconds: of an update of the weights.
        image_seconds: of an image in an evaluation.
        start_seconds: from the start of the process to the first iteration, and for the end.
        net: the network's spelling.
        image: height, width and channels of its images, as in 32x32x3.
        batch_size: images an iteration.
    """

    iteration_seconds: float
    image_seconds: float
    start_seconds: float
    net: str = ""
    image: str = ""
    batch_size: int = 0

    def training_seconds(self, iterations: int, evaluated: int) -> float:
        """Of a whole training.

        Args:
            iterations: of it.
            evaluated: images in all its evaluations.
        """
        return self.start_seconds + iterations * self.iteration_seconds + evaluated * self.image_seconds


def rate_key(plan: "Plan", job: "Job", slots: int) -> str:
    """Hex sha256 of what a rate depends on."""
    recipe: Mapping[str, Any] = job.subject.recipe or {}
    environment = describe_environment()
    return hash_json(
        {
            "net": job.subject.net,
            "data": recipe["data"],
            "shape": [plan.data[name] for name in ("height", "width", "channels")],
            "optimizer": recipe["optimizer"]["kind"],
            "hardware": recipe["hardware"],
            "slots": slots,
            "processor": environment["processor"],
            "gpus": environment["gpus"],
            "cores": environment["cores"],
            "packages": environment["packages"],
        }
    )


def kept_rate(key: str) -> Rate | None:
    """A rate that was measured before on such a machine; None where there is none."""
    path = _path(key)
    if not path.is_file():
        return None
    try:
        return read_rate(path)
    except ReslabError:
        return None


def kept_rates() -> list[Rate]:
    """All that were measured before; of a network that was measured in several ways, the fastest comes last."""
    found = []
    for path in sorted(cache_folder("rates").glob("*.json")):
        try:
            found.append(read_rate(path))
        except ReslabError:
            continue
    return sorted(found, key=lambda rate: -rate.iteration_seconds)


def keep_rate(key: str, rate: Rate) -> None:
    """Keeps a rate for the next time."""
    path = _path(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_record(path, {"schema_version": _SCHEMA, **asdict(rate)})
    except OSError:  # a cache that cannot be written is no cache
        return


def read_rate(path: Path) -> Rate:
    """A rate that was written.

    Raises:
        ReslabError: the file is missing or damaged.
    """
    record = read_record(
        path, schema_version=_SCHEMA, error=ReslabError, if_missing=f"there is no {path}.", checksum=True
    )
    record.pop("schema_version")
    try:
        return Rate(**record)
    except TypeError:
        raise ReslabError(f"{path} is no rate.") from None


def _path(key: str) -> Path:
    return cache_folder("rates") / f"{key[:32]}.json"


def write_rate(plan: "Plan", job: "Job", path: Path) -> None:
    """Measures a job's rate and writes it to a file."""
    rate = measure_rate(plan, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_record(path, {"schema_version": _SCHEMA, **asdict(rate)})


def measure_rate(plan: "Plan", job: "Job") -> Rate:
    """Trains a few iterations in a folder that is removed afterwards, and evaluates some images.

    Raises:
        ReslabError: the training cannot start.
    """
    from reslab.evaluation import evaluate
    from reslab.models import parse_model
    from reslab.paper.subjects import MeasuredNetwork
    from reslab.paper.work import limited_threads
    from reslab.training import train
    from reslab.training.durations import iterations
    from reslab.training.recipe_files import recipe_from_dict

    subject = job.subject
    assert subject.recipe is not None
    recipe = recipe_from_dict(dict(subject.recipe))
    # The length decides whether compiling pays, so it stays; only rows come sooner.
    monitoring = replace(
        recipe.monitoring, log_every=iterations(1), eval_every=iterations(10**9), checkpoint_every=iterations(10**9)
    )
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        ended = train(
            parse_model(subject.net),
            subject.data,
            recipe=replace(recipe, monitoring=monitoring),
            seed=subject.seed,
            run_dir=Path(folder, "run"),
            test_curve=True,
            stop_after=str(_FIRST + _STEPS),
            data_dir=Path(subject.data_dir) if subject.data_dir else None,
        )
        rows = ended.run.rows()
        batch = recipe.data.batch_size
        seconds = [batch / row["images_per_second"] for row in rows]
        whole = time.monotonic() - begun
        measured = MeasuredNetwork(job, ended.run)
        split = measured.split("test", _IMAGES)
        with limited_threads(plan.threads):
            for _ in range(2):
                started = time.monotonic()
                evaluate(measured.network, split, measured.normalization)
                evaluating = time.monotonic() - started
                if evaluating > _QUICK:
                    break
    counted = sorted(seconds[_FIRST:])
    return Rate(
        iteration_seconds=counted[len(counted) // 2],
        image_seconds=evaluating / len(split),
        start_seconds=max(0.0, whole - sum(seconds)) + _IMPORT_SECONDS,
        net=subject.net,
        image="x".join(str(plan.data[name]) for name in ("height", "width", "channels")),
        batch_size=batch,
    )


_IMPORT_SECONDS = 3.0  # of torch and this package in a fresh process, and what the end of a run takes besides images
