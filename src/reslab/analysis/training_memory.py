"""How much memory a training step takes, counted tensor by tensor on torch's meta device, which computes nothing."""

import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import register_parametrization
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reslab.analysis.complexity import summarize
from reslab.models.build import build
from reslab.models.features import FeatureNetwork
from reslab.models.residual import ResNet
from reslab.models.spec import NetSpec

__all__ = [
    "DTYPES",
    "FIRST_STEP_BYTES",
    "IMPORT_BYTES",
    "MOST_GAPS",
    "Allocations",
    "Precision",
    "Segments",
    "bytes_alive",
    "estimate_training_memory",
    "largest_training_batch",
    "on_meta",
    "process_overhead",
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
"""Of gradient checkpointing, as in `reslab.analysis.checkpoint_plan.CheckpointPlan`."""


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


@lru_cache(maxsize=8)
def _moments(spec: NetSpec, image_size: tuple[int, int], dtype: torch.dtype) -> tuple[tuple[int, int], ...]:
    """Memory at every moment of a step as fixed bytes and bytes an image.

    Two batches give both exactly, since the step allocates in the same order for any number of images; not for one,
    which torch treats apart in places.
    """
    two, three = (bytes_alive(spec, image_size, batch_size, dtype) for batch_size in (2, 3))
    moments = {(3 * less - 2 * more, more - less) for less, more in zip(two, three, strict=True)}
    overhead = process_overhead(spec, image_size)
    return tuple(sorted((fixed + overhead, per_image) for fixed, per_image in moments))


def process_overhead(spec: NetSpec, image_size: tuple[int, int]) -> int:
    """What a process takes besides tensors."""
    return FIRST_STEP_BYTES + MODULE_BYTES * len(_summary(spec, image_size).layers)


_summary = lru_cache(maxsize=8)(summarize)


def on_meta(
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


def bytes_alive(
    spec: NetSpec, image_size: tuple[int, int], batch_size: int, dtype: torch.dtype, segments: Segments = ()
) -> list[int]:
    """After every allocation of a training step."""
    model, images, labels = on_meta(spec, image_size, batch_size, dtype)
    if segments:
        assert isinstance(model, ResNet)
        model.set_grad_checkpointing(segments=segments)
    allocations = Allocations()
    for parameter in model.parameters():
        allocations.alive += parameter.nbytes  # its momentum
    for tensor in (*model.parameters(), *model.buffers(), images, labels):
        allocations.note(tensor)
    with allocations:
        output = model(images).float()
        loss = functional.cross_entropy(output, labels) if spec.num_classes else output.sum()
        loss.backward()
    return allocations.history


class Allocations(TorchDispatchMode):
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
