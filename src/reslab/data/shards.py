"""Photos in tar files: fewer and larger ones, for data that are too many for a file system, or on a server.

`packing` writes them.

The shards are WebDataset's: of every photo `000000012.jpg` and `000000012.cls`, which holds the number of its class;
any reader of that format can stream them. Beside them lies `index.safetensors`, which says where in which shard each
photo begins. By it photos are read in any order, by one short read each, so that training from shards visits the same
photos in the same order as from the folder that was packed, and comes to bitwise the same weights.
"""

import json
import os
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from reslab.data.dataset import Role
from reslab.data.photos import Paths, PhotoData, PhotoSplit
from reslab.data.preprocessing import Preprocessing
from reslab.errors import DataError
from reslab.files.hashing import file_digest, hash_arrays, hash_json
from reslab.files.regular import read_regular
from reslab.texts import show_name

__all__ = ["INDEX_FORMAT", "INDEX_NAME", "check_shards", "index_checksum", "is_url", "load_shards", "shard_roles"]

INDEX_NAME = "index.safetensors"
INDEX_FORMAT = 2
_FIRST_FORMAT = 1  # without checksums of the photos and of the index itself
_COLUMNS = ("ends", "labels", "shard", "start", "size")
_HEADERS = {"User-Agent": "reslab", "Accept-Encoding": "identity"}
_ATTEMPTS = 4
_TIMEOUT_SECONDS = 30.0
_MOST_CONNECTIONS = 16  # of a process, whose threads read at once
_LARGEST_INDEX = 2 << 30  # bytes; of ImageNet-21k's 14 million photos it has one
_LARGEST_FILE = 1 << 32


def load_shards(place: str | Path, preprocessing: Preprocessing, *, roles: Collection[Role] | None = None) -> PhotoData:
    """Photos that `pack_shards` wrote; only the index is read.

    Args:
        place: the folder, or its address on a server that understands ranges (nearly all do).
        preprocessing: how the images are seen when a network is tested.
        roles: that are wanted; all by default.

    Raises:
        DataError: no index there, a damaged one, or a shard that is missing or another one.
    """
    content = _read_index(place)
    try:
        about, tensors = _read_about(place, content), load(content)
        if about["format"] != _FIRST_FORMAT and about["checksum"] != index_checksum(about, tensors):
            raise ValueError("it has another checksum than it states")
        wanted: list[Role] = [role for role in about["roles"] if roles is None or role in roles]
        if not wanted:
            raise DataError(f"{place} has no {' or '.join(roles or ())} images; it has {' and '.join(about['roles'])}.")
        shards = tuple(about["shards"])
        splits: dict[Role, PhotoSplit] = {}
        for name in wanted:
            parts = {key: tensors[f"{name}.{key}"] for key in ("text", *_COLUMNS)}
            parts["crc"] = tensors[f"{name}.crc"] if about["format"] != _FIRST_FORMAT else parts["size"] * 0 - 1
            _check_parts(parts, len(shards), len(about["classes"]))
            paths, crc = Paths(parts["text"], parts["ends"]), parts["crc"]
            files = ShardFiles(str(place), shards, paths, parts["shard"], parts["start"], parts["size"], crc)
            splits[name] = PhotoSplit(files, np.arange(len(files)), parts["labels"], preprocessing)
        data = PhotoData(about["name"], tuple(about["classes"]), splits, about["note"])
    except DataError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"the index of {place} is damaged: {str(error).rstrip('.')}.") from None
    if not is_url(place):
        _check_shards(Path(place), about["shards"])
    return data


def check_shards(folder: Path) -> dict[Role, int]:
    """Compares the shards' checksums with those of the index, which reads them whole.

    Returns:
        How many images of each role there are.

    Raises:
        DataError: the index is damaged, or a shard is missing or another one.
    """
    data = load_shards(folder, Preprocessing(height=1, width=1, channels=3, resize=1))
    for name, digest in _read_about(folder, _read_index(folder))["shards"].items():
        if file_digest(folder / name) != digest:
            raise DataError(f"{folder / name} is not the shard that the index was written for; pack the data anew.")
    return {role: len(split) for role, split in data.splits.items()}


def shard_roles(place: str | Path) -> tuple[Role, ...]:
    """The roles that shards have photos for.

    Raises:
        DataError: no index there, or a damaged one.
    """
    return tuple(_read_about(place, _read_index(place))["roles"])


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
        crc: (N,) int64, CRC-32 of its content; -1 where it is not known.
    """

    place: str
    shards: tuple[str, ...]
    paths: Paths
    shard: NDArray[np.int64]
    start: NDArray[np.int64]
    sizes: NDArray[np.int64]
    crc: NDArray[np.int64]
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
        return f"{show_name(self.paths[number])} in {show_name(self._where(number))}"

    def read(self, number: int) -> bytes:
        """A photo's content.

        Raises:
            DataError: the shard is missing, cut short or damaged, or the server does not answer.
        """
        start, size = int(self.start[number]), int(self.sizes[number])
        content = self._fetch(number, start, size) if is_url(self.place) else self._pread(number, start, size)
        if len(content) != size:
            raise DataError(f"{self._where(number)} is cut short: it lacks {show_name(self.paths[number])}.")
        if self.crc[number] not in (-1, zlib.crc32(content)):
            named = show_name(self.paths[number])
            raise DataError(f"{self._where(number)} is damaged: {named} has another checksum than the index states.")
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


def _read_index(place: str | Path) -> bytes:
    if is_url(place):
        return _get(_connections(), _beside(str(place), INDEX_NAME), {}, 200, _LARGEST_INDEX)
    try:
        return read_regular(Path(place) / INDEX_NAME, _LARGEST_INDEX)
    except DataError as error:
        raise DataError(f"cannot read the index of {show_name(place)}: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read the index of {place}: {error.strerror}.") from None


def _read_about(place: str | Path, content: bytes) -> dict[str, Any]:
    """What an index says in words."""
    try:
        length = int.from_bytes(content[:8], "little")
        about: dict[str, Any] = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["reslab"])
        _check_about(about)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"the index of {place} is damaged: {str(error).rstrip('.')}.") from None
    if about["format"] not in (_FIRST_FORMAT, INDEX_FORMAT):
        raise DataError(f"the index of {place} is of format {about['format']}; this version reads {INDEX_FORMAT}.")
    return about


def index_checksum(about: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Hex sha256 of what an index says: of its words, but for this one, and of its columns."""
    words = {key: value for key, value in about.items() if key != "checksum"}
    return hash_json({"words": words, "columns": {name: hash_arrays(tensors[name]) for name in sorted(tensors)}})


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
    columns = [parts[key] for key in (*_COLUMNS, "crc")]
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


def _check_shards(folder: Path, shards: dict[str, str]) -> None:
    for name in shards:
        if not (folder / name).is_file():
            raise DataError(f"{folder} lacks the shard {name!r} that its index names.")


def _connections() -> Any:
    try:
        import urllib3
    except ImportError:
        raise DataError('shards on a server need urllib3; `pip install "reslab[scale]"` installs it.') from None
    # Answers that may be better next time are asked for again, after 0, 0.4 and 0.8 seconds.
    retries = urllib3.Retry(_ATTEMPTS - 1, backoff_factor=0.2, status_forcelist=(429, 500, 502, 503, 504))
    return urllib3.PoolManager(retries=retries, maxsize=_MOST_CONNECTIONS, timeout=_TIMEOUT_SECONDS)


def _get(pool: Any, address: str, headers: dict[str, str], status: int, most: int) -> bytes:
    import urllib3

    try:
        response = pool.request("GET", address, headers={**_HEADERS, **headers}, preload_content=False)
        try:
            if response.status != status:
                reason = "it does not understand ranges" if response.status == 200 else f"it answers {response.status}"
                raise DataError(f"cannot read {address} from the server: {reason}.")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise DataError(f"cannot read {address}: the server sends it compressed; it must be served as it is.")
            stated = response.headers.get("Content-Length", "")
            if stated.isdecimal() and int(stated) > most:
                raise DataError(f"cannot read {address}: it has {int(stated):,} bytes, and {most:,} are the most.")
            content: bytes = response.read(most + 1, decode_content=False)
            if len(content) > most:
                raise DataError(f"cannot read {address}: it has more than {most:,} bytes.")
            response.drain_conn()
            response.release_conn()
            return content
        except BaseException:
            response.close()  # what it has still to say is nobody's answer
            raise
    except DataError:
        raise
    except (urllib3.exceptions.HTTPError, ValueError) as error:  # ValueError: an address that is none
        reason = str(getattr(error, "reason", None) or error).rstrip(".")
        raise DataError(f"cannot read {address}: {reason}.") from None
