"""What a run is to be: what was asked for, looked up and checked, as one value."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.errors import CheckpointError
from reslab.models import NetSpec, spell
from reslab.runs import Run
from reslab.training.execution import Execution
from reslab.training.inputs import AnyData
from reslab.training.recipe import Recipe
from reslab.training.recipe_files import recipe_from_dict

__all__ = ["Asked", "Plan"]

_SHARDS = 1  # of a batch: as many as one process computes


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked of a run.

    Args:
        spec: the network.
        data: with the images that it sees.
        recipe: how it is trained.
        seed: of the initial weights, the order and the augmentation.
        weights: initial ones, as `train` takes them; None for random ones.
        test_curve: whether the test error is recorded at every evaluation.
    """

    spec: NetSpec
    data: AnyData
    recipe: Recipe
    seed: int
    weights: str | Path | None = None
    test_curve: bool = False

    def record(self) -> dict[str, Any]:
        """As it stands in run.json."""
        return {
            "model": spell(self.spec),
            "net": self.spec.to_dict(),
            "data": self.data.describe(),
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "weights": str(self.weights) if self.weights else None,
            "test_curve": self.test_curve,
            "shards": _SHARDS,
        }

    def check_same(self, run: Run) -> None:
        """Raises CheckpointError if a run was asked for something else, and so cannot be resumed as this."""
        for name, value in self.record().items():
            recorded = run.record.get(name)
            if name == "recipe":
                recorded = recipe_from_dict(recorded or {}).to_dict()
                recorded["hardware"]["workers"] = value["hardware"]["workers"]  # which changes nothing
            if name == "net":  # written before some fields were there, it means their defaults
                recorded = NetSpec.from_dict(recorded).to_dict()
            if name == "data" and not self.test_curve:  # which images a test would have, says nothing of a training
                value, recorded = _without_test(value), _without_test(recorded)
            if name == "shards":  # version 0.1.0 had no word for it
                recorded = run.record.get(name, 1)
            if value != recorded:
                difference = _first_difference(name, value, recorded)
                raise CheckpointError(f"{run.folder} cannot be resumed so: {difference}. Start another run for that.")


@dataclass(frozen=True, eq=False)
class Plan:
    """What is asked of a run, where it is kept, and how it is computed.

    Args:
        asked: of the run.
        run: its folder, with its record.
        execution: what was chosen of what the recipe leaves open.
    """

    asked: Asked
    run: Run
    execution: Execution

    @property
    def recipe(self) -> Recipe:
        """How the network is trained."""
        return self.asked.recipe

    @property
    def data(self) -> AnyData:
        """What it sees."""
        return self.asked.data


def _without_test(data: dict[str, Any] | None) -> dict[str, Any]:
    """The record of data, but for test images."""
    data = data or {}
    return {**data, "splits": {role: split for role, split in data.get("splits", {}).items() if role != "test"}}


def _first_difference(name: str, asked: Any, recorded: Any) -> str:
    if isinstance(asked, dict) and isinstance(recorded, dict):
        for key in [*asked, *recorded]:
            if asked.get(key) != recorded.get(key):
                return _first_difference(f"{name}.{key}", asked.get(key), recorded.get(key))
    return f"{name} is {recorded!r} in the run and {asked!r} now"
