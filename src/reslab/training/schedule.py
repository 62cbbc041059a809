"""The learning rate at every iteration. Importing this module imports no torch."""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from math import cos, pi
from typing import Any

from reslab.training.recipe import Linear, Recipe, Steps, UntilError
from reslab.training.recipe import Plateau as PlateauSchedule

__all__ = ["LAST_SHARE", "Plateau", "WarmUp", "describe_schedule", "learning_rate"]

# "The training error at the end" is the mean over this share of the iterations: an epoch or close to it in the recipes.
LAST_SHARE = 0.05


def learning_rate(recipe: Recipe, iteration: int, warming_up: bool = False, drops: int = 0) -> float:
    """The rate of an iteration, from 0: the paper's "divide it by 10 at 32k" changes iteration 32,000.

    Args:
        recipe: with optimizer and schedule, resolved.
        iteration: from 0.
        warming_up: whether the warm-up still goes on.
        drops: how often the val error has stopped falling, as `Plateau` counts it.
    """
    if warming_up:
        assert isinstance(recipe.schedule.deep_warmup, UntilError)
        return recipe.schedule.deep_warmup.rate
    schedule, highest = recipe.schedule, recipe.optimizer.learning_rate
    warmup = int(schedule.warmup)
    if iteration < warmup:
        return highest * (iteration + 1) / warmup
    if isinstance(schedule, Steps):
        return highest * schedule.factor ** bisect_right(schedule.milestones, iteration, key=int)
    if isinstance(schedule, PlateauSchedule):
        return highest * schedule.factor**drops
    done = (iteration - warmup) / (recipe.iterations - warmup)
    return highest * ((1 - done) if isinstance(schedule, Linear) else (1 + cos(pi * done)) / 2)


def describe_schedule(recipe: Recipe) -> str:
    """How long a resolved recipe trains and what becomes of the rate, as the end of a sentence."""
    schedule = recipe.schedule
    if isinstance(schedule, Steps):
        drops = ", ".join(f"{int(milestone):,}" for milestone in schedule.milestones) or "never"
        fall = f"the rate drops at: {drops}"
    elif isinstance(schedule, PlateauSchedule):
        fall = "the rate drops when the val error does not"
    else:
        fall = f"the rate falls to 0 ({schedule.kind})"
    return f"{recipe.iterations:,} iterations; {fall}"


@dataclass
class WarmUp:
    """Whether a net is still warming up: until its training error is below a limit (Sec. 4.2, ResNet-110).

    Args:
        recipe: with the warm-up's limit and window.
        depth: of the net; shallow ones do not warm up at all.
    """

    recipe: Recipe
    depth: int
    active: bool = field(init=False)
    ended_at: int | None = field(init=False, default=None)
    _recent: deque[float] = field(init=False)

    def __post_init__(self) -> None:
        rule = self.recipe.schedule.deep_warmup
        self.active = isinstance(rule, UntilError) and rule.from_depth <= self.depth
        self._recent = deque(maxlen=rule.window if isinstance(rule, UntilError) else 0)

    def observe(self, iteration: int, num_wrong: float) -> None:
        """Notes how many of an iteration's images were wrong, or parts of them; may end the warm-up."""
        self._recent.append(num_wrong)
        rule = self.recipe.schedule.deep_warmup
        assert isinstance(rule, UntilError)
        if len(self._recent) == rule.window:
            error = 100 * sum(self._recent) / (self.recipe.data.batch_size * rule.window)
            if error < rule.train_error:
                self.active, self.ended_at = False, iteration + 1
                self._recent.clear()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {"active": self.active, "ended_at": self.ended_at, "recent": list(self._recent)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores it."""
        self.active, self.ended_at = state["active"], state["ended_at"]
        self._recent.extend(state["recent"])


@dataclass
class Plateau:
    """How often the rate has fallen because the val error no longer did (Sec. 3.4: "when the error plateaus").

    Args:
        recipe: with the rule, which is torch's ReduceLROnPlateau with an absolute threshold: the best error counts
            from the start of training, and after a drop the evaluations are counted anew.
    """

    recipe: Recipe
    drops: int = field(init=False, default=0)
    best: float | None = field(init=False, default=None)
    num_worse: int = field(init=False, default=0)

    def observe(self, val_error: float) -> None:
        """Notes an evaluation, in %; the rate may fall."""
        rule = self.recipe.schedule
        if not isinstance(rule, PlateauSchedule):
            return
        if self.best is None or val_error < self.best - rule.threshold:
            self.best, self.num_worse = val_error, 0
            return
        self.num_worse += 1
        if self.num_worse >= rule.evaluations and self.drops < rule.drops:
            self.drops, self.num_worse = self.drops + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {"drops": self.drops, "best": self.best, "num_worse": self.num_worse}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores it."""
        self.drops, self.best, self.num_worse = state["drops"], state["best"], state["num_worse"]
