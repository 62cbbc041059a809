"""What a run is to be: what was asked for, looked up and checked, as one value."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.data import AnyData
from reslab.data.targets import ONE_LABEL
from reslab.errors import CheckpointError
from reslab.files.reading import naming
from reslab.models import NetSpec, spell
from reslab.runs import Run
from reslab.tasks import Task, find_task
from reslab.training.asked_recipe import Beginning
from reslab.training.execution import Execution
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
        beginning: what is known of the initial weights; None for a run that is gone on with.
    """

    spec: NetSpec
    data: AnyData
    recipe: Recipe
    seed: int
    weights: str | Path | None = None
    test_curve: bool = False
    beginning: Beginning | None = None

    def record(self) -> dict[str, Any]:
        """As it stands in run.json."""
        return {
            "model": spell(self.spec),
            "net": self.spec.to_dict(),
            "task": self.data.task,
            "data": self.data.describe(),
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "weights": str(self.weights) if self.weights else None,
            "test_curve": self.test_curve,
            "shards": _SHARDS,
        }

    def check_same(self, run: Run, *, accept_data: bool = False) -> bool:
        """Compares with what a run was asked for. The name of the data says nothing: a folder may have been renamed.

        Args:
            run: that is to go on.
            accept_data: whether images with another sha256 will do, as many of as many classes.

        Returns:
            Whether the images are others, which were accepted.

        Raises:
            CheckpointError: the run was asked for something else, and so cannot be resumed as this.
        """
        accepted = False
        known = run.record.get("classes")
        if known is not None and list(self.data.classes) != known:
            difference = _first_difference("classes", list(self.data.classes), known)
            raise CheckpointError(f"{run.folder} cannot be resumed so: {difference}. Start another run for that.")
        for name, value in self.record().items():
            recorded = run.data if name == "data" else run.record.get(name)
            with naming(run.record_path, CheckpointError):
                if name == "recipe":
                    recorded = recipe_from_dict(recorded or {}).to_dict()
                    recorded["hardware"]["workers"] = value["hardware"]["workers"]  # which changes nothing
                if name == "net":  # written before some fields were there, it means their defaults
                    recorded = NetSpec.from_dict(recorded).to_dict()
            if name == "data":
                value, recorded = (_compared(images or {}, test=self.test_curve) for images in (value, recorded))
                accepted = value != recorded and _without_digests(value) == _without_digests(recorded)
                if accepted and accept_data:
                    continue
            if name == "shards":  # version 0.1.0 had no word for it
                recorded = run.record.get(name, 1)
            if name == "task":  # likewise
                recorded = run.record.get(name, ONE_LABEL.task)
            if value != recorded:
                difference = _first_difference(name, value, recorded)
                hint = "Start another run for that."
                if accepted:
                    hint = "If a damaged image was put right, --accept-data goes on with the images as they are now."
                raise CheckpointError(f"{run.folder} cannot be resumed so: {difference}. {hint}")
        return accepted


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

    @property
    def task(self) -> Task:
        """What it is asked of the images."""
        return find_task(self.data.task)


def _compared(data: dict[str, Any], *, test: bool) -> dict[str, Any]:
    """What decides of a record of data; which images a test would have, says nothing of a training that takes none."""
    splits = {role: split for role, split in data.get("splits", {}).items() if test or role != "test"}
    return {name: value for name, value in data.items() if name not in ("name", "note")} | {"splits": splits}


def _without_digests(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "splits": {role: {**split, "sha256": ""} for role, split in data["splits"].items()}}


def _first_difference(name: str, asked: Any, recorded: Any) -> str:
    if isinstance(asked, dict) and isinstance(recorded, dict):
        for key in [*asked, *recorded]:
            if asked.get(key) != recorded.get(key):
                return _first_difference(f"{name}.{key}", asked.get(key), recorded.get(key))
    return f"{name} is {recorded!r} in the run and {asked!r} now"
