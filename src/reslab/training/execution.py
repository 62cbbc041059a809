"""How a run is computed on this machine: device, threads, layout, compilation. Decided once and kept in the run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from reslab.analysis.checkpoint_plan import plan_checkpointing
from reslab.analysis.complexity import count_macs, summarize
from reslab.analysis.training_memory import DTYPES, FIRST_STEP_BYTES, Precision, Segments
from reslab.environment import available_cores, cxx_compiler, parse_size, resident_bytes
from reslab.errors import CheckpointError, ModelError, RecipeError
from reslab.files.shapes import Shape
from reslab.models.devices import device_exists, exact_arithmetic
from reslab.models.spec import NetSpec
from reslab.training.allocator import tensor_memory
from reslab.training.kernels.networks import finds_convolutions, finds_norms, has_small_maps, scratch_bytes
from reslab.training.kernels.norms import has_kernels
from reslab.training.kernels.winograd import has_winograd
from reslab.training.recipe import AdamW, HardwareRecipe, Lamb, Recipe

__all__ = ["EXECUTION", "Execution", "choose_execution"]

# Where no kernel of ours fuses norms: compiling a CIFAR net's training step takes about 40 s of one core at 20 to 56
# layers, more with depth, and the compiled step is up to 40 % faster, depending on the processor. At 1e11 operations a
# second and core, the assumption here, it pays for itself when eager training would take some 15 minutes.
_ASSUMED_FLOPS = 1e11
_WORTH_COMPILING_SECONDS = 900.0
_COMPILE_SECONDS_PER_LAYER = 1.0
_MOST_PLANNED = 0.97  # of a memory limit; ResNet-1202's peak was 1 % above what was predicted
_FIRST_WITH_BF16 = (8, 0)  # Ampere

Kernels = Literal["torch", "winograd"]
EXECUTION: Shape = {
    "device": str,
    "threads": int,
    "channels_last": bool,
    "compiled": bool,
    "precision?": str,
    "fused_norms?": bool,
    "kernels?": str,
    "segments?": (list, None),
    "tensor_bytes?": (int, None),
    "predicted_bytes?": (int, None),
    "reasons": [str],
}
"""What a run's record has of it."""


@dataclass(frozen=True)
class Execution:
    """How a run is computed.

    Args:
        device: torch's name of it.
        threads: of a CPU.
        channels_last: whether activations lie in NHWC order.
        compiled: whether the training step goes through torch.compile.
        precision: of convolutions and products: fp32, bf16 or fp16.
        fused_norms: whether batch norm, addition and ReLU are one kernel.
        kernels: of convolutions of 3x3: torch's, or Winograd's of our own.
        segments: of gradient checkpointing, as in `CheckpointPlan`; None if everything is kept for the gradients.
        tensor_bytes: limit for the tensors of a CPU, where the recipe has one for the process.
        predicted_bytes: peak of the process (of a GPU's memory), where the recipe has a limit.
        reasons: why, for what was left to be decided.
    """

    device: str
    threads: int
    channels_last: bool
    compiled: bool
    precision: Precision = "fp32"
    fused_norms: bool = False
    kernels: Kernels = "torch"
    segments: Segments | None = None
    tensor_bytes: int | None = None
    predicted_bytes: int | None = None
    reasons: tuple[str, ...] = ()

    @property
    def dtype(self) -> torch.dtype:
        """Of convolutions and products."""
        return DTYPES[self.precision]

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a run's record."""
        segments = None if self.segments is None else [list(stage) for stage in self.segments]
        return {**asdict(self), "segments": segments, "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Execution":
        """Inverse of `to_dict`, on a machine that can do the same.

        Raises:
            CheckpointError: it cannot.
        """
        segments = values.get("segments")
        segments = None if segments is None else tuple(map(tuple, segments))
        execution = cls(**{**values, "segments": segments, "reasons": tuple(values["reasons"])})
        if not device_exists(execution.device):
            raise CheckpointError(f"the run was computed on {execution.device}, which this machine lacks.")
        if execution.compiled and execution.device == "cpu" and not cxx_compiler():
            raise CheckpointError(
                "the run was compiled, and this machine has no C++ compiler; install g++ to go on to the same weights."
            )
        if (execution.fused_norms and not has_kernels()) or (execution.kernels == "winograd" and not has_winograd()):
            raise CheckpointError(
                "the run was computed by kernels of ours, and there is no C++ compiler for them here; install g++ to "
                "go on to the same weights."
            )
        return execution

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """While it lasts, this process has these threads, its tensors keep to their limit, and a GPU is exact."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with tensor_memory(self.tensor_bytes), exact_arithmetic(self.device):
                yield
        finally:
            torch.set_num_threads(before)


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
    _check_compile(hardware)
    reasons = []
    device = hardware.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        reasons.append(f"device {device}: the fastest here")
    elif not device_exists(device):
        raise RecipeError(f"hardware.device={device} is not on this machine; use auto or cpu.")
    threads = hardware.threads or available_cores()
    channels_last = hardware.channels_last != "off"
    if hardware.channels_last == "auto":
        reasons.append("channels last: faster for these convolutions")
    compiled = hardware.compile == "on"
    if hardware.compile == "on" and device == "cpu" and not cxx_compiler():
        raise RecipeError("hardware.compile=on needs a C++ compiler; install g++, or use auto.")
    precision, reason = _choose_precision(hardware, device)
    reasons += [reason] if reason else []
    suits = device == "cpu" and channels_last and precision != "fp16"  # kernels of ours
    kernels, convolutions = _choose_kernels(hardware, suits and not compiled, precision, spec, image_size)
    segments = tensor_bytes = predicted = None
    if hardware.memory:
        scratch = scratch_bytes(spec, threads) if kernels == "winograd" else 0
        segments, tensor_bytes, predicted, reason = _plan_memory(recipe, spec, image_size, device, precision, scratch)
        reasons.append(reason)
        if segments and hardware.compile == "on":
            raise RecipeError("hardware.compile=on cannot be had together with blocks that are computed again.")
    fused_norms = not compiled and _choose_fused_norms(hardware, suits and finds_norms(spec))
    if hardware.compile == "auto":
        if segments:
            compiled, reason = False, "not compiled: blocks are computed again, which torch.compile does not do"
        elif precision != "fp32" and device == "cpu":
            compiled, reason = False, f"not compiled: in {precision} that was slower"
        elif fused_norms:
            compiled, reason = False, "not compiled: no faster than the kernel for norms"
        elif hardware.kernels == "winograd":
            compiled, reason = False, "not compiled: it would not have the convolutions that were asked for"
        else:
            compiled, reason = _compiling_pays(recipe, spec, image_size, device, threads)
        reasons.append(reason)
    if fused_norms:
        reasons.append("batch norm, addition and ReLU in one kernel")
    kernels, convolutions = ("torch", "") if compiled else (kernels, convolutions)
    reasons += [convolutions] if convolutions else []
    return Execution(
        *(device, threads, channels_last, compiled, precision, fused_norms, kernels),
        *(segments, tensor_bytes, predicted, tuple(reasons)),
    )


def _check_compile(hardware: HardwareRecipe) -> None:
    """Compiled code has torch's own operations."""
    if hardware.compile == "on" and hardware.fused_norms == "on":
        raise RecipeError("hardware.compile=on and hardware.fused_norms=on are two ways to do the same; choose one.")
    if hardware.compile == "on" and hardware.kernels == "winograd":
        raise RecipeError("hardware.compile=on compiles torch's own convolutions; leave out hardware.kernels=winograd.")


def _choose_precision(hardware: HardwareRecipe, device: str) -> tuple[Precision, str]:
    if hardware.precision != "auto":
        return hardware.precision, ""
    if device == "cpu":
        has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        has = device.startswith("cuda") and torch.cuda.get_device_capability(device) >= _FIRST_WITH_BF16
    if has:
        return "bf16", f"bf16: {device} has instructions for it"
    return "fp32", f"fp32: {device} has no instructions for bf16"


def _choose_fused_norms(hardware: HardwareRecipe, suits: bool) -> bool:
    if hardware.fused_norms == "off":
        return False
    if suits and has_kernels():
        return True
    if hardware.fused_norms == "on":
        raise RecipeError(
            "hardware.fused_norms=on needs a CPU, channels-last layout, fp32 or bf16, a C++ compiler with OpenMP (g++) "
            "and a network of batch norm, ReLU and blocks without gates, squeeze-and-excitation or stochastic depth."
        )
    return False


def _choose_kernels(
    hardware: HardwareRecipe, suits: bool, precision: Precision, spec: NetSpec, image_size: tuple[int, int]
) -> tuple[Kernels, str]:
    asked, suits = hardware.kernels, suits and finds_convolutions(spec)
    small_maps = suits and has_small_maps(spec, image_size)
    if asked == "torch":
        return "torch", ""
    if asked == "auto" and suits and precision == "bf16" and not small_maps and torch.cpu._is_amx_tile_supported():
        return "torch", "convolutions by torch: with this processor's AMX it is faster in bf16"
    if suits and has_winograd():
        products = ", on maps of 2x2 and 1x1 as one product" if small_maps else ""
        return "winograd", f"convolutions of 3x3 by Winograd's algorithm{products}"
    if asked == "winograd":
        raise RecipeError(
            "hardware.kernels=winograd needs a CPU, channels-last layout, fp32 or bf16, a C++ compiler with OpenMP "
            "(g++) and a residual or plain network with 3x3 convolutions of a multiple of 16 channels, without groups "
            "or bias."
        )
    return "torch", ""


def _plan_memory(
    recipe: Recipe, spec: NetSpec, image_size: tuple[int, int], device: str, precision: Precision, scratch: int
) -> tuple[Segments | None, int | None, int, str]:
    """Gradient checkpointing, limit of the tensors, predicted peak, and why; kernels take `scratch` for a while."""
    limit = parse_size(recipe.hardware.memory)
    on_cpu = device == "cpu"
    before = resident_bytes() if on_cpu else -FIRST_STEP_BYTES  # nothing of which lies in a GPU's memory
    # Plans know weights, gradients and momentum; an average of the weights and a second moment are as large each.
    copies = (recipe.regularization.ema_decay > 0) + isinstance(recipe.optimizer, AdamW | Lamb)
    before += copies * 4 * summarize(spec, image_size).parameters
    part = recipe.data.batch_size // recipe.optimizer.accumulate
    before += 4 * (recipe.data.batch_size - part) * image_size[0] * image_size[1] * spec.in_channels  # the other parts
    try:
        plan = plan_checkpointing(spec, image_size, part, int(_MOST_PLANNED * (limit - before - scratch)), precision)
    except ModelError as error:
        raise RecipeError(f"hardware.memory={recipe.hardware.memory} is too little: {error}") from None
    predicted = before + scratch + plan.peak_bytes
    reason = f"memory: {predicted / 2**30:.2f} GiB predicted"
    if plan.segments:
        reason += f", with {plan.recomputed:.0%} of the forward pass computed again for the gradients"
    return plan.segments or None, plan.tensor_bytes + scratch if on_cpu else None, predicted, reason


def _compiling_pays(
    recipe: Recipe, spec: NetSpec, image_size: tuple[int, int], device: str, threads: int
) -> tuple[bool, str]:
    if device != "cpu":
        return False, f"not compiled: not measured on {device}; hardware.compile=on asks for it"
    # Forward, and twice that backward; a multiply-add is two operations.
    operations = 6 * count_macs(spec, image_size) * recipe.data.batch_size * recipe.iterations
    seconds = operations / (_ASSUMED_FLOPS * threads)
    worth = _WORTH_COMPILING_SECONDS + 10 * _COMPILE_SECONDS_PER_LAYER * max(0, spec.depth - 56)
    if seconds < worth:
        return False, "not compiled: the run is too short for it to pay"
    if not cxx_compiler():
        return False, "not compiled: there is no C++ compiler here; install g++ to train faster"
    return True, "compiled: the run is long enough for it to pay"
