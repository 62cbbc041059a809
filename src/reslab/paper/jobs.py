"""What is to be done for one arm and one seed of an experiment, as a value. Importing this module imports no torch.

A job is what its key says: the network, the recipe, the data by their content, the seed, and the version of the
numerics. Two experiments that need the same training share it, and one that was interrupted goes on.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from reslab.errors import ReslabError
from reslab.files.hashing import hash_json
from reslab.paper.catalogue import Measure
from reslab.paper.measures import find_measure
from reslab.runs import Run
from reslab.training.numerics import NUMERICS_VERSION
from reslab.training.recipe import Recipe
from reslab.training.recipe_files import recipe_from_dict

__all__ = ["Job", "Subject", "existing_runs", "key_of_run", "measure_key", "training_key"]

_IRRELEVANT = ("workers",)  # of a recipe's hardware: processes that decode photos change nothing


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What measures are taken of.

    Args:
        net: the network's spelling, with the data's classes and channels; empty where there is none.
        seed: of the training, or of fresh weights.
        recipe: of the training, all lengths in iterations; None for none.
        data: name or place of the data; empty for none.
        data_dir: where named data are looked for first.
        kind: of the data, `small` or `photos`.
        splits: sha256 of each split that there is.
        reference: of a network that is trained already, as `reslab eval` takes it; empty for none.
        weights: sha256 of its weights.
        mean: of each channel of its inputs, where it is a weight file; empty for a card's.
        std: likewise.
        numerics: version of the arithmetic of training.
    """

    net: str = ""
    seed: int = 0
    recipe: Mapping[str, Any] | None = None
    data: str = ""
    data_dir: str | None = None
    kind: str = "small"
    splits: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
    weights: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    numerics: int = NUMERICS_VERSION

    @cached_property
    def key(self) -> str:
        """Hex sha256 of what decides the network's weights and the images that it is measured on."""
        if self.recipe is not None:
            return training_key(self.net, self.recipe, self.splits, self.seed, self.numerics)
        seen = {"splits": dict(self.splits), "mean": self.mean, "std": self.std}
        return hash_json({"net": self.net, "seed": self.seed, "weights": self.weights, **seen})

    @cached_property
    def followed(self) -> Recipe | None:
        """The recipe; None without a training."""
        return None if self.recipe is None else recipe_from_dict(dict(self.recipe))

    @property
    def iterations(self) -> int:
        """Of the training; 0 without one."""
        return self.followed.iterations if self.followed else 0


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training with its measures, or measures alone.

    Args:
        arm: name of the arm.
        subject: what is trained and measured.
        measures: that are taken.
        folder: of the run, below the plan's; empty without a training.
        options: of the arm, for its measures.
    """

    arm: str
    subject: Subject
    measures: tuple[Measure, ...] = ()
    folder: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"{self.arm} seed {self.subject.seed}"

    @property
    def key(self) -> str:
        """Hex sha256 of what is done."""
        keys = [measure_key(measure, self) for measure in self.measures]
        return hash_json({"subject": self.subject.key, "measures": keys})

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a plan."""
        values = asdict(self)
        return {**values, "measures": [measure.to_dict() for measure in self.measures]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        measures = tuple(Measure(**measure) for measure in values["measures"])
        lists = {name: tuple(value) for name, value in values["subject"].items() if isinstance(value, list)}
        subject = {**values["subject"], **lists}
        return cls(**{**values, "subject": Subject(**subject), "measures": measures})


def training_key(net: str, recipe: Mapping[str, Any], splits: Mapping[str, str], seed: int, numerics: int) -> str:
    """Hex sha256 of what decides a run.

    Args:
        net: the network's complete spelling.
        recipe: as a run's record has it.
        splits: sha256 of each split.
        seed: of the training.
        numerics: version of the arithmetic.
    """
    hardware = {name: value for name, value in recipe["hardware"].items() if name not in _IRRELEVANT}
    return hash_json(
        {
            "net": net,
            "recipe": {**recipe, "hardware": hardware},
            "splits": dict(splits),
            "seed": seed,
            "numerics": numerics,
        }
    )


def measure_key(measure: Measure, job: Job) -> str:
    """Hex sha256 of a measure of a job's subject."""
    options, version = {**measure.options, **job.options}, find_measure(measure.name).version
    return hash_json({"measure": measure.name, "options": options, "subject": job.subject.key, "version": version})


def key_of_run(run: Run) -> str:
    """The key of the training that a run's folder holds."""
    record = run.record
    splits = {role: split["sha256"] for role, split in record["data"]["splits"].items()}
    # Runs from before the version was written down have the first one.
    recipe = recipe_from_dict(record["recipe"]).to_dict()  # with fields that are younger than the run
    return training_key(record["model"], recipe, splits, record["seed"], record.get("numerics", 1))


def existing_runs(folder: Path) -> dict[str, Path]:
    """The runs in a folder of runs, by their keys; of equal ones a finished one.

    Damaged ones are left out, those that began with weights of another training, and those that saw other images on the
    way.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*/run.json")):
        run = Run(path.parent)
        try:
            key, record = key_of_run(run), run.record
        except (ReslabError, KeyError, TypeError, AttributeError):
            continue
        if record.get("weights") is not None or record.get("shards", 1) != 1 or record.get("accepted_data"):
            continue
        if key not in found or (run.finished and not Run(found[key]).finished):
            found[key] = run.folder
    return found
