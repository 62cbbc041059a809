"""How much memory a training step takes, counted tensor by tensor on torch's meta device, which computes nothing."""

import weakref
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import register_parametrization
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reslab.analysis.complexity import summarize
from reslab.errors import ModelError
from reslab.models.build import build
from reslab.models.features import FeatureNetwork
from reslab.models.resnet import ResNet
from reslab.models.spec import NetSpec

__all__ = [
    "DTYPES",
    "FIRST_STEP_BYTES",
    "IMPORT_BYTES",
    "MOST_GAPS",
    "CheckpointPlan",
    "Precision",
    "estimate_training_memory",
    "largest_training_batch",
    "plan_checkpointing",
]

# The first two measured with torch 2.14.1's wheel for Linux (CUDA 13.0) on a CPU; one without CUDA takes less.
IMPORT_BYTES = 535_000_000
"""Resident memory of Python once torch is imported."""
FIRST_STEP_BYTES = 180_000_000
"""What a first training step adds to it besides tensors: 159 MB are modules that the optimizer imports, the rest
kernels that oneDNN makes."""
MODULE_BYTES = 32_000
"""What Python and autograd keep of a module besides its tensors, of ResNet-1202's 3,600."""
MOST_GAPS = 1.8
"""How many times the tensors' bytes a CPU's memory grows by at the most, of 14 networks and batches with glibc 2.36;
1.13 at the least. With gradient checkpointing it was 3 times and more. Before 2.38, a freed block is too small for the
next tensor of its size, which is aligned anew."""

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Of convolutions and products; weights, statistics and the loss are float32."""

Segments = tuple[tuple[int, ...], ...]
_ATTEMPTS = 6  # plans that are counted; the first is mostly within a few percent of the memory


@dataclass(frozen=True)
class CheckpointPlan:
    """Which blocks keep only their inputs for the gradients, and what that takes.

    Args:
        segments: for each stage the lengths, in blocks, of the segments that are computed again; blocks after them keep
            what they compute. Empty if everything is kept.
        peak_bytes: as `estimate_training_memory`.
        tensor_bytes: of them, the tensors'.
        recomputed: share of the forward pass's multiply-adds that are done twice.
    """

    segments: Segments
    peak_bytes: int
    tensor_bytes: int
    recomputed: float


def plan_checkpointing(
    spec: NetSpec, image_size: tuple[int, int], batch_size: int, memory: int, precision: Precision = "fp32"
) -> CheckpointPlan:
    """Gradient checkpointing (arXiv 1604.06174) that puts training into so many bytes, with the least work done twice.

    The segments at the beginning of the network are as long as fits, so that few inputs are stored; when all the rest
    fits, it keeps what it computes. Block by block it is measured on the meta device what is kept; whole plans are then
    counted as in `estimate_training_memory`, until one fits.

    Args:
        spec: the network.
        image_size: height and width.
        batch_size: images a step.
        memory: bytes, over a process that has imported torch.
        precision: of convolutions and products, as in torch.autocast.

    Raises:
        ModelError: the images are too small for the network, or no plan fits: it says how much one takes that does.
    """
    dtype = DTYPES[precision]
    whole = estimate_training_memory(spec, image_size, batch_size, precision)
    if whole <= memory:
        return CheckpointPlan((), whole, whole - _overhead(spec, image_size), 0.0)
    if spec.family != "resnet":
        raise ModelError("checkpointing is planned block by block, and a VGG has none; take smaller batches.")
    stages = _measure_blocks(spec, image_size, batch_size, dtype)
    # What the blocks may take; the rest are weights, gradients and what lives for a moment.
    available = sum(block.kept for stage in stages for block in stage) - (whole - memory)
    least = _least_available(stages)
    over = 0
    for attempt in range(1, _ATTEMPTS + 1):
        available = max(available, least) if attempt < _ATTEMPTS else least
        segments = _segments(stages, available)
        assert segments is not None
        peak = _peak(spec, image_size, batch_size, dtype, segments)
        over = peak - memory
        if over <= 0:
            return CheckpointPlan(segments, peak, peak - _overhead(spec, image_size), _recomputed(stages, segments))
        if available == least:
            break
        available -= attempt * (over + memory // 100)
    raise ModelError(
        f"with {batch_size} images a step training takes {over / 2**20:,.0f} MiB more, even if as little as possible "
        "is kept for the gradients; take smaller batches."
    )


def estimate_training_memory(
    spec: NetSpec, image_size: tuple[int, int], batch_size: int, precision: Precision = "fp32"
) -> int:
    """Peak memory of training, in bytes, over a process that has imported torch.

    It is that of an eager step of SGD with momentum: images, parameters, momentum, and what is alive at the worst
    moment of activations kept for the gradients, gradients and intermediate results. To that come a constant for what
    torch loads in its first step (`FIRST_STEP_BYTES`), and something for each module. Gaps that an allocator leaves
    between tensors are not in it (`MOST_GAPS`).

    Args:
        spec: the network.
        image_size: height and width.
        batch_size: images a step.
        precision: of convolutions and products, as in torch.autocast.

    Raises:
        ModelError: the images are too small for the network.
    """
    return max(fixed + batch_size * per_image for fixed, per_image in _moments(spec, image_size, DTYPES[precision]))


def largest_training_batch(
    spec: NetSpec, image_size: tuple[int, int], memory: int, precision: Precision = "fp32", *, gaps: float = 1.0
) -> int:
    """The most images a step that `estimate_training_memory` puts into so many bytes; 0 if not even one fits.

    Args:
        spec: the network.
        image_size: height and width.
        memory: bytes, over a process that has imported torch.
        precision: of convolutions and products, as in torch.autocast.
        gaps: how many times the tensors' bytes the allocator takes.

    Raises:
        ModelError: the images are too small for the network.
    """
    available = int((memory - FIRST_STEP_BYTES) / gaps) + FIRST_STEP_BYTES
    moments = _moments(spec, image_size, DTYPES[precision])
    if any(fixed > available for fixed, _ in moments):
        return 0
    return min((available - fixed) // per_image for fixed, per_image in moments if per_image)


# Counting


def _peak(spec: NetSpec, image_size: tuple[int, int], batch_size: int, dtype: torch.dtype, segments: Segments) -> int:
    """As `estimate_training_memory`, with gradient checkpointing."""
    return _overhead(spec, image_size) + max(_bytes_alive(spec, image_size, batch_size, dtype, segments))


@lru_cache(maxsize=8)
def _moments(spec: NetSpec, image_size: tuple[int, int], dtype: torch.dtype) -> tuple[tuple[int, int], ...]:
    """Memory at every moment of a step as fixed bytes and bytes an image.

    Two batches give both exactly, since the step allocates in the same order for any number of images; not for one,
    which torch treats apart in places.
    """
    two, three = (_bytes_alive(spec, image_size, batch_size, dtype) for batch_size in (2, 3))
    moments = {(3 * less - 2 * more, more - less) for less, more in zip(two, three, strict=True)}
    overhead = _overhead(spec, image_size)
    return tuple(sorted((fixed + overhead, per_image) for fixed, per_image in moments))


def _overhead(spec: NetSpec, image_size: tuple[int, int]) -> int:
    """What a process takes besides tensors."""
    return FIRST_STEP_BYTES + MODULE_BYTES * len(_summary(spec, image_size).layers)


_summary = lru_cache(maxsize=8)(summarize)


def _on_meta(
    spec: NetSpec, image_size: tuple[int, int], batch_size: int, dtype: torch.dtype
) -> tuple[FeatureNetwork, Tensor, Tensor]:
    """A network in training, images and labels that take no memory."""
    _summary(spec, image_size)  # which says so if the images are too small
    with torch.device("meta"):
        model = build(spec).to(memory_format=torch.channels_last).train()
        images = torch.empty(batch_size, *image_size, spec.in_channels).permute(0, 3, 1, 2)
        labels = torch.empty(batch_size, dtype=torch.int64)
    if dtype != torch.float32:
        _reduce_precision(model, dtype)
    return model, images, labels


def _bytes_alive(
    spec: NetSpec, image_size: tuple[int, int], batch_size: int, dtype: torch.dtype, segments: Segments = ()
) -> list[int]:
    """After every allocation of a training step."""
    model, images, labels = _on_meta(spec, image_size, batch_size, dtype)
    if segments:
        assert isinstance(model, ResNet)
        model.set_grad_checkpointing(segments=segments)
    allocations = _Allocations()
    for parameter in model.parameters():
        allocations.alive += parameter.nbytes  # its momentum
    for tensor in (*model.parameters(), *model.buffers(), images, labels):
        allocations.note(tensor)
    with allocations:
        output = model(images).float()
        loss = functional.cross_entropy(output, labels) if spec.num_classes else output.sum()
        loss.backward()
    return allocations.history


class _Allocations(TorchDispatchMode):
    """Follows the memory of tensors from the operation that makes them until nothing refers to it any more.

    Attributes:
        alive: bytes now.
        history: bytes after every allocation.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive = 0
        self.history: list[int] = []
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def note(self, tensor: Tensor) -> None:
        """Counts a tensor's memory, unless it is another's."""
        storage = tensor.untyped_storage()
        key, num_bytes = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def release(_: object) -> None:
            self.alive -= num_bytes
            del self._known[key]

        self._known[key] = weakref.ref(storage, release)
        self.alive += num_bytes
        self.history.append(self.alive)

    def __torch_dispatch__(
        self, operation: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        results = operation(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            if isinstance(result, Tensor):
                self.note(result)
        return results


class _Cast(nn.Module):
    """Of a parameter, as its operation takes it."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, parameter: Tensor) -> Tensor:
        return parameter.to(self.dtype)


def _reduce_precision(model: nn.Module, dtype: torch.dtype) -> None:
    """Casts what convolutions and products take, as torch.autocast would, which does not know the meta device."""
    for module in [*model.modules()]:
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        module.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(dtype),))
        for name, _ in [*module.named_parameters(recurse=False)]:
            register_parametrization(module, name, _Cast(dtype), unsafe=True)  # which spares a trial


# Planning


@dataclass(frozen=True)
class _Block:
    """One block of a network.

    Args:
        kept: bytes that it leaves for the gradients, its output included.
        input: bytes of its input.
        macs: multiply-adds of an image.
    """

    kept: int
    input: int
    macs: int


def _measure_blocks(
    spec: NetSpec, image_size: tuple[int, int], batch_size: int, dtype: torch.dtype
) -> list[list[_Block]]:
    """Of every stage its blocks."""
    model, images, _ = _on_meta(spec, image_size, 2, dtype)
    assert isinstance(model, ResNet)
    allocations, before = _Allocations(), {}
    measured: dict[str, _Block] = {}
    macs: Counter[str] = Counter()
    for layer in _summary(spec, image_size).layers:
        macs[".".join(layer.name.split(".")[:2])] += layer.macs  # of layer1.0.conv1 to layer1.0

    def start(name: str, x: Tensor) -> None:
        before[name] = allocations.alive

    def end(name: str, x: Tensor) -> None:
        kept = allocations.alive - before[name]
        measured[name] = _Block(kept * batch_size // 2, x.nbytes * batch_size // 2, macs[name])

    stages = [[f"{stage}.{index}" for index in range(len(blocks))] for stage, blocks in model.named_stages()]
    for name in chain.from_iterable(stages):
        block = model.get_submodule(name)
        block.register_forward_pre_hook(lambda _, inputs, name=name: start(name, inputs[0]))
        block.register_forward_hook(lambda _, inputs, output, name=name: end(name, inputs[0]))
    with allocations:
        output = model(images)
    del output
    return [[measured[name] for name in stage] for stage in stages]


def _segments(stages: list[list[_Block]], available: int) -> Segments | None:
    """The longest segments from the front with which no moment of the backward pass takes more than `available`.

    While a segment's gradients are computed there are its blocks' activations and the inputs of all segments before.
    """
    left = sum(block.kept for stage in stages for block in stage)
    stored, segments = 0, []
    for stage in stages:
        lengths: list[int] = []
        done = 0
        while done < len(stage) and stored + left > available:
            stored += stage[done].input
            length = alive = 0
            for block in stage[done:]:
                if stored + alive + block.kept > available:
                    break
                length, alive = length + 1, alive + block.kept
            if not length:
                return None
            lengths.append(length)
            done, left = done + length, left - alive
        segments.append(tuple(lengths))
    return tuple(segments)


def _least_available(stages: list[list[_Block]]) -> int:
    """The least with which there are segments."""
    candidates = range(sum(block.kept for stage in stages for block in stage) + 1)
    return bisect_left(candidates, True, key=lambda available: _segments(stages, available) is not None)


def _recomputed(stages: list[list[_Block]], segments: Segments) -> float:
    twice = sum(block.macs for stage, lengths in zip(stages, segments, strict=True) for block in stage[: sum(lengths)])
    return twice / sum(block.macs for stage in stages for block in stage)
