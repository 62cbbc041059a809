"""Everything that changes while a network is trained, as one thing that a checkpoint holds."""

import hashlib
import math
import time
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from reslab.errors import DivergenceError
from reslab.files.shapes import Shape
from reslab.models.features import FeatureNetwork
from reslab.training.schedule import Plateau, WarmUp

__all__ = ["STATE", "Meter", "TrainingState", "step_seed"]


def step_seed(seed: int, iteration: int) -> int:
    """Seed of an iteration's dropout and stochastic depth: a hash of both, so that a resume needs no generator."""
    digest = hashlib.sha256(f"{seed} {iteration}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class Meter:
    """Loss, errors and speed since the last row.

    Results stay on their device until they are asked for, so that an accelerator is not waited for.
    """

    def __init__(self) -> None:
        self.loss_sum, self.num_wrong, self.num_iterations, self.num_images, self.seconds = 0.0, 0, 0, 0, 0.0
        self.num_answers = 0
        self._pending: list[tuple[int, Tensor, Tensor]] = []
        self._clock: float | None = None

    def start_clock(self) -> None:
        """Starts counting time."""
        self._clock = time.perf_counter()

    def stop_clock(self) -> None:
        """Stops it, before an evaluation or a checkpoint, which are not training."""
        if self._clock is not None:
            self.seconds += time.perf_counter() - self._clock
            self._clock = None

    def add(self, iteration: int, loss: Tensor, num_wrong: Tensor, num_images: int, num_answers: int) -> None:
        """Notes an iteration.

        Args:
            iteration: from 0.
            loss: a mean over the batch, a scalar on any device.
            num_wrong: wrong answers, likewise.
            num_images: of the batch.
            num_answers: of the batch, right and wrong: one an image, or a label of each.
        """
        self._pending.append((iteration, loss, num_wrong))
        self.num_images += num_images
        self.num_answers += num_answers

    def settle(self) -> int | None:
        """Fetches what was noted.

        Returns:
            The number of errors of the last iteration; None where nothing was noted since the last call.

        Raises:
            DivergenceError: a loss is not finite.
        """
        last = None
        for iteration, loss, num_wrong in self._pending:
            value, last = loss.item(), int(num_wrong.item())
            if not math.isfinite(value):
                raise DivergenceError(f"the loss is {value} at iteration {iteration}")
            self.loss_sum += value
            self.num_wrong += last
            self.num_iterations += 1
        self._pending.clear()
        return last

    def row(self) -> dict[str, float]:
        """Means since the last row: loss, training error in %, images a second of training time."""
        self.settle()
        return {
            "loss": self.loss_sum / self.num_iterations,
            "train_error": 100 * self.num_wrong / self.num_answers,
            "images_per_second": round(self.num_images / max(self.seconds, 1e-9), 1),
        }

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        self.settle()
        return {name: getattr(self, name) for name in (*_METER, "num_answers")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores it."""
        state = {"num_answers": state["num_images"], **state}  # of earlier versions: one an image
        for name in (*_METER, "num_answers"):
            setattr(self, name, state[name])


_METER: dict[str, type] = dict.fromkeys(("loss_sum", "num_wrong", "num_iterations", "num_images", "seconds"), float)
STATE: Shape = {
    "iteration": int,
    "best_val_error": (float, None),
    "best_iteration?": (int, None),
    "seconds": float,
    "meter": {**_METER, "num_answers?": float},
    "warmup": {"active": bool, "ended_at": (int, None), "recent": [float]},
    "plateau?": {"drops": int, "best": (float, None), "num_worse": int},
}
"""What a checkpoint has of a training, besides tensors; entries with ? are missing in earlier versions."""


@dataclass
class TrainingState:
    """A network in training.

    Args:
        model: the network.
        optimizer: over its parameters.
        warmup: whether the warm-up goes on.
        meter: figures since the last row.
        scaler: of the loss, in fp16; elsewhere it does nothing.
        plateau: how often the rate has fallen with the val error.
        average: of the weights and statistics over the iterations; None where the recipe asks for none.
        iteration: that comes next, from 0.
        best_val_error: in %; None before the first validation.
        best_iteration: at which it was reached; None if it is not known, from a checkpoint of version 0.1.0.
        seconds: of training so far, without evaluations, over all parts of the run.
    """

    model: FeatureNetwork
    optimizer: torch.optim.Optimizer
    warmup: WarmUp
    meter: Meter
    scaler: torch.amp.GradScaler
    plateau: Plateau
    average: AveragedModel | None = None
    iteration: int = 0
    best_val_error: float | None = None
    best_iteration: int | None = None
    seconds: float = 0.0

    @property
    def eval_model(self) -> FeatureNetwork:
        """What is evaluated and kept: the average where there is one, the network elsewhere."""
        if self.average is None:
            return self.model
        return cast(FeatureNetwork, self.average.module)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values.

        Raises:
            DivergenceError: a parameter or statistic is not finite, so that nothing could be resumed from it.
        """
        for name, value in self.model.state_dict().items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise DivergenceError(f"{name} is not finite before iteration {self.iteration}")
        return {
            "iteration": self.iteration,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "warmup": self.warmup.state_dict(),
            "meter": self.meter.state_dict(),
            "scaler": self.scaler.state_dict(),
            "plateau": self.plateau.state_dict(),
            "average": self.average.state_dict() if self.average else {},
            "best_val_error": self.best_val_error,
            "best_iteration": self.best_iteration,
            "seconds": self.seconds,
        }

    def load_weights(self, state: dict[str, Any]) -> None:
        """Restores the network and its average alone."""
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.load_state_dict(state["average"])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores it."""
        self.load_weights(state)
        self.optimizer.load_state_dict(state["optimizer"])
        self.warmup.load_state_dict(state["warmup"])
        self.meter.load_state_dict(state["meter"])
        self.scaler.load_state_dict(state.get("scaler", {}))
        if "plateau" in state:  # checkpoints of earlier versions have none
            self.plateau.load_state_dict(state["plateau"])
        self.iteration = state["iteration"]
        self.best_val_error = state["best_val_error"]
        self.best_iteration = state.get("best_iteration")
        self.seconds = state["seconds"]
