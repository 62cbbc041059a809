"""Writing safetensors files, with the system's own errors where they cannot be written."""

import os
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

__all__ = ["save_safetensors"]

_SYSTEM = re.compile(r"os error (\d+)")


def save_safetensors(tensors: Mapping[str, Any], path: Path, metadata: Mapping[str, str]) -> None:
    """Saves named tensors; not atomically.

    Args:
        tensors: torch's, contiguous and on the CPU, or arrays of numpy.
        path: of the file.
        metadata: texts in its header.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    library = "numpy" if all(isinstance(value, np.ndarray) for value in tensors.values()) else "torch"
    try:
        import_module(f"safetensors.{library}").save_file(dict(tensors), path, metadata=dict(metadata))
    except SafetensorError as error:
        number = _SYSTEM.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from None
