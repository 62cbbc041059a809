"""The largest batch that a network trains with in some memory."""

import platform
from dataclasses import asdict, dataclass
from typing import Any

from reslab.analysis.training_memory import (
    IMPORT_BYTES,
    MOST_GAPS,
    Precision,
    estimate_training_memory,
    largest_training_batch,
)
from reslab.errors import ModelError
from reslab.models.spec import NetSpec

__all__ = ["BatchLimit", "batch_limit", "leaves_gaps"]

_FILLS_GAPS = (2, 38)  # glibc's version whose aligned blocks can take the place of freed ones


@dataclass(frozen=True, kw_only=True)
class BatchLimit:
    """What fits into a process's memory, in SGD with momentum.

    Args:
        memory_bytes: of the process.
        largest_batch: images a step.
        peak_bytes: that these take.
        largest_batch_with_gaps: images a step where the allocator leaves gaps between tensors.
    """

    memory_bytes: int
    largest_batch: int
    peak_bytes: int
    largest_batch_with_gaps: int

    def describe(self, name: str, image_size: tuple[int, int], precision: str) -> str:
        """In words, with what a CPU's allocator takes away."""
        height, width = image_size
        text = (
            f"training       {name}: batches of up to {self.largest_batch:,} images of {height}x{width} fit in "
            f"{self.memory_bytes / 2**30:.2f} GiB ({self.peak_bytes / 2**30:.2f} GiB at the peak, in {precision})"
        )
        if library := leaves_gaps():
            text += (
                f"\n               on this machine's CPU count on {self.largest_batch_with_gaps:,}: {library} leaves "
                "gaps between tensors, which 2.38 fills"
            )
        return text

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def batch_limit(spec: NetSpec, image_size: tuple[int, int], memory: int, precision: Precision = "fp32") -> BatchLimit:
    """The largest batch in so much memory.

    Args:
        spec: the network.
        image_size: height and width.
        memory: bytes of the whole process.
        precision: of convolutions and products.

    Raises:
        ModelError: not even one image fits, or the images are too small for the network.
    """
    available = memory - IMPORT_BYTES
    batch = largest_training_batch(spec, image_size, available, precision)
    peak = IMPORT_BYTES + estimate_training_memory(spec, image_size, max(1, batch), precision)
    if not batch:
        raise ModelError(
            f"training takes {peak / 2**30:.2f} GiB with one image a step, more than {memory / 2**30:.2f} GiB."
        )
    with_gaps = largest_training_batch(spec, image_size, available, precision, gaps=MOST_GAPS)
    return BatchLimit(memory_bytes=memory, largest_batch=batch, peak_bytes=peak, largest_batch_with_gaps=with_gaps)


def leaves_gaps() -> str:
    """The C library that leaves gaps on this machine, with its version; nothing where none is known to."""
    libc, version = platform.libc_ver()
    old = libc == "glibc" and tuple(map(int, version.split(".")[:2])) < _FILLS_GAPS
    return f"{libc} {version}" if old else ""
