"""C++ of our own, compiled where it is first used and kept for the next time."""

import ctypes
import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import torch

from reslab.environment import cxx_compiler
from reslab.files.atomic import atomic_path
from reslab.files.cache import cache_folder

__all__ = ["load_native"]

_COMPILING_SECONDS = 120


def load_native(source: Path, arguments: Sequence[str]) -> ctypes.CDLL | None:
    """A library from C++, compiled once for each version of torch and each choice of arguments.

    Args:
        source: its one file; headers beside it belong to it.
        arguments: of the compiler, besides those of any shared library.

    Returns:
        None where it cannot be compiled or loaded.
    """
    if os.name != "posix":
        return None
    about = f"{torch.__version__} {platform.machine()} {' '.join(arguments)}"
    code = b"".join(path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h"))))
    key = hashlib.sha256(code + about.encode()).hexdigest()[:16]
    library = cache_folder("built") / f"{source.stem}-{key}.so"
    try:
        if not library.is_file():
            compiler = cxx_compiler()
            if compiler is None:
                return None
            with atomic_path(library) as temporary:
                command = [compiler, "-std=c++20", "-shared", "-fPIC", "-o", str(temporary), str(source), *arguments]
                subprocess.run(command, check=True, capture_output=True, timeout=_COMPILING_SECONDS)
        return ctypes.CDLL(str(library))
    except (OSError, subprocess.SubprocessError):
        return None
