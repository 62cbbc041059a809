"""Files that torch saved, read without unpickling anything but tensors and plain types.

Those of ours bear a seal: the comment of the zip archive that torch writes holds the sha256 of all bytes before it, so
that each of them is covered, the archive's headers as well, and others read the file as any that torch saved.
"""

import hashlib
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch

from reslab.files.pickle_survey import DamagedFileError, ForeignFileError, Survey, survey
from reslab.files.unread import STAND_INS, unread

__all__ = [
    "DamagedFileError",
    "ForeignFileError",
    "UnsealedFileError",
    "load_sealed",
    "load_torch_file",
    "opened_for_torch",
    "save_sealed",
    "save_torch_file",
]

_SEAL = b"reslab sha256 "
_DIGITS = 64
_ARCHIVE = b"PK\3\4"
_END_OF_ARCHIVE = b"PK\5\6"
_END_BYTES = 22  # of which the last two are the length of the comment
_CHUNK = 1 << 20
_OLD_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_OLD_PICKLES = 3  # before the value in a file of torch before 1.6: a magic number, a version, the machine
MOST_EXPANSION = 20
"""Of an archive's members against the file. torch compresses nothing, and weights that are dense shrink by a tenth."""
FREE_EXPANSION = 64 << 20
"""Bytes that an archive may hold whatever its own size: memory that any machine has."""


class UnsealedFileError(DamagedFileError):
    """A file without a seal, that must have one."""


def load_torch_file(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU; the checksums of an archive's members are verified.

    Objects of harmless types that weights do without (`argparse.Namespace`, arrays of numpy, paths, dates) are left
    out: `reslab.files.unread.Unread` stands in their places.

    Raises:
        DamagedFileError: the file is damaged, holds objects of other types, or asks for more than its size allows.
        OSError: it cannot be opened.
    """
    with path.open("rb") as stream:
        if stream.read(len(_ARCHIVE)) == _ARCHIVE:
            _check_expansion(stream)
            if damaged := _damaged_member(stream, unchecked_too=True):
                raise DamagedFileError(damaged)
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
    stream.seek(0)
    found = _survey_archive(stream) if stream.read(len(_ARCHIVE)) == _ARCHIVE else _survey_old(stream)
    if refused := unread(found):
        raise ForeignFileError(refused)
    stream.seek(0)
    try:
        with torch.serialization.safe_globals(list(STAND_INS)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's on protocols and sparse tensors say nothing to a user
            return torch.load(stream, map_location="cpu", weights_only=True)
    except MemoryError:
        raise DamagedFileError("it asks for more memory than there is here") from None
    except Exception as error:  # damaged bytes lead torch's unpickler to any exception, IndexError among them
        if found.protocol not in (0, 2):
            raise ForeignFileError(
                f"it is pickled by protocol {found.protocol}, and torch reads only protocol 2 safely; save it again "
                "with torch.save as it is by default"
            ) from None
        told = isinstance(error, RuntimeError | UnpicklingError | EOFError) and str(error).strip()
        told = told.splitlines()[0] if told else ""
        usable = told and "weights_only" not in told and "Weights only" not in told  # those advise to switch safety off
        raise DamagedFileError(told if usable else "torch cannot make sense of its bytes") from None


def _survey_archive(stream: BinaryIO) -> Survey:
    """What the pickle in a zip archive asks for, held to the archive's members."""
    try:
        with zipfile.ZipFile(stream) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            pickles = [name for name in sizes if name == "data.pkl" or name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise ForeignFileError(_kind_of_archive(sizes))
            (name,) = pickles
            folder = name.removesuffix("data.pkl")
            if f"{folder}constants.pkl" in sizes:
                raise ForeignFileError(
                    "it is a TorchScript program; load it with torch.jit.load, and save `program.state_dict()` with "
                    "torch.save"
                )
            info = archive.getinfo(name)
            info.CRC = None  # type: ignore[assignment]  # which is verified elsewhere, where there is one
            with archive.open(info) as member:
                found = survey(member)  # type: ignore[arg-type]
    except DamagedFileError:
        raise
    except Exception as error:  # damaged headers lead to any exception, NotImplementedError among them
        raise DamagedFileError(f"its archive cannot be read: {error}") from None
    for key, num_bytes in found.storages.items():
        if num_bytes > sizes.get(f"{folder}data/{key}", 0):
            raise DamagedFileError(f"it says that a tensor has {num_bytes:,} bytes, and they are not there")
    return found


def _survey_old(stream: BinaryIO) -> Survey:
    """What the pickles ask for in a file of torch before 1.6, which has no archive, held to the file's size."""
    size = stream.seek(0, 2)
    stream.seek(0)
    beginning = stream.read(len(_OLD_MAGIC))
    stream.seek(0)
    if beginning != _OLD_MAGIC:
        if beginning[:1] == b"\x80" and (found := survey(stream)).protocol:
            raise ForeignFileError(
                unread(found) or "it is a pickle that torch did not write; save `model.state_dict()` with torch.save"
            )
        raise DamagedFileError("its first bytes are not those of a file that torch or safetensors wrote")
    for _ in range(_OLD_PICKLES):
        survey(stream)
    found = survey(stream)
    if sum(found.storages.values()) > size:
        raise DamagedFileError("it says that its tensors have more bytes than are in the file: it was cut short")
    return found


def _kind_of_archive(names: dict[str, int]) -> str:
    if any(name.endswith(".npy") for name in names):
        return "it is an archive of NumPy; save `model.state_dict()` with torch.save"
    if any("archive_format" in name or name.endswith("models/model.json") for name in names):
        return (
            "it is a program of torch.export; load it with torch.export.load, and save its `state_dict` with torch.save"
        )
    return "it is a zip archive that torch did not write; unpack it, and give a file in it"


def _check_expansion(stream: BinaryIO) -> None:
    """Refuses an archive of which far more would come out than is in it."""
    size = stream.seek(0, 2)
    try:
        with zipfile.ZipFile(stream) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except Exception as error:
        raise DamagedFileError(f"its archive cannot be read: {error}") from None
    if unpacked > max(MOST_EXPANSION * size, FREE_EXPANSION):
        raise DamagedFileError(
            f"it would unpack to {unpacked:,} bytes, {unpacked // size} times its size, which no weights do"
        )


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


def _damaged_member(stream: BinaryIO, *, unchecked_too: bool = False) -> str:
    """Why an archive is damaged, by its members' checksums; torch can be told to write none, which are 0 then."""
    try:
        with zipfile.ZipFile(stream) as archive:
            for info in archive.infolist() if unchecked_too else ():
                info.CRC = info.CRC or None  # type: ignore[assignment]  # what zipfile does not compare
            member = archive.testzip()
    except Exception as error:  # damaged headers lead to any exception, NotImplementedError among them
        return f"its archive cannot be read: {error}"
    return f"the checksum of its member {member} differs" if member else ""


def _tail(stream: BinaryIO, num_bytes: int) -> bytes:
    size = stream.seek(0, 2)
    stream.seek(max(0, size - num_bytes))
    return stream.read()
