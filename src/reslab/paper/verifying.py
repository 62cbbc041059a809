"""Does a part of a record's training again, and says whether its losses come out. Importing it imports no torch."""

import random
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from reslab.environment import describe_environment
from reslab.errors import ReslabError
from reslab.paper.record import Record
from reslab.training.recipe import Recipe
from reslab.training.recipe_files import recipe_from_dict
from reslab.training.recipe_hardware import Switch

__all__ = ["Verification", "verify_record"]

TOLERANCE = 1e-3
"""Of losses on another processor at least, relative to the larger one; or to 1, where both are smaller."""
_TIMES_ROUNDING = 5.0
"""Which of two differences by rounding is the larger one is chance, and so is by how much."""
_MOST_ROWS = 5


@dataclass(frozen=True, kw_only=True)
class Verification:
    """How a part of a training came out again.

    Args:
        arm: of the record.
        seed: of the training.
        iterations: that were done again.
        rows: losses that were compared.
        largest_difference: of two losses, relative as `TOLERANCE` is.
        same_processor: whether it is the record's, so that the losses must be equal.
        allowed: largest difference that does not speak against the record: 0 on such a processor. On another one
            rounding differs, and what it does grows from step to step, so it is measured: the same iterations are done
            a second time with sums in another order, and five times the largest difference of the two is allowed.
        agrees: whether they are as near as they must be.
    """

    arm: str
    seed: int
    iterations: int
    rows: int
    largest_difference: float
    same_processor: bool
    allowed: float
    agrees: bool

    def __str__(self) -> str:
        where = (
            "on such a processor, to the bit"
            if self.same_processor
            else f"on another processor, within the {self.allowed:.2g} that rounding may do"
        )
        verdict = "comes out again" if self.agrees else "does NOT come out again"
        return (
            f"{self.arm} seed {self.seed} {verdict} {where}: {self.iterations} iterations, {self.rows} losses, largest "
            f"difference {self.largest_difference:.2g}"
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def verify_record(
    folder: Path,
    *,
    data: str | None = None,
    iterations: int | None = None,
    seed: int | None = None,
    data_dir: Path | None = None,
) -> Verification:
    """Trains one arm of a record again, from the start to some row, and compares the losses.

    Args:
        folder: folder of the record.
        data: the data, where they are a folder; the record's by default.
        iterations: iterations to do at most; a random number of the first rows by default.
        seed: seed of the choice of the arm and the length; a random one by default.
        data_dir: folder where named data sets are looked for first.

    Raises:
        ReslabError: the record has no training or is damaged, or the data are others.
    """
    record = Record.read(folder)
    item, count = _chosen(record, folder, iterations, random.Random(seed))
    if not all(isinstance(loss, int | float) for loss in item["loss"][:count]):
        raise ReslabError(f"{folder} is damaged: a loss of {item['arm']} is no number, with which no training ends.")
    recipe, end = recipe_from_dict(record.arm(item["arm"])["recipe"]), item["iteration"][count - 1]
    losses = _losses(record, item, recipe, end, data, data_dir)[:count]
    largest = _difference(losses, item["loss"])
    same, allowed = _machine(describe_environment()) == _machine(record.content["environment"]), 0.0
    if not same:
        other: Switch = "on" if recipe.hardware.channels_last == "off" else "off"
        reordered = replace(recipe, hardware=replace(recipe.hardware, channels_last=other))
        rounding = _difference(_losses(record, item, reordered, end, data, data_dir)[:count], losses)
        allowed = max(TOLERANCE, _TIMES_ROUNDING * rounding)
    return Verification(
        arm=item["arm"],
        seed=item["seed"],
        iterations=item["iteration"][count - 1],
        rows=len(losses),
        largest_difference=largest,
        same_processor=same,
        allowed=allowed,
        agrees=largest <= allowed,
    )


def _difference(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The largest of two trainings' losses, relative as `TOLERANCE` is."""
    pairs = zip(ours, theirs, strict=False)
    return max(abs(one - other) / max(1.0, abs(other)) for one, other in pairs)


def _chosen(
    record: Record, folder: Path, iterations: int | None, generator: random.Random
) -> tuple[dict[str, Any], int]:
    """The errors of one training of the record, and how many of its rows are compared."""
    trained = [item for item in record.series("errors") if record.arm(item["arm"]).get("recipe")]
    if not trained:
        raise ReslabError(f"{folder} is a record of {record.content['experiment']}, in which nothing is trained.")
    item = generator.choice(trained)
    if iterations is None:
        return item, generator.randint(1, min(_MOST_ROWS, len(item["iteration"])))
    count = sum(end <= iterations for end in item["iteration"])
    if not count:
        raise ReslabError(
            f"--iterations must be at least {item['iteration'][0]}, where the first loss was written down."
        )
    return item, count


def _losses(
    record: Record, item: dict[str, Any], recipe: Recipe, end: int, data: str | None, data_dir: Path | None
) -> list[float]:
    """The losses of a training that is done again up to some iteration."""
    from reslab.models import parse_model
    from reslab.training import train

    net = next(row["net"] for row in record.rows(item["arm"]) if row["seed"] == item["seed"])
    with tempfile.TemporaryDirectory() as temporary:
        again = train(
            parse_model(net),
            data or record.data["name"],
            recipe=recipe,
            seed=item["seed"],
            run_dir=Path(temporary, "run"),
            stop_after=str(end),
            test_curve=True,
            data_dir=data_dir,
        )
        _check_data(record, again.run.record["data"])
        return [row["loss"] for row in again.run.rows()]


def _machine(environment: dict[str, Any]) -> tuple[Any, ...]:
    """What bits depend on, besides the code: the processor, GPUs and torch."""
    named = (environment.get(name) for name in ("kernels", "gpus"))  # which earlier records do not say
    return environment["processor"], environment["packages"]["torch"], *(value or None for value in named)


def _check_data(record: Record, data: dict[str, Any]) -> None:
    ours, theirs = data["splits"]["train"]["sha256"], record.data["splits"]["train"]["sha256"]
    if ours != theirs:
        raise ReslabError(
            f"the training images of {data['name']} are others than the record's; give its own by --data."
        )
