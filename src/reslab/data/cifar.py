"""CIFAR-10 and CIFAR-100 from their official archives, in python and in binary form."""

import gzip
import tarfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from reslab.data.dataset import ImageData, Role, Split
from reslab.data.search_path import download_folder, find_first
from reslab.errors import DataError
from reslab.files.download import Resource, fetch
from reslab.files.regular import read_regular
from reslab.files.unpickle import load_plain_pickle

__all__ = ["cifar_names", "load_cifar"]

_URL = "https://www.cs.toronto.edu/~kriz/"
_PIXELS = 3 * 32 * 32
_MAX_FILE_BYTES = 1 << 28  # the largest official file has 155 MB
_GZIP = b"\x1f\x8b"
_MAX_ARCHIVE_BYTES = 1 << 30  # unpacked; the official ones have 190 MB


@dataclass(frozen=True)
class _Cifar:
    """What is official about one of the two data sets."""

    name: str
    folders: dict[str, str]  # form -> folder inside the archive
    archives: dict[str, str]  # form -> file name
    python: Resource
    parts: dict[str, dict[Role, tuple[str, ...]]]  # form -> role -> files
    num_images: int  # in one train file; test has 10,000
    label_bytes: int  # in the binary form; the last one is the (fine) label
    label_key: bytes
    names_file: dict[str, str]
    names_key: bytes


_CIFARS = {
    "cifar10": _Cifar(
        name="CIFAR-10",
        folders={"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"},
        archives={"python": "cifar-10-python.tar.gz", "binary": "cifar-10-binary.tar.gz"},
        python=Resource(f"{_URL}cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a", 170_498_071),
        parts={
            "python": {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
            "binary": {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
        },
        num_images=10_000,
        label_bytes=1,
        label_key=b"labels",
        names_file={"python": "batches.meta", "binary": "batches.meta.txt"},
        names_key=b"label_names",
    ),
    "cifar100": _Cifar(
        name="CIFAR-100",
        folders={"python": "cifar-100-python", "binary": "cifar-100-binary"},
        archives={"python": "cifar-100-python.tar.gz", "binary": "cifar-100-binary.tar.gz"},
        python=Resource(f"{_URL}cifar-100-python.tar.gz", "md5:eb9058c3a382ffc7106e4002c42a8d85", 169_001_437),
        parts={
            "python": {"train": ("train",), "test": ("test",)},
            "binary": {"train": ("train.bin",), "test": ("test.bin",)},
        },
        num_images=50_000,
        label_bytes=2,
        label_key=b"fine_labels",
        names_file={"python": "meta", "binary": "fine_label_names.txt"},
        names_key=b"fine_label_names",
    ),
}


def load_cifar(
    name: str, data_dir: Path | None, progress: bool, roles: Collection[Role] = ("train", "test")
) -> ImageData:
    """CIFAR-10 or CIFAR-100, from an official folder or archive in the usual places, or downloaded.

    Args:
        name: `cifar10` or `cifar100`.
        data_dir: where to look first, and where to download to.
        progress: whether a download shows a progress bar.
        roles: whose files are read.

    Raises:
        DataError: a file is missing or damaged, or the archive cannot be downloaded.
    """
    cifar = _CIFARS[name]
    found = find_first(data_dir, cifar_names(name))
    if found is None:
        found = fetch(cifar.python, download_folder(data_dir), progress=progress)
    form = "binary" if found.name in (cifar.folders["binary"], cifar.archives["binary"]) else "python"
    wanted = [*(part for role in roles for part in cifar.parts[form][role]), cifar.names_file[form]]
    files = _read_folder(found, wanted) if found.is_dir() else _read_archive(found, cifar.folders[form], wanted)

    classes = _class_names(cifar, form, files, found)
    splits: dict[Role, Split] = {}
    for role in roles:
        num_images = cifar.num_images if role == "train" else 10_000
        read = _read_python if form == "python" else _read_binary
        pieces = [read(cifar, files[part], num_images, f"{found}: {part}") for part in cifar.parts[form][role]]
        images, labels = (np.concatenate(column) for column in zip(*pieces, strict=True))
        if labels.min() < 0 or labels.max() >= len(classes):
            wrong = labels.min() if labels.min() < 0 else labels.max()
            raise DataError(f"{found} holds a label {wrong}, but {cifar.name} has {len(classes)} classes.")
        splits[role] = Split(images, labels)
    return ImageData(name, classes, splits)


def _class_names(cifar: _Cifar, form: str, files: dict[str, bytes], found: Path) -> tuple[str, ...]:
    content, origin = files[cifar.names_file[form]], f"{found}: {cifar.names_file[form]}"
    try:
        if form == "binary":
            names = content.decode().split()
        else:
            names = [name.decode() for name in load_plain_pickle(content, origin)[cifar.names_key]]
    except (LookupError, TypeError, AttributeError, UnicodeDecodeError):
        raise DataError(f"{origin} does not list {cifar.name}'s class names.") from None
    expected = 10 if cifar.label_bytes == 1 else 100
    if len(names) != expected or len(set(names)) != expected:
        raise DataError(f"{origin} lists {len(names)} class names instead of {expected} different ones.")
    return tuple(names)


def _read_python(cifar: _Cifar, content: bytes, num_images: int, origin: str) -> tuple[Any, Any]:
    batch = load_plain_pickle(content, origin)
    try:
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[cifar.label_key])
    except (LookupError, TypeError, ValueError):
        raise DataError(f"{origin} is not a batch of {cifar.name}: it lacks its data or labels.") from None
    if pixels.dtype != np.uint8 or pixels.shape != (num_images, _PIXELS) or labels.shape != (num_images,):
        raise DataError(
            f"{origin} holds data of shape {pixels.shape} and labels of shape {labels.shape}; {cifar.name} has "
            f"({num_images}, {_PIXELS}) bytes and ({num_images},) labels there."
        )
    if labels.dtype.kind not in "iu":
        raise DataError(f"{origin} holds labels of type {labels.dtype}; whole numbers were expected.")
    return _to_nhwc(pixels), labels.astype(np.int64)


def _read_binary(cifar: _Cifar, content: bytes, num_images: int, origin: str) -> tuple[Any, Any]:
    record = cifar.label_bytes + _PIXELS
    if len(content) != num_images * record:
        raise DataError(
            f"{origin} has {len(content):,} bytes instead of {num_images * record:,}: it is cut or damaged."
        )
    rows = np.frombuffer(content, np.uint8).reshape(num_images, record)
    return _to_nhwc(rows[:, cifar.label_bytes :]), rows[:, cifar.label_bytes - 1].astype(np.int64)


def _to_nhwc(pixels: Any) -> Any:
    return np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _read_folder(folder: Path, names: list[str]) -> dict[str, bytes]:
    try:
        return {name: read_regular(folder / name, _MAX_FILE_BYTES) for name in names}
    except DataError as error:
        raise DataError(f"a file of {folder} cannot be read: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}; the folder {folder} is incomplete.") from None


def _read_archive(path: Path, folder: str, names: list[str]) -> dict[str, bytes]:
    """Some files of a tar archive, read without unpacking it to disk."""
    wanted = {f"{folder}/{name}": name for name in names}
    files: dict[str, bytes] = {}
    try:
        with _unpacked(path) as stream, tarfile.TarFile(fileobj=_Bounded(stream)) as archive:  # type: ignore[arg-type]
            for member in archive:
                if member.name in wanted and member.isfile() and member.size <= _MAX_FILE_BYTES:
                    content = archive.extractfile(member)
                    assert content is not None  # a plain file's always is one
                    files[wanted[member.name]] = content.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}; delete it to have it downloaded anew.") from None
    if missing := [name for name in names if name not in files]:
        raise DataError(f"{path} lacks {folder}/{missing[0]}: it is incomplete, or not the archive that its name says.")
    return files


def _unpacked(path: Path) -> gzip.GzipFile | BufferedReader:
    """An archive's content; whether it is compressed, its first bytes say and not its name."""
    with path.open("rb") as stream:
        compressed = stream.read(len(_GZIP)) == _GZIP
    return gzip.open(path) if compressed else path.open("rb")


class _Bounded:
    """A stream of which nothing is unpacked or read that no archive of ours holds: a header may claim any length."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.tell = stream.tell

    def read(self, size: int = -1) -> bytes:
        """Reads as many bytes."""
        if not 0 <= size <= _MAX_FILE_BYTES:
            raise tarfile.ReadError(f"a part of it claims to have {size:,} bytes")
        content: bytes = self.stream.read(size)
        return content

    def seek(self, position: int) -> int:
        """Goes to a place."""
        if position > _MAX_ARCHIVE_BYTES:
            raise tarfile.ReadError(f"it unpacks to more than {_MAX_ARCHIVE_BYTES:,} bytes")
        found: int = self.stream.seek(position)
        return found


def cifar_names(name: str) -> tuple[str, ...]:
    """Folders and archives that `cifar10` or `cifar100` is found in."""
    cifar = _CIFARS[name]
    return (*cifar.folders.values(), *cifar.archives.values())
