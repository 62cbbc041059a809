"""How a run is computed on this machine: device, threads, layout, compilation. Decided once and kept in the run."""

import os
import shutil
from dataclasses import asdict, dataclass
from typing import Any

import torch

from reslab.analysis.complexity import count_macs
from reslab.environment import available_cores
from reslab.errors import CheckpointError, RecipeError
from reslab.models.spec import NetSpec
from reslab.training.recipe import Recipe

__all__ = ["Execution", "choose_execution"]

# Compiling a CIFAR net's training step takes about 40 s of one core at 20 to 56 layers, more with depth, and the
# compiled step is 4 to 40 % faster, depending on the processor (docs/decisions.md). At 1e11 operations a second and
# core, the assumption here, it pays for itself when eager training would take some 15 minutes.
_ASSUMED_FLOPS = 1e11
_WORTH_COMPILING_SECONDS = 900.0
_COMPILE_SECONDS_PER_LAYER = 1.0


@dataclass(frozen=True)
class Execution:
    """How a run is computed.

    Args:
        device: torch's name of it.
        threads: of a CPU.
        channels_last: whether activations lie in NHWC order.
        compiled: whether the training step goes through torch.compile.
        reasons: why, for what was left to be decided.
    """

    device: str
    threads: int
    channels_last: bool
    compiled: bool
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a run's record."""
        return {**asdict(self), "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Execution":
        """Inverse of `to_dict`, on a machine that can do the same.

        Raises:
            CheckpointError: it cannot.
        """
        execution = cls(**{**values, "reasons": tuple(values["reasons"])})
        if not _device_exists(execution.device):
            raise CheckpointError(f"the run was computed on {execution.device}, which this machine lacks.")
        if execution.compiled and execution.device == "cpu" and not _has_compiler():
            raise CheckpointError(
                "the run was compiled, and this machine has no C++ compiler; install g++ to go on to the same weights."
            )
        return execution


def choose_execution(recipe: Recipe, spec: NetSpec, image_size: tuple[int, int]) -> Execution:
    """Decides what the recipe leaves to `auto`, from the work to be done and not from timings, which vary.

    Args:
        recipe: with hardware, schedule and batch size.
        spec: the network.
        image_size: height and width.

    Raises:
        RecipeError: the recipe asks for a device that this machine lacks.
    """
    hardware = recipe.hardware
    reasons = []
    device = hardware.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        reasons.append(f"device {device}: the fastest here")
    elif not _device_exists(device):
        raise RecipeError(f"hardware.device={device} is not on this machine; use auto or cpu.")
    threads = hardware.threads or available_cores()
    channels_last = hardware.channels_last != "off"
    if hardware.channels_last == "auto":
        reasons.append("channels last: faster for these convolutions")
    compiled = hardware.compile == "on"
    if hardware.compile == "on" and device == "cpu" and not _has_compiler():
        raise RecipeError("hardware.compile=on needs a C++ compiler; install g++, or use auto.")
    if hardware.compile == "auto":
        compiled, reason = _compiling_pays(recipe, spec, image_size, device, threads)
        reasons.append(reason)
    return Execution(device, threads, channels_last, compiled, tuple(reasons))


def _compiling_pays(
    recipe: Recipe, spec: NetSpec, image_size: tuple[int, int], device: str, threads: int
) -> tuple[bool, str]:
    if device != "cpu":
        return False, f"not compiled: not measured on {device}; hardware.compile=on asks for it"
    # Forward, and twice that backward; a multiply-add is two operations.
    operations = 6 * count_macs(spec, image_size) * recipe.data.batch_size * recipe.schedule.iterations
    seconds = operations / (_ASSUMED_FLOPS * threads)
    worth = _WORTH_COMPILING_SECONDS + 10 * _COMPILE_SECONDS_PER_LAYER * max(0, spec.depth - 56)
    if seconds < worth:
        return False, "not compiled: the run is too short for it to pay"
    if not _has_compiler():
        return False, "not compiled: there is no C++ compiler here; install g++ to train faster"
    return True, "compiled: the run is long enough for it to pay"


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", "g++", "clang++"))


def _device_exists(device: str) -> bool:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError):  # torch's ways to say no, by version and device
        return False
    return True
