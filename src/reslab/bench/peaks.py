"""The processor's own arithmetic, on numbers in registers (peaks.cpp): the limit that no program passes."""

import ctypes
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from reslab.bench.turns import CannotRun, Work
from reslab.training.kernels.compiled import kernel_arguments
from reslab.training.kernels.native import load_native

__all__ = ["PEAKS", "Peak", "peak_work"]

Peak = Literal["fma", "fma-avx2", "fma-bf16"]
PEAKS: tuple[Peak, ...] = ("fma", "fma-avx2", "fma-bf16")

_SOURCE = Path(__file__).with_name("peaks.cpp")
_REPEATS = 2_000_000  # about a tenth of a second


def peak_work(peak: Peak, threads: int) -> Work:
    """Its steps, in additions and multiplications.

    Args:
        peak: `fma` are multiply-adds in fp32, in the vectors that torch uses here; `fma-avx2` the same in AVX2's, where
            there are wider ones; `fma-bf16` products of bf16 added up in fp32, by AMX or else AVX-512.
        threads: that do the same at the same time.

    Raises:
        CannotRun: the processor lacks the instructions, or there is no compiler for them.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    if peak == "fma":
        return _work("fma", kernel_arguments(), _REPEATS, threads, f"multiply-adds in registers, {capability}, fp32")
    if peak == "fma-avx2":
        if capability != "AVX512":
            raise CannotRun("fma has AVX2's vectors here")
        return _work("fma", kernel_arguments("AVX2"), _REPEATS, threads, "multiply-adds in registers, AVX2, fp32")
    if capability != "AVX512" or not torch.cpu._is_avx512_bf16_supported():
        raise CannotRun("the processor has no instructions for bf16")
    if torch.cpu._is_amx_tile_supported():
        arguments = [*kernel_arguments(), "-mamx-tile", "-mamx-bf16"]
        return _work("tiles_bf16", arguments, _REPEATS // 4, threads, "products in registers, AMX, bf16 into fp32")
    measured = "products in registers, AVX-512, bf16 into fp32"
    return _work("dot_bf16", kernel_arguments(), _REPEATS, threads, measured)


def _work(function: str, arguments: list[str], repeats: int, threads: int, measured: str) -> Work:
    library = load_native(_SOURCE, arguments)
    if library is None:
        raise CannotRun("there is no C++ compiler; install g++")
    step = getattr(library, f"reslab_peak_{function}")
    step.argtypes, step.restype = [ctypes.c_int64, ctypes.c_int], ctypes.c_double
    operations = step(1, threads) * repeats
    if not operations:
        raise CannotRun("the system does not let this process use the instructions")
    return Work(partial(step, repeats, threads), operations, {"threads": threads, "measured": measured})
