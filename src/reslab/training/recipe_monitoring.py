"""How often a recipe records what. Importing this imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Self

from reslab.errors import RecipeError
from reslab.fields import check, knob
from reslab.training.durations import Duration, changed_durations, iterations, read_durations

__all__ = ["MonitoringRecipe"]


@dataclass(frozen=True, kw_only=True)
class MonitoringRecipe:
    """How often what is recorded."""

    log_every: Duration = knob(iterations(100), "A row in metrics.jsonl.")
    eval_every: Duration = knob(iterations(1000), "Validation; also the test curve of experiments.")
    checkpoint_every: Duration = knob(iterations(1000), "A state to resume from.")
    keep_checkpoints: int = knob(2, "The newest so many are kept, and the one that is best on val.", least=1)
    weights: Literal["last", "best-on-val"] = knob("last", "State that becomes weights.safetensors.")
    patience: int = knob(
        0,
        "Evaluations without a better val error after which training ends before its schedule does; 0 for never.",
        least=0,
    )
    precise_bn_images: int = knob(
        0,
        "Training images over which batch-norm statistics are averaged at the end; 0 keeps the moving averages.",
        least=0,
    )

    def __post_init__(self) -> None:
        read_durations(self)
        check(self, RecipeError, "monitoring.")
        for name in ("log_every", "eval_every", "checkpoint_every"):
            if getattr(self, name).value == 0:
                raise RecipeError(f"monitoring.{name} must be more than nothing, not {getattr(self, name)}.")

    def resolved(self, count: Callable[[Duration], Duration]) -> Self:
        """With all intervals in iterations, as `count` makes them."""
        return replace(self, **changed_durations(self, count))

    def rescaled(self, old: Duration, new: Duration) -> Self:
        """For a schedule that was `old` long and is `new`.

        Of intervals in its unit, rows come at least a hundred times and checkpoints at least ten times; evaluations
        keep their share where it shrinks, and come ten times at most. Intervals in another unit stay.
        """

        def part(shares: int) -> Duration:
            return replace(new, value=new.value / shares if new.unit == "epochs" else max(1, int(new.value) // shares))

        def shorter(interval: Duration, shares: int) -> Duration:
            if interval.unit != new.unit:
                return interval
            return min(interval, part(shares), key=lambda item: item.value)

        evaluation = self.eval_every
        if evaluation.unit == new.unit:
            shrunk = evaluation.value * min(1.0, new.value / old.value)
            shrunk = shrunk if new.unit == "epochs" else round(shrunk)
            evaluation = replace(new, value=max(shrunk, part(10).value))
        return replace(
            self,
            log_every=shorter(self.log_every, 100),
            eval_every=evaluation,
            checkpoint_every=shorter(self.checkpoint_every, 10),
        )
