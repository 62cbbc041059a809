"""Recipes: everything that decides how a network is trained, and nothing that decides what it is.

A recipe is a table of tables; where there are several ways to do something, as for the optimizer, the table's `kind`
says which, and it has that one's fields alone. `recipe_files` finds and reads recipes. Importing this imports no torch.
"""

from dataclasses import dataclass, replace
from typing import Any

from reslab.errors import RecipeError
from reslab.fields import check, knob, to_plain
from reslab.training.durations import Duration, epochs, images, iterations
from reslab.training.recipe_data import (
    AnyImages,
    Area,
    DataRecipe,
    Jitter,
    NoAugment,
    NoColor,
    Pca,
    Photos,
    Rand,
    ShorterSide,
    SmallImages,
    Trivial,
)
from reslab.training.recipe_fine_tuning import FineTuningRecipe
from reslab.training.recipe_hardware import HardwareRecipe
from reslab.training.recipe_monitoring import MonitoringRecipe
from reslab.training.recipe_optimizers import AdamW, Lamb, Muon, OptimizerRecipe, Sgd
from reslab.training.recipe_regularization import BinaryCrossEntropy, CrossEntropy, RegularizationRecipe
from reslab.training.recipe_schedules import Cosine, Linear, NoWarmUp, Plateau, ScheduleRecipe, Steps, UntilError

__all__ = [
    "AdamW",
    "AnyImages",
    "Area",
    "BinaryCrossEntropy",
    "Cosine",
    "CrossEntropy",
    "DataRecipe",
    "Duration",
    "FineTuningRecipe",
    "HardwareRecipe",
    "Jitter",
    "Lamb",
    "Linear",
    "MonitoringRecipe",
    "Muon",
    "NoAugment",
    "NoColor",
    "NoWarmUp",
    "OptimizerRecipe",
    "Pca",
    "Photos",
    "Plateau",
    "Rand",
    "Recipe",
    "RegularizationRecipe",
    "ScheduleRecipe",
    "Sgd",
    "ShorterSide",
    "SmallImages",
    "Steps",
    "Trivial",
    "UntilError",
    "epochs",
    "images",
    "iterations",
]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: optimizer, schedule, data, regularization, fine-tuning, hardware and monitoring.

    Lengths are as they were written, in iterations, epochs or images, until `resolved` makes iterations of them all.
    """

    name: str = knob(help="What the recipe is known by.")
    needs: tuple[str, ...] = knob(
        (),
        "Fields that the network should have, as in its spelling: stochastic_depth=0.05. Training says if they lack.",
    )
    optimizer: OptimizerRecipe = knob(Sgd(), "What moves the weights.")
    schedule: ScheduleRecipe = knob(Steps(), "How the rate changes, and where training stops.")
    data: DataRecipe = knob(DataRecipe(), "Batches, and what is done to images.")
    regularization: RegularizationRecipe = knob(RegularizationRecipe(), "What keeps a network from being too sure.")
    fine_tuning: FineTuningRecipe = knob(FineTuningRecipe(), "What is done with weights of another training.")
    hardware: HardwareRecipe = knob(HardwareRecipe(), "Where and how it is computed.")
    monitoring: MonitoringRecipe = knob(MonitoringRecipe(), "How often what is recorded.")

    def __post_init__(self) -> None:
        check(self, RecipeError)
        for need in self.needs:
            if not all(need.partition("=")):
                raise RecipeError(f"needs must name fields with values, as in stochastic_depth=0.05, not {need!r}.")
        self.fine_tuning.check_order(self.schedule.length)
        if self.regularization.class_weights == "balanced" and self.data.sampling == "balanced":
            raise RecipeError(
                "data.sampling = balanced shows all classes equally often, so that regularization.class_weights has "
                "nothing to make up for: choose one of both."
            )
        parts, batch_size = self.optimizer.accumulate, self.data.batch_size
        if batch_size % parts or (parts > 1 and batch_size // parts < 2):
            raise RecipeError(
                f"data.batch_size {batch_size} cannot be computed in optimizer.accumulate = {parts} equal parts of two "
                "images or more."
            )
        ghost = self.regularization.ghost_batch
        if ghost and batch_size // parts > ghost and batch_size // parts % ghost == 1:
            raise RecipeError(
                f"{batch_size // parts} images in ghost batches of {ghost} leave a single one, of which batch norm has "
                "no statistics; change regularization.ghost_batch."
            )

    @property
    def iterations(self) -> int:
        """Where training stops.

        Raises:
            RecipeError: the recipe counts in epochs or images and is not resolved.
        """
        return int(self.schedule.length)

    def resolved(self, num_images: int) -> "Recipe":
        """The recipe for a number of training images, all lengths in iterations, without what only a start looks at.

        An epoch is as many iterations as `num_images` holds batches, which need not be a whole number; each length is
        rounded once. Repeats of photos do not lengthen it. A schedule that would be shorter than its least number of
        iterations is stretched as a whole.

        Raises:
            RecipeError: no images, or lengths that contradict each other.
        """
        if num_images <= 0:
            raise RecipeError(f"the number of training images must be positive, not {num_images}.")
        batch_size = self.data.batch_size

        def count(length: Duration) -> Duration:
            return length.in_iterations(num_images, batch_size)

        schedule = self.schedule.resolved(num_images, batch_size)
        least, length = self.schedule.least_iterations, self.schedule.length
        if int(schedule.length) < least:  # stretched as it was written, so that small numbers are rounded once
            seen = least * batch_size
            value = seen / num_images if length.unit == "epochs" else seen
            return self.rescaled(replace(length, value=value)).resolved(num_images)
        return replace(
            self,
            needs=(),
            schedule=schedule,
            fine_tuning=self.fine_tuning.resolved(count),
            monitoring=self.monitoring.resolved(count),
        )

    def rescaled(self, length: Duration | int) -> "Recipe":
        """The same recipe with its whole schedule stretched or shrunk to another length.

        Milestones, warm-up and averaging keep their share of the whole; intervals of monitoring keep it where they
        shrink, if they are in the length's unit, and stay as they are in another.

        Args:
            length: in the unit of the recipe's own length; a number is one of iterations, as a resolved recipe has.

        Raises:
            RecipeError: no length at all, or one in another unit.
        """
        if not isinstance(length, Duration):
            if length <= 0:
                raise RecipeError(f"the schedule's new length must be positive, not {length} iterations.")
            length = iterations(length)
        old = self.schedule.length
        if length.value == 0:
            raise RecipeError(f"the schedule's new length must be positive, not {length}.")
        if length.unit != old.unit:
            raise RecipeError(
                f"the recipe {self.name} is {old} long, and what share of that {length} are depends on the data: take "
                "`recipe.resolved(num_images)` first, which makes iterations of all."
            )
        decay = self.regularization.ema_decay
        regularization = self.regularization
        if decay:
            regularization = replace(regularization, ema_decay=decay ** (old.value / length.value))
        return replace(
            self,
            schedule=self.schedule.rescaled(length),
            fine_tuning=self.fine_tuning.rescaled(old, length),
            monitoring=self.monitoring.rescaled(old, length),
            regularization=regularization,
        )

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values."""
        return to_plain(self)
