"""Photos in tar files: fewer and larger ones, for data that are too many for a file system, or on a server.

The shards are WebDataset's: of every photo `000000012.jpg` and `000000012.cls`, which holds the number of its class;
any reader of that format can stream them. Beside them lies `index.safetensors`, which says where in which shard each
photo begins. By it photos are read in any order, by one short read each, so that training from shards visits the same
photos in the same order as from the folder that was packed, and comes to bitwise the same weights.
"""

import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from reslab.data.dataset import Role
from reslab.data.photos import Paths, PhotoData, PhotoSplit
from reslab.data.preprocessing import Preprocessing
from reslab.errors import DataError
from reslab.files.atomic import atomic_path, write_bytes
from reslab.files.hashing import file_digest

__all__ = ["INDEX_NAME", "PackReport", "is_url", "load_shards", "pack_shards"]

INDEX_NAME = "index.safetensors"
_FORMAT = 1
_STARTED = ".packing"  # there while a folder is being filled
_ATTEMPTS = 4
_TIMEOUT_SECONDS = 30.0
_MOST_CONNECTIONS = 16  # of a process, whose threads read at once
_LARGEST_INDEX = 4 << 30
_LARGEST_FILE = 1 << 32


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
        DataError: the folder has a packed data set already, or a photo cannot be read.
    """
    if (out / INDEX_NAME).exists():
        raise DataError(f"{out} has a packed data set already; choose another folder.")
    if shard_bytes < 1:
        raise DataError(f"a shard must have at least one byte, not {shard_bytes}.")
    _start(out)
    tensors: dict[str, NDArray[Any]] = {}
    shards: list[str] = []
    total = 0
    for role, split in data.splits.items():
        order = np.random.default_rng(0).permutation(len(split))
        shard, starts, sizes = (np.zeros(len(split), np.int64) for _ in range(3))
        done = first = 0
        while done < len(order):
            name = f"{role}-{len(shards) - first:06d}.tar" if done else f"{role}-000000.tar"
            first = first if done else len(shards)
            with atomic_path(out / name) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
                while done < len(order) and (tar.offset == 0 or tar.offset < shard_bytes):
                    index = int(order[done])
                    content = split.file(index)
                    suffix = _suffix(split.name(index))
                    starts[index] = _add(tar, f"{done:09d}.{suffix}", content)
                    _add(tar, f"{done:09d}.cls", str(split.labels[index]).encode())
                    shard[index], sizes[index] = len(shards), len(content)
                    done += 1
                    if advance:
                        advance(1)
            total += (out / name).stat().st_size
            shards.append(name)
        names = Paths.of(split.name(index) for index in range(len(split)))
        parts: dict[str, NDArray[Any]] = {"text": names.text, "ends": names.ends, "labels": split.labels}
        parts |= {"shard": shard, "start": starts, "size": sizes}
        tensors.update({f"{role}.{key}": value for key, value in parts.items()})
    about = {
        "format": _FORMAT,
        "name": data.name,
        "note": data.note,
        "classes": data.classes,
        "roles": list(data.splits),
        "shards": {name: file_digest(out / name) for name in shards},
    }
    write_bytes(out / INDEX_NAME, save(tensors, {"reslab": json.dumps(about)}))
    (out / _STARTED).unlink()
    num_images = {role: len(split) for role, split in data.splits.items()}
    return PackReport(shards=tuple(shards), num_images=num_images, num_bytes=total)


def load_shards(
    place: str | Path, preprocessing: Preprocessing, *, role: Role | None = None, verify: bool = False
) -> PhotoData:
    """Photos that `pack_shards` wrote; only the index is read.

    Args:
        place: the folder, or its address on a server that understands ranges (nearly all do).
        preprocessing: how the images are seen when a network is tested.
        role: leave out the images of all other roles.
        verify: of a folder, compare the shards' checksums, which reads them whole.

    Raises:
        DataError: no index there, a damaged one, or a shard that is missing or another one.
    """
    content = _read_index(place)
    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["reslab"])
        _check_about(about)
        if about["format"] != _FORMAT:
            raise DataError(f"the index of {place} is of format {about['format']}; this version reads {_FORMAT}.")
        roles: list[Role] = [role] if role and role in about["roles"] else about["roles"]
        shards = tuple(about["shards"])
        splits: dict[Role, PhotoSplit] = {}
        for name in roles:
            parts = {key: tensors[f"{name}.{key}"] for key in ("text", "ends", "labels", "shard", "start", "size")}
            _check_parts(parts, len(shards), len(about["classes"]))
            files = ShardFiles(
                str(place), shards, Paths(parts["text"], parts["ends"]), parts["shard"], parts["start"], parts["size"]
            )
            splits[name] = PhotoSplit(files, np.arange(len(files)), parts["labels"], preprocessing)
        data = PhotoData(about["name"], tuple(about["classes"]), splits, about["note"])
    except DataError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"the index of {place} is damaged: {str(error).rstrip('.')}.") from None
    if not is_url(place):
        _check_shards(Path(place), about["shards"], verify)
    return data


def is_url(place: str | Path) -> bool:
    """Whether data lie on a server."""
    return str(place).startswith(("http://", "https://"))


@dataclass(frozen=True, eq=False)
class ShardFiles:
    """Photos in tar files, as `Files` in `reslab.data.photos`.

    Args:
        place: folder or address of the shards.
        shards: their names.
        paths: names of the photos, as in the folder that was packed.
        shard: (N,) int64, in which shard each photo is.
        start: (N,) int64, where its content begins.
        sizes: (N,) int64, bytes of its content.
    """

    place: str
    shards: tuple[str, ...]
    paths: Paths
    shard: NDArray[np.int64]
    start: NDArray[np.int64]
    sizes: NDArray[np.int64]
    _pools: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.start)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pools": {}}  # connections do not go to another process

    def name(self, number: int) -> str:
        """As in the folder that was packed."""
        return self.paths[number]

    def size(self, number: int) -> int:
        """Bytes of a photo."""
        return int(self.sizes[number])

    def show(self, number: int) -> str:
        """Shard and name."""
        return f"{self.paths[number]} in {self._where(number)}"

    def read(self, number: int) -> bytes:
        """A photo's content.

        Raises:
            DataError: the shard is missing or cut short, or the server does not answer.
        """
        start, size = int(self.start[number]), int(self.sizes[number])
        content = self._fetch(number, start, size) if is_url(self.place) else self._pread(number, start, size)
        if len(content) != size:
            raise DataError(f"{self._where(number)} is cut short: it lacks {self.paths[number]}.")
        return content

    def _where(self, number: int) -> str:
        shard = self.shards[int(self.shard[number])]
        return _beside(self.place, shard) if is_url(self.place) else os.path.join(self.place, shard)

    def _pread(self, number: int, start: int, size: int) -> bytes:
        try:
            descriptor = os.open(self._where(number), os.O_RDONLY)
            try:
                return os.pread(descriptor, size, start)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise DataError(f"cannot read {self._where(number)}: {error.strerror}.") from None

    def _fetch(self, number: int, start: int, size: int) -> bytes:
        pool = self._pools.get(os.getpid())
        if pool is None:  # a connection must not be shared with the process that this one was forked from
            pool = self._pools[os.getpid()] = _connections()
        return _get(pool, self._where(number), {"Range": f"bytes={start}-{start + size - 1}"}, 206, size)


def _start(out: Path) -> None:
    """Makes the folder, or takes away what an earlier try has left there; anything else is somebody's."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is not a folder.")
    if out.exists() and any(out.iterdir()) and not (out / _STARTED).exists():
        raise DataError(f"{out} is not empty; choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    (out / _STARTED).touch()
    for path in out.glob("*-*.tar"):
        path.unlink()


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


def _read_index(place: str | Path) -> bytes:
    if is_url(place):
        return _get(_connections(), _beside(str(place), INDEX_NAME), {}, 200, _LARGEST_INDEX)
    try:
        return (Path(place) / INDEX_NAME).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the index of {place}: {error.strerror}.") from None


def _beside(address: str, name: str) -> str:
    return f"{address.rstrip('/')}/{quote(name)}"


def _check_about(about: dict[str, Any]) -> None:
    """Raises ValueError unless the index's words are of the kinds that `pack_shards` writes."""
    texts = [about["name"], about["note"], *about["classes"], *about["shards"], *about["shards"].values()]
    if not all(isinstance(text, str) for text in texts) or not isinstance(about["classes"], list):
        raise ValueError("a name is no text")
    "".join(texts).encode()  # raises on half characters
    if not set(about["roles"]) <= set(get_args(Role)) or not about["roles"]:
        raise ValueError(f"its roles are {about['roles']}")
    if any(os.path.basename(name) != name or name in ("", ".", "..") for name in about["shards"]):
        raise ValueError("a shard is not beside the index")


def _check_parts(parts: dict[str, NDArray[Any]], num_shards: int, num_classes: int) -> None:
    """Raises ValueError unless a role's arrays can be those of photos in so many shards and classes."""
    columns = [parts[key] for key in ("ends", "labels", "shard", "start", "size")]
    if any(column.ndim != 1 or column.dtype != np.int64 or len(column) != len(columns[0]) for column in columns):
        raise ValueError("its columns do not belong together")
    if not len(columns[0]):
        raise ValueError("a role has no photos")
    for key, most in (("labels", num_classes), ("shard", num_shards), ("start", 1 << 48), ("size", _LARGEST_FILE)):
        if parts[key].min() < 0 or parts[key].max() >= most:
            raise ValueError(f"{key} are not within 0 and {most - 1:,}")
    text, ends = parts["text"], parts["ends"]
    if text.dtype != np.uint8 or ends[0] < 0 or (np.diff(ends) < 0).any() or ends[-1] != text.size or text.ndim != 1:
        raise ValueError("its names do not end where they should")


def _check_shards(folder: Path, shards: dict[str, str], verify: bool) -> None:
    for name, digest in shards.items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{folder} lacks the shard {name!r} that its index names.")
        if verify and file_digest(path) != digest:
            raise DataError(f"{path} is not the shard that the index was written for; pack the data anew.")


def _connections() -> Any:
    try:
        import urllib3
    except ImportError:
        raise DataError('shards on a server need urllib3; `pip install "reslab[scale]"` installs it.') from None
    # Answers that may be better next time are asked for again, after 0, 0.4 and 0.8 seconds.
    retries = urllib3.Retry(_ATTEMPTS - 1, backoff_factor=0.2, status_forcelist=(429, 500, 502, 503, 504))
    return urllib3.PoolManager(
        retries=retries, maxsize=_MOST_CONNECTIONS, timeout=_TIMEOUT_SECONDS, headers={"User-Agent": "reslab"}
    )


def _get(pool: Any, address: str, headers: dict[str, str], status: int, most: int) -> bytes:
    import urllib3

    try:
        response = pool.request("GET", address, headers=headers, preload_content=False)
        try:
            if response.status != status:
                reason = "it does not understand ranges" if response.status == 200 else f"it answers {response.status}"
                raise DataError(f"cannot read {address} from the server: {reason}.")
            content: bytes = response.read(most + 1)
            response.drain_conn()
            return content
        finally:
            response.release_conn()
    except (urllib3.exceptions.HTTPError, ValueError) as error:  # ValueError: an address that is none
        reason = str(getattr(error, "reason", None) or error).rstrip(".")
        raise DataError(f"cannot read {address}: {reason}.") from None
