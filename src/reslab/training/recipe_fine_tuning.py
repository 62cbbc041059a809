"""What a recipe does with weights of another training. Importing this imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Self

from reslab.errors import RecipeError
from reslab.fields import check, knob
from reslab.training.durations import Duration, changed_durations, iterations, read_durations

__all__ = ["FineTuningRecipe"]


@dataclass(frozen=True, kw_only=True)
class FineTuningRecipe:
    """How layers that have learned something already are trained: as all others, unless it says otherwise."""

    head_first: Duration = knob(
        iterations(0),
        "Length at the start in which the classifier alone is trained, on features that stay as they are.",
    )
    layer_decay: float = knob(
        1.0,
        "Rate of a block's weights as a share of the next block's, so that the first layers, which know edges and "
        "colours, change least; 1 for the same rate everywhere.",
        above=0,
        most=1,
    )
    norms: Literal["trained", "frozen"] = knob(
        "trained",
        "Batch norms are trained, or frozen: their statistics, scales and shifts stay those of the weights. For "
        "batches of a few images.",
    )

    def __post_init__(self) -> None:
        read_durations(self)
        check(self, RecipeError, "fine_tuning.")

    def check_order(self, length: Duration) -> None:
        """Refuses a beginning that does not end before training does, as far as that is known without the data.

        Raises:
            RecipeError: it does not.
        """
        if self.head_first.unit == length.unit and self.head_first.value >= length.value:
            raise RecipeError(
                f"fine_tuning.head_first, {self.head_first}, must end before schedule.length, {length}; to train the "
                "classifier alone, give the rest of the network no rate: fine_tuning.layer_decay = 1e-9."
            )

    def resolved(self, count: Callable[[Duration], Duration]) -> Self:
        """With its length in iterations, as `count` makes it."""
        return replace(self, **changed_durations(self, count))

    def rescaled(self, old: Duration, new: Duration) -> Self:
        """For a schedule that was `old` long and is `new`: the beginning keeps its share, rounded down."""
        first = self.head_first
        if first.unit != new.unit:
            return self
        value = first.value * new.value / old.value
        return replace(self, head_first=replace(first, value=value if first.unit == "epochs" else int(value)))
