"""Files of weights of any origin: told apart by their content, and opened as tables of named tensors.

A file often holds several tables: the raw weights and their moving average, or those of two networks. FILE#TABLE names
one of them, wherever a file of weights is given.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from reslab.errors import DataError, ReslabWarning, WeightsError
from reslab.files.cache import cache_folder
from reslab.files.download import Resource, fetch
from reslab.files.forms import HEAD_BYTES, foreign_form
from reslab.files.reading import reading
from reslab.files.torch_file import DamagedFileError, ForeignFileError, load_torch_file
from reslab.models.caffe import CAFFE_SUFFIX, read_caffemodel

__all__ = [
    "PREFERRED",
    "Table",
    "WeightsChoiceWarning",
    "chosen",
    "fetch_weights",
    "is_average",
    "named_as",
    "open_tables",
    "preferred",
    "split_choice",
]

MOST_HEADER_BYTES = 16 << 20
"""Of a safetensors file's header: a tensor takes about 100 bytes there, so that this is room for 160,000."""
MOST_DEPTH = 6
"""Of tables within tables, down to which weights are looked for; real files have two."""
MOST_TABLES = 10_000
"""That are looked through; an optimiser's state has one a parameter, and is not looked into."""
_CHOICE = "#"
_STATED_DIGEST = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
_SIZE_BYTES = 8  # of a safetensors file, which then has its header in JSON
_TORCHS = (b"PK\3\4", b"\x80")
PREFERRED = ("", "state_dict", "model", "net", "model_state_dict", "model_state", "network", "module", "weights")
"""Names of tables, in the order in which they are taken where there are several; no average, which nobody asked for."""
_AVERAGE = re.compile(r"(^|[._])(ema|swa|avg|averaged?)([._]|$)|_ema|ema_", re.IGNORECASE)


class WeightsChoiceWarning(ReslabWarning):
    """A file holds several sets of weights that would do, and one of them was taken."""


@dataclass(frozen=True)
class Table:
    """Named tensors of a file.

    Args:
        name: where in the file they are: names of tables joined by dots; empty for the file itself.
        tensors: by their names there.
    """

    name: str
    tensors: dict[str, Tensor]


def split_choice(source: str) -> tuple[str, str]:
    """FILE#TABLE in two: the file or its address, and the table, which is empty where none is named."""
    if _CHOICE not in source or Path(source).exists():
        return source, ""
    file, _, table = source.rpartition(_CHOICE)
    return (file, table) if file else (source, "")


def named_as(file: Path | str, table: str) -> str:
    """FILE#TABLE, as it is written to choose."""
    return f"{file}{_CHOICE}{table}"


def is_average(name: str) -> bool:
    """Whether a table's name says that it is a moving average of weights."""
    return _AVERAGE.search(name) is not None


def open_tables(path: Path) -> list[Table]:
    """The tables of named tensors in a file, in its order.

    Raises:
        WeightsError: the file is missing, damaged, of another form, or holds none.
    """
    if not path.is_file():
        if path.exists():
            raise WeightsError(f"{path} is a folder, and a file of weights is wanted.")
        raise WeightsError(f"there is no weight file {path}.")
    with reading(path, WeightsError, also=(SafetensorError,)):
        content = _content(path)
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path} holds no table of named tensors.")
    tables = list(_tables(content))
    if not tables:
        _refuse(path, content)
    return tables


def preferred(tables: list[Table], file: str) -> tuple[Table, list[Table]]:
    """The table that is meant where none is named, and the others that could be.

    Raises:
        WeightsError: the names do not tell.
    """
    most = max(len(table.tensors) for table in tables)
    likely = [table for table in tables if 2 * len(table.tensors) >= most]
    raw = [table for table in likely if not is_average(table.name)] or likely
    if len(raw) > 1:
        known = [table for name in PREFERRED for table in raw if table.name == name]
        if not known:
            names = ", ".join(named_as(file, table.name) for table in raw)
            raise WeightsError(f"{file} holds several sets of weights; write which one is meant: {names}.")
        raw = known
    return raw[0], [table for table in likely if table is not raw[0]]


def chosen(tables: list[Table], name: str, file: str) -> Table:
    """The table of a name, or the tensors of a table whose names begin with it.

    Args:
        tables: of the file.
        name: a table's whole name or its last part; or a beginning of tensors' names.
        file: for messages.

    Raises:
        WeightsError: there is none, or there are several.
    """
    found = [table for table in tables if table.name == name]
    found = found or [table for table in tables if table.name.rpartition(".")[2] == name]
    if not found:
        prefix = f"{name}."
        groups = [
            Table(
                name, {key.removeprefix(prefix): table.tensors[key] for key in table.tensors if key.startswith(prefix)}
            )
            for table in tables
        ]
        found = [table for table in groups if table.tensors]
    if len(found) != 1:
        there = ", ".join(table.name for table in tables if table.name) or "one table without a name"
        problem = f"no {name!r}" if not found else f"more than one {name!r}"
        raise WeightsError(f"{file} holds {problem}; it has {there}.")
    return found[0]


def fetch_weights(url: str, *, digest: str = "", progress: bool = False) -> Path:
    """Downloads a file of weights into the user's cache, unless it is there.

    Args:
        url: of the file. A name that ends like `-f37072fd.pth` states the beginning of the file's sha256, which is
            then checked.
        digest: beginning of its sha256, where the name does not say.
        progress: whether to show a progress bar.

    Raises:
        WeightsError: the server cannot be reached, or sends another content than expected.
    """
    if not digest and (match := _STATED_DIGEST.search(url)):
        digest = match[1]
    folder = cache_folder("weights")
    if not digest:  # then only the address tells two files of one name apart
        folder /= hashlib.sha256(url.encode()).hexdigest()[:16]
    try:
        return fetch(Resource(url, f"sha256:{digest}"), folder, progress=progress)
    except DataError as error:
        raise WeightsError(str(error)) from None


def _content(path: Path) -> Any:
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        size = stream.seek(0, 2)
    if head[_SIZE_BYTES : _SIZE_BYTES + 1] == b"{" and not head.startswith(_TORCHS[0]):
        return _safetensors(path, size)
    if (foreign := foreign_form(head)) and (path.suffix.lower() != CAFFE_SUFFIX or head.startswith(b"version")):
        raise WeightsError(f"{path} {foreign}.")
    if path.suffix.lower() == CAFFE_SUFFIX:
        return read_caffemodel(path, rgb=True)
    try:
        return load_torch_file(path)
    except ForeignFileError as error:
        raise WeightsError(f"{path} is not read: {error}.") from None
    except DamagedFileError as error:
        raise WeightsError(f"{path} is damaged, or is no file of weights: {error}.") from None


def _safetensors(path: Path, size: int) -> dict[str, Tensor]:
    with path.open("rb") as stream:
        num_bytes = int.from_bytes(stream.read(_SIZE_BYTES), "little")
        if num_bytes > size - _SIZE_BYTES:
            raise WeightsError(
                f"{path} is damaged: its header is said to have {num_bytes:,} bytes, and the file has {size:,}; it was "
                "cut short, or is no safetensors file."
            )
        if num_bytes > MOST_HEADER_BYTES:
            raise WeightsError(
                f"{path} has a header of {num_bytes:,} bytes; up to {MOST_HEADER_BYTES:,} are read, for 160,000 names."
            )
        header = stream.read(num_bytes)
    try:
        json.loads(header, object_pairs_hook=_without_doubles)
        return load_file(path)
    except _DoubleNameError as name:
        raise WeightsError(f"{path} is damaged: it holds two tensors named {name}.") from None
    except (SafetensorError, ValueError) as error:
        raise WeightsError(f"{path} is damaged, or is no safetensors file: {error}.") from None


class _DoubleNameError(Exception):
    """A name that stands twice in a table, of which the library would take the last."""


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        raise _DoubleNameError(next(name for name in names if names.count(name) > 1))
    return table


def _tables(content: Mapping[Any, Any]) -> Iterator[Table]:
    """Tables all of whose values are tensors, under texts, of which one at least is of numbers with fractions."""
    seen: set[int] = set()
    waiting: list[tuple[str, int, Mapping[Any, Any]]] = [("", 0, content)]
    while waiting and len(seen) < MOST_TABLES:
        name, depth, table = waiting.pop(0)
        if id(table) in seen or depth > MOST_DEPTH or not table:
            continue
        seen.add(id(table))
        if not all(isinstance(key, str) for key in table):
            continue  # an optimiser's state, by number
        if all(isinstance(value, Tensor) for value in table.values()):
            if any(value.is_floating_point() and value.dim() for value in table.values()):
                yield Table(name, dict(table))
            continue
        inner = ((key, value) for key, value in table.items() if isinstance(value, Mapping))
        waiting += [(f"{name}.{key}".lstrip("."), depth + 1, value) for key, value in inner]


def _refuse(path: Path, content: Mapping[Any, Any]) -> None:
    """Says what a file without a table of tensors has instead."""
    inner: Any = content
    for _ in range(MOST_DEPTH):
        key = next((key for key in PREFERRED if key in inner), None)
        if key is None or not isinstance(inner[key], Mapping) or not inner[key]:
            break
        inner = inner[key]
    if any(isinstance(value, Tensor) for value in inner.values()):
        other = next(key for key, value in inner.items() if not (isinstance(key, str) and isinstance(value, Tensor)))
        raise WeightsError(f"{path} holds other things than named tensors, e.g. {other!r}.")
    raise WeightsError(f"{path} holds no table of named tensors.")
