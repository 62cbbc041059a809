"""How much memory a training step takes, counted tensor by tensor on torch's meta device, which computes nothing."""

import re
import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reslab.analysis.complexity import summarize
from reslab.errors import ReslabError
from reslab.models.build import build
from reslab.models.spec import NetSpec

__all__ = [
    "FIRST_STEP_BYTES",
    "IMPORT_BYTES",
    "MOST_GAPS",
    "estimate_training_memory",
    "largest_training_batch",
    "parse_memory",
]

# The first two measured with torch 2.14.1's wheel for Linux (CUDA 13.0) on a CPU; one without CUDA takes less.
IMPORT_BYTES = 535_000_000
"""Resident memory of Python once torch is imported."""
FIRST_STEP_BYTES = 180_000_000
"""What a first training step adds to it besides tensors: 159 MB are modules that the optimizer imports, the rest
kernels that oneDNN makes."""
MOST_GAPS = 1.8
"""How many times the tensors' bytes a CPU's memory grows by at the most, of 14 networks and batches with glibc 2.36;
1.13 at the least. Before 2.38, a freed block is too small for the next tensor of its size, which is aligned anew."""

_UNITS = {"K": 1, "M": 2, "G": 3, "T": 4}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(i?B)?\s*", re.IGNORECASE)


def estimate_training_memory(spec: NetSpec, image_size: tuple[int, int], batch_size: int) -> int:
    """Peak memory of training, in bytes, over a process that has imported torch.

    It is that of an eager float32 step of SGD with momentum: images, parameters, momentum, and what is alive at the
    worst moment of activations kept for the gradients, gradients and intermediate results. To that comes a constant
    for what torch loads in its first step (`FIRST_STEP_BYTES`). Gaps that an allocator leaves between tensors are not
    in it (`MOST_GAPS`).

    Args:
        spec: the network.
        image_size: height and width.
        batch_size: images a step.

    Raises:
        ModelError: the images are too small for the network.
    """
    return max(fixed + batch_size * per_image for fixed, per_image in _moments(spec, image_size))


def largest_training_batch(spec: NetSpec, image_size: tuple[int, int], memory: int, *, gaps: float = 1.0) -> int:
    """The most images a step that `estimate_training_memory` puts into so many bytes; 0 if not even one fits.

    Args:
        spec: the network.
        image_size: height and width.
        memory: bytes, over a process that has imported torch.
        gaps: how many times the tensors' bytes the allocator takes.

    Raises:
        ModelError: the images are too small for the network.
    """
    available = int((memory - FIRST_STEP_BYTES) / gaps) + FIRST_STEP_BYTES
    moments = _moments(spec, image_size)
    if any(fixed > available for fixed, _ in moments):
        return 0
    return min((available - fixed) // per_image for fixed, per_image in moments if per_image)


def parse_memory(text: str) -> int:
    """Reads `8GiB`, `800MB` or `2G`; a letter alone means powers of 1024, as with most tools.

    Raises:
        ReslabError: it is no size, or has no unit.
    """
    match = _SIZE.fullmatch(text)
    if match is None or float(match[1]) == 0:
        raise ReslabError(f"cannot read the memory {text!r}: write a size with its unit, as in 8GiB, 800MB or 2G.")
    base = 1000 if (match[3] or "").upper() == "B" else 1024
    return int(float(match[1]) * base ** _UNITS[match[2].upper()])


@lru_cache(maxsize=8)
def _moments(spec: NetSpec, image_size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """For each moment of a step, the bytes alive: those that do not depend on the batch, and those of each image.

    Two batches give both exactly, since the step allocates in the same order for any number of images; not for one,
    which torch treats apart in places.
    """
    two, three = (_bytes_alive(spec, image_size, batch_size) for batch_size in (2, 3))
    moments = {(3 * less - 2 * more, more - less) for less, more in zip(two, three, strict=True)}
    return tuple(sorted((fixed + FIRST_STEP_BYTES, per_image) for fixed, per_image in moments))


def _bytes_alive(spec: NetSpec, image_size: tuple[int, int], batch_size: int) -> list[int]:
    """After every allocation of a training step."""
    summarize(spec, image_size)  # which says so if the images are too small
    with torch.device("meta"):
        model = build(spec).to(memory_format=torch.channels_last).train()
        images = torch.empty(batch_size, *image_size, spec.in_channels).permute(0, 3, 1, 2)
        labels = torch.empty(batch_size, dtype=torch.int64)
    allocations = _Allocations()
    for parameter in model.parameters():
        allocations.alive += parameter.nbytes  # its momentum
    for tensor in (*model.parameters(), *model.buffers(), images, labels):
        allocations.note(tensor)
    with allocations:
        output = model(images)
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
