"""How the memory of tensors on a CPU is kept for the next step, and within which limit."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from reslab.training.kernels.native import load_native

__all__ = ["keep_freed_memory", "tensor_memory"]

# Numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_ON_HEAP = 32 << 20  # the most that glibc takes
_SMALLEST_OF_ITS_OWN = 256 << 10
_NEVER_TRIM = 2**31 - 1
_SOURCE = Path(__file__).with_name("tensor_pool.cpp")


@contextmanager
def tensor_memory(limit: int | None) -> Iterator[None]:
    """For training on a CPU: what is freed is kept for the next step, so that pages need not be made anew.

    Without a limit this is `keep_freed_memory`. With one, blocks that no tensor uses are given back to the system
    before all of them together exceed it, by an allocator of our own; where that cannot be compiled, every block is
    given back at once, which is exact but slower. Numbers do not change.

    Args:
        limit: bytes of tensors; tensors in use are never refused.
    """
    if limit is None:
        keep_freed_memory()
        yield
        return
    pool = _tensor_pool()
    if pool is None:
        _give_back_freed_memory()
        yield
        return
    pool.reslab_pool_use(limit)
    try:
        yield
    finally:
        pool.reslab_pool_retire()


def keep_freed_memory() -> bool:
    """Lets glibc keep the activations' memory from one step to the next, instead of giving it back to the system.

    Every page that was given back costs a page fault and zeroing when it is next touched, which in a training step of
    ResNet-56 on two cores came to 20 to 90 thousand faults and up to a fifth of the time. Numbers do not change.

    Returns:
        Whether it was possible; other C libraries do as they do.
    """
    return _set_thresholds(mmap=_LARGEST_ON_HEAP, trim=_NEVER_TRIM)


def _give_back_freed_memory() -> bool:
    return _set_thresholds(mmap=_SMALLEST_OF_ITS_OWN, trim=_LARGEST_ON_HEAP)


def _set_thresholds(*, mmap: int, trim: int) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, mmap)) and bool(mallopt(_M_TRIM_THRESHOLD, trim))


@cache
def _tensor_pool() -> ctypes.CDLL | None:
    """tensor_pool.cpp, compiled once for each version of torch; None where that is not possible."""
    package = Path(torch.__file__).parent
    pool = load_native(_SOURCE, ["-O2", f"-I{package / 'include'}", f"-L{package / 'lib'}", "-lc10"])
    if pool is None:
        return None
    pool.reslab_pool_use.argtypes = [ctypes.c_size_t]
    pool.reslab_pool_mapped.restype = ctypes.c_size_t
    return pool
