"""Files that torch saved, read without unpickling anything but tensors and plain types."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from reslab.errors import ReslabError

__all__ = ["DamagedFileError", "load_torch_file"]


class DamagedFileError(ReslabError):
    """A file that cannot be read as what it should be; the message says why, without the file's name."""


def load_torch_file(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU.

    Raises:
        DamagedFileError: the file is damaged, or holds objects of other types.
        OSError: it cannot be opened.
    """
    with path.open("rb") as stream:
        try:
            return torch.load(stream, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged bytes lead torch's unpickler to any exception, IndexError among them
            told = isinstance(error, RuntimeError | UnpicklingError | EOFError) and str(error).strip()
            raise DamagedFileError(told.splitlines()[0] if told else "torch cannot make sense of its bytes") from None
