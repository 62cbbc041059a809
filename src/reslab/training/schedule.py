"""The learning rate at every iteration. Importing this module imports no torch."""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from math import cos, pi
from typing import Any

from reslab.training.recipe import Recipe

__all__ = ["LAST_SHARE", "Plateau", "WarmUp", "learning_rate"]

# "The training error at the end" is the mean over this share of the iterations: an epoch or close to it in the recipes.
LAST_SHARE = 0.05


def learning_rate(recipe: Recipe, iteration: int, warming_up: bool = False, drops: int = 0) -> float:
    """The rate of an iteration, from 0: the paper's "divide it by 10 at 32k" changes iteration 32,000.

    Args:
        recipe: with optimizer and schedule.
        iteration: from 0.
        warming_up: whether the warm-up still goes on.
        drops: how often the val error has stopped falling, as `Plateau` counts it.
    """
    if warming_up:
        return recipe.schedule.warmup_rate
    schedule, highest = recipe.schedule, recipe.optimizer.learning_rate
    if iteration < schedule.warmup_iterations:
        return highest * (iteration + 1) / schedule.warmup_iterations
    if schedule.decay == "steps":
        return highest * schedule.factor ** bisect_right(schedule.milestones, iteration)
    if schedule.decay == "plateau":
        return highest * schedule.factor**drops
    done = (iteration - schedule.warmup_iterations) / (schedule.iterations - schedule.warmup_iterations)
    return highest * ((1 - done) if schedule.decay == "linear" else (1 + cos(pi * done)) / 2)


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
    _recent: deque[int] = field(init=False)

    def __post_init__(self) -> None:
        schedule = self.recipe.schedule
        self.active = 0 < schedule.warmup_from_depth <= self.depth
        self._recent = deque(maxlen=schedule.warmup_window)

    def observe(self, iteration: int, num_wrong: int) -> None:
        """Notes how many of an iteration's images were wrong; may end the warm-up."""
        self._recent.append(num_wrong)
        schedule = self.recipe.schedule
        if len(self._recent) == schedule.warmup_window:
            error = 100 * sum(self._recent) / (self.recipe.data.batch_size * schedule.warmup_window)
            if error < schedule.warmup_until_train_error:
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
        schedule = self.recipe.schedule
        if self.best is None or val_error < self.best - schedule.plateau_threshold:
            self.best, self.num_worse = val_error, 0
            return
        self.num_worse += 1
        if self.num_worse >= schedule.plateau_evaluations and self.drops < schedule.plateau_drops:
            self.drops, self.num_worse = self.drops + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {"drops": self.drops, "best": self.best, "num_worse": self.num_worse}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores it."""
        self.drops, self.best, self.num_worse = state["drops"], state["best"], state["num_worse"]
