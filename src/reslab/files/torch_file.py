"""Files that torch saved, read without unpickling anything but tensors and plain types.

Those of ours bear a seal: the comment of the zip archive that torch writes holds the sha256 of all bytes before it, so
that each of them is covered, the archive's headers as well, and others read the file as any that torch saved.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch

from reslab.errors import ReslabError

__all__ = [
    "DamagedFileError",
    "UnsealedFileError",
    "load_sealed",
    "load_torch_file",
    "opened_for_torch",
    "save_sealed",
    "save_torch_file",
]

_SEAL = b"reslab sha256 "
_DIGITS = 64
_END_OF_ARCHIVE = b"PK\5\6"
_END_BYTES = 22  # of which the last two are the length of the comment
_CHUNK = 1 << 20


class DamagedFileError(ReslabError):
    """A file that cannot be read as what it should be; the message says why, without the file's name."""


class UnsealedFileError(DamagedFileError):
    """A file without a seal, that must have one."""


def load_torch_file(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU.

    Raises:
        DamagedFileError: the file is damaged, or holds objects of other types.
        OSError: it cannot be opened.
    """
    with path.open("rb") as stream:
        return _load(stream)


def save_torch_file(value: Any, path: Path) -> None:
    """Saves as `torch.save` does; not atomically.

    Args:
        value: tensors and plain values.
        path: of the file.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    with opened_for_torch(path) as stream:
        torch.save(value, stream)


@contextmanager
def opened_for_torch(path: Path) -> Iterator[Any]:
    """A file that is written by torch, whose writer in C++ tells nothing of a full disk, or ends the process.

    Raises:
        OSError: on leaving, the first error of a write.
    """
    with path.open("wb", buffering=0) as file:
        stream = _BearingStream(file)
        yield stream
        if stream.error is not None:
            raise stream.error


class _BearingStream:
    """Takes whatever is written, and notes the first error."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        """Writes all of it, or none where a write failed before."""
        view = memoryview(content).cast("B")
        rest = view
        while len(rest) and self.error is None:
            try:
                rest = rest[self.file.write(rest) :]
            except OSError as error:
                self.error = error
        return len(view)

    def flush(self) -> None:
        """Nothing waits."""


def save_sealed(value: Any, path: Path) -> None:
    """Saves as `torch.save` does, with a seal; not atomically.

    Args:
        value: tensors and plain values.
        path: of the file.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    save_torch_file(value, path)
    with path.open("r+b") as stream:
        stream.seek(-_END_BYTES, 2)
        end = stream.read()
        assert end.startswith(_END_OF_ARCHIVE), "torch writes a zip archive without a comment"
        stream.seek(-2, 2)
        stream.write((len(_SEAL) + _DIGITS).to_bytes(2, "little") + _SEAL)
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0, 2)
        stream.write(digest.encode())


def load_sealed(path: Path, *, unsealed_too: bool = False) -> Any:
    """What `save_sealed` wrote, on the CPU, with every byte verified.

    Args:
        path: of the file.
        unsealed_too: whether a file of version 0.1.0 is read, which has no seal; the checksums of the archive's members
            are then verified, which cover their content.

    Raises:
        DamagedFileError: the file is damaged, or holds objects of other types.
        UnsealedFileError: it has no seal, and must have one.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        if _is_sealed(stream):
            if not _seal_fits(stream):
                raise DamagedFileError("its sha256 is not the one that it states")
        elif not _is_archive(stream):
            raise DamagedFileError("it does not end as it was written")
        elif not unsealed_too:
            raise UnsealedFileError("it has no checksum, as those of version 0.1.0 have none")
        elif damaged := _damaged_member(stream):
            raise DamagedFileError(damaged)
        stream.seek(0)
        return _load(stream)


def _load(stream: BinaryIO) -> Any:
    try:
        return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead torch's unpickler to any exception, IndexError among them
        told = isinstance(error, RuntimeError | UnpicklingError | EOFError) and str(error).strip()
        raise DamagedFileError(told.splitlines()[0] if told else "torch cannot make sense of its bytes") from None


def _is_sealed(stream: BinaryIO) -> bool:
    return _tail(stream, len(_SEAL) + _DIGITS).startswith(_SEAL)


def _seal_fits(stream: BinaryIO) -> bool:
    stated = _tail(stream, _DIGITS)
    left = stream.tell() - _DIGITS
    digest = hashlib.sha256()
    stream.seek(0)
    while left > 0 and (chunk := stream.read(min(_CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest().encode() == stated


def _is_archive(stream: BinaryIO) -> bool:
    """Whether the file ends as an archive without a comment does."""
    end = _tail(stream, _END_BYTES)
    return end.startswith(_END_OF_ARCHIVE) and end.endswith(b"\0\0")


def _damaged_member(stream: BinaryIO) -> str:
    try:
        with zipfile.ZipFile(stream) as archive:
            member = archive.testzip()
    except Exception as error:  # damaged headers lead to any exception, NotImplementedError among them
        return f"its archive cannot be read: {error}"
    return f"the checksum of its member {member} differs" if member else ""


def _tail(stream: BinaryIO, num_bytes: int) -> bytes:
    size = stream.seek(0, 2)
    stream.seek(max(0, size - num_bytes))
    return stream.read()
