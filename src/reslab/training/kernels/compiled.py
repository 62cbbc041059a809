"""The kernels' libraries, compiled for this processor where they are first used."""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from reslab.console import counting
from reslab.training.kernels.native import load_native

__all__ = ["have_kernels", "kernel_arguments", "load_kernels"]

_FOLDER = Path(__file__).parent
_INSTRUCTIONS = {"AVX512": ["-march=x86-64-v4", "-mprefer-vector-width=512"], "AVX2": ["-march=x86-64-v3"]}
_loaded: dict[str, ctypes.CDLL] = {}


def load_kernels(name: str) -> ctypes.CDLL | None:
    """A library of kernels, for the instructions that torch itself uses here (ATEN_CPU_CAPABILITY).

    Args:
        name: of its C++ file in this folder.

    Returns:
        None where there is no C++ compiler with OpenMP.
    """
    if name not in _loaded:
        library = load_native(_FOLDER / f"{name}.cpp", kernel_arguments())
        if library is None:
            return None
        _loaded[name] = library
    return _loaded[name]


def have_kernels(*names: str) -> bool:
    """Whether this machine has libraries of kernels; those that it has not compiled yet are compiled side by side."""
    with (
        counting("Compiling kernels, once for this processor", None, enabled=not _loaded.keys() >= set(names)),
        ThreadPoolExecutor(len(names)) as pool,
    ):
        return all(library is not None for library in pool.map(load_kernels, names))


def kernel_arguments(capability: str | None = None) -> list[str]:
    """What the compiler is told.

    Args:
        capability: torch's word for the instructions, as in AVX2; those that it uses here by default.
    """
    capability = capability or torch.backends.cpu.get_cpu_capability()
    instructions = list(_INSTRUCTIONS.get(capability, []))
    if capability == "AVX512" and torch.cpu._is_avx512_bf16_supported():
        instructions.append("-mavx512bf16")
    # The OpenMP that torch brings, whatever its file is called: with the system's there could be two pools of threads.
    openmp = sorted(map(str, (Path(torch.__file__).parent / "lib").glob("libgomp*")))
    linked = ["-Wl,--as-needed", *openmp] if openmp else []
    return ["-O3", "-fopenmp", "-ffp-contract=fast", *linked, *instructions]
