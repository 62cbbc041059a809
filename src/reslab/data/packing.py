"""Writes photos into tar files with an index beside them, which `shards` reads."""

import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors.numpy import save

from reslab.console import counting
from reslab.data.dataset import Role
from reslab.data.loading import load_data
from reslab.data.photos import Paths, PhotoData, PhotoSplit
from reslab.data.shards import INDEX_FORMAT, INDEX_NAME, index_checksum
from reslab.environment import parse_size
from reslab.errors import DataError
from reslab.files.atomic import atomic_path, write_bytes
from reslab.texts import count, show_name

__all__ = ["PackReport", "pack_folder", "pack_shards"]

_STARTED = ".packing"  # there while a folder is being filled
_LOCK = ".packing.lock"


@dataclass(frozen=True, kw_only=True)
class PackReport:
    """What `pack_shards` wrote.

    Args:
        shards: names of the tar files.
        num_images: of each role.
        num_bytes: of all shards.
    """

    shards: tuple[str, ...]
    num_images: dict[Role, int]
    num_bytes: int

    def __str__(self) -> str:
        images = ", ".join(f"{number:,} {role}" for role, number in self.num_images.items())
        return f"{images} images in {count(len(self.shards), 'shard')}, {self.num_bytes / 1e6:,.1f} MB"

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {"shards": list(self.shards), "num_images": self.num_images, "num_bytes": self.num_bytes}


def pack_folder(folder: str | Path, out: Path, *, shard_size: str = "256MiB", progress: bool = False) -> PackReport:
    """Packs a folder of photos, as `pack_shards` does.

    Args:
        folder: of class folders, or of train/, val/ and test/ that hold them.
        out: folder of the shards.
        shard_size: after which one is closed, as in 256MiB.
        progress: whether to show a bar.

    Raises:
        ReslabError: one folder lies in the other, or as for `pack_shards`.
    """
    if out.resolve().is_relative_to(Path(folder).resolve()):
        raise DataError(f"{out} lies in {folder} itself, and would be read with it; choose another folder.")
    shard_bytes, data = parse_size(shard_size), load_data(folder, kind="photos")
    total = sum(len(split) for split in data.splits.values())
    with counting("Packing", total, enabled=progress) as advance:
        return pack_shards(data, out, shard_bytes=shard_bytes, advance=advance)


def pack_shards(
    data: PhotoData, out: Path, *, shard_bytes: int = 256 << 20, advance: Callable[[int], object] | None = None
) -> PackReport:
    """Writes photos, as they are, into tar files and their index.

    The photos of a role are written in the order that `np.random.default_rng(0)` gives them, so that readers who
    stream see the classes mixed. The index is written last: without it nothing is taken for a packed data set.

    Args:
        data: that is packed.
        out: a folder; new, empty, or with shards of an earlier try that did not come to its end.
        shard_bytes: after which a shard is closed.
        advance: told of the number of photos done after each.

    Raises:
        DataError: the folder has a packed data set already, another process is packing into it, or a photo cannot be
            read.
    """
    data.need_one_label("shards are")
    if shard_bytes < 1:
        raise DataError(f"a shard must have at least one byte, not {shard_bytes}.")
    with _held(out):
        return _pack(data, out, shard_bytes, advance or (lambda done: None))


def _pack(data: PhotoData, out: Path, shard_bytes: int, advance: Callable[[int], object]) -> PackReport:
    tensors: dict[str, NDArray[Any]] = {}
    shards: dict[str, _Hashed] = {}
    for role, split in data.splits.items():
        written, parts = _pack_role(split, role, out, len(shards), shard_bytes, advance)
        shards |= written
        tensors.update({f"{role}.{key}": value for key, value in parts.items()})
    about: dict[str, Any] = {
        "format": INDEX_FORMAT,
        "name": data.name,
        "note": data.note,
        "classes": list(data.classes),
        "roles": list(data.splits),
        "shards": {name: written.digest.hexdigest() for name, written in shards.items()},
    }
    about["checksum"] = index_checksum(about, tensors)
    write_bytes(out / INDEX_NAME, save(tensors, {"reslab": json.dumps(about)}))
    (out / _STARTED).unlink()
    num_images = {role: len(split) for role, split in data.splits.items()}
    total = sum(written.size for written in shards.values())
    return PackReport(shards=tuple(shards), num_images=num_images, num_bytes=total)


def _pack_role(
    split: PhotoSplit, role: Role, out: Path, first: int, shard_bytes: int, advance: Callable[[int], object]
) -> tuple[dict[str, "_Hashed"], dict[str, NDArray[Any]]]:
    """Writes the shards of a role; what was written, by their names, and the columns of the index.

    Args:
        split: its photos.
        role: by which the shards are called.
        out: their folder.
        first: number of the first shard, over all roles.
        shard_bytes: after which a shard is closed.
        advance: told of the number of photos done after each.
    """
    order = np.random.default_rng(0).permutation(len(split))
    shard, starts, sizes, crc = (np.zeros(len(split), np.int64) for _ in range(4))
    written: dict[str, _Hashed] = {}
    done = 0
    while done < len(order):
        name = f"{role}-{len(written):06d}.tar"
        with atomic_path(out / name) as temporary, temporary.open("wb") as file:
            stream = _Hashed(file)
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:  # type: ignore[call-overload]
                while done < len(order) and (tar.offset == 0 or tar.offset < shard_bytes):
                    index = int(order[done])
                    content = split.file(index)
                    starts[index] = _add(tar, f"{done:09d}.{_suffix(split.name(index))}", content)
                    _add(tar, f"{done:09d}.cls", str(split.labels[index]).encode())
                    shard[index], sizes[index] = first + len(written), len(content)
                    crc[index] = zlib.crc32(content)
                    done += 1
                    advance(1)
        written[name] = stream
    names = Paths.of(split.name(index) for index in range(len(split)))
    parts: dict[str, NDArray[Any]] = {"text": names.text, "ends": names.ends, "labels": split.labels}
    return written, {**parts, "shard": shard, "start": starts, "size": sizes, "crc": crc}


class _Hashed:
    """A file that is written from its beginning to its end, with the digest of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size, self.digest = file, 0, hashlib.sha256()

    def write(self, content: bytes) -> int:
        """Writes to the file."""
        self.digest.update(content)
        self.size += len(content)
        return self.file.write(content)

    def tell(self) -> int:
        """How much was written."""
        return self.size


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Makes the folder, or takes away what an earlier try has left there; anything else is somebody's.

    One process at a time: the tars of another, under the same names, would not be those of our index.
    """
    shown = show_name(out)
    if out.exists() and not out.is_dir():
        raise DataError(f"{shown} is not a folder.")
    _check_ours(out)
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DataError(f"another process is packing into {shown}; wait for it, or choose another folder.") from None
    try:
        _check_ours(out)  # which may have been finished meanwhile
        (out / _STARTED).touch()
        for pattern in ("*-*.tar", ".*-*.tar.*.partial", f".{INDEX_NAME}.*.partial"):
            for path in out.glob(pattern):
                path.unlink()
        yield
    finally:
        if not (out / _STARTED).exists():
            (out / _LOCK).unlink(missing_ok=True)  # still ours: whoever waits for it finds the index
        lock.release()


def _check_ours(out: Path) -> None:
    if (out / INDEX_NAME).exists():
        raise DataError(f"{show_name(out)} has a packed data set already; choose another folder.")
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    if _STARTED not in names and names - {_LOCK}:
        raise DataError(f"{show_name(out)} is not empty; choose another folder.")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Adds a file with no owner or time, so that the same photos give the same bytes; where its content begins."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    padded = -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return tar.offset - padded


def _suffix(name: str) -> str:
    suffix = os.path.splitext(name)[1].lower().lstrip(".")
    return {"jpeg": "jpg"}.get(suffix, suffix)
