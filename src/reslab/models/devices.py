"""Devices that networks are computed on, and how exactly a GPU computes them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["device_exists", "exact_arithmetic", "own_random_numbers"]


def device_exists(name: str) -> bool:
    """Whether this machine has a device that torch calls so."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, ImportError):  # torch's ways to say no, by version and device
        return False
    return True


@contextmanager
def exact_arithmetic(device: str | torch.device) -> Iterator[None]:
    """While it lasts, a GPU's convolutions in fp32 are in fp32, and come out the same each time.

    Torch computes them in TF32, whose mantissa has ten bits, unless told otherwise, and by algorithms whose sums depend
    on which thread is first. On a CPU nothing has to be said.
    """
    if torch.device(device).type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False):
        yield


@contextmanager
def own_random_numbers(device: str | torch.device) -> Iterator[None]:
    """While it lasts, what is drawn on the CPU and the device leaves others' random numbers as they were."""
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
