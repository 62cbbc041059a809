"""How a call of `train` ended, in figures and in words."""

import shlex
from dataclasses import dataclass
from typing import Any

from reslab.data.dataset import UNBALANCED
from reslab.data.targets import recorded_task
from reslab.runs import Run
from reslab.tasks import find_task

__all__ = ["TrainResult"]

_FAR = 5.0  # points of error


@dataclass(frozen=True)
class TrainResult:
    """How a call of `train` ended.

    Args:
        run: the run's folder.
        iteration: that was reached.
        stopped_by: why it stopped before the end (SIGINT, SIGTERM, an iteration or a time); None if it is finished.
        figures: the last ones, as result.json has them; None if it is not finished.
    """

    run: Run
    iteration: int
    stopped_by: str | None
    figures: dict[str, Any] | None

    def __str__(self) -> str:
        figures = self.figures or {}
        errors = [
            f"{words} {figures[name]:.2f} %{_mean_of_classes(figures, name)}"
            for name, words in find_task(recorded_task(self.run.record)).words.figures.items()
            if figures.get(name) is not None
        ]
        return f"{', '.join(errors)}\n{self.run.folder}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values: the figures, or where it stopped."""
        end = {"stopped_by": self.stopped_by, "iteration": self.iteration} if self.figures is None else self.figures
        return {"run": str(self.run.folder), **end}

    @property
    def advice(self) -> str | None:
        """What to do about figures that look wrong; None where nothing is to be done."""
        if self.stopped_by:
            command = f"reslab train --resume --run-dir {shlex.quote(str(self.run.folder))}"
            at = f"iteration {self.iteration}"
            by = "" if self.stopped_by == at else f"by {self.stopped_by} "
            return f"Stopped {by}at {at}, and saved; go on with: {command}"
        if self.figures and self.figures["train_error_clean"] > self.figures["train_error"] + _FAR:
            return (
                "In eval mode the training error is far higher than in training: the moving averages of batch norm "
                f"lag behind. `reslab precise-bn {shlex.quote(str(self.run.folder))} --in-place` measures them."
            )
        return None


def _mean_of_classes(figures: dict[str, Any], name: str) -> str:
    """The error with each class counting alike, where some classes have few images; of val and test."""
    role = name.removesuffix("_error")
    mean = figures.get(f"{role}_mean_class_error")
    hidden = mean is not None and name == f"{role}_error" and figures[f"{role}_class_imbalance"] > UNBALANCED
    return f" (mean over the classes {mean:.2f} %)" if hidden else ""
