"""What a pickle of torch's asks for, found out before torch reads it: nothing is made or called here.

torch's own reader makes only tensors and plain types, and yet a file of a kilobyte can keep it busy for ever, or ask
for a terabyte. A pickle is therefore first run through with stand-ins for everything that is not plain, within limits.
"""

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # protocol 2 has Python 2's names
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

from reslab.errors import ReslabError

__all__ = ["DamagedFileError", "ForeignFileError", "Survey", "survey"]

MOST_PICKLE_BYTES = 32 << 20
"""Of a pickle without the tensors' values. A tensor takes about 150 bytes there: this is room for 200,000."""
MOST_TUPLE_DEPTH = 100
"""Of tuples within tuples: Python hashes them by recursion in C, which deep ones overflow. Real ones have under 10."""
MOST_TUPLE_ITEMS = 1_000_000
"""Of a tuple, those of tuples within it counted as often as they occur: sixty lines of pickle can say 2^60."""
MOST_HASHED_ITEMS = 10_000_000
"""Of all tuples by which something is looked up, altogether; some seconds of work."""
MOST_KEY_BITS = 64
"""Of a whole number by which something is looked up: larger ones can be chosen so that all collide."""


class DamagedFileError(ReslabError):
    """A file that cannot be read as what it should be; the message says why, without the file's name."""


class ForeignFileError(DamagedFileError):
    """A file that is whole, and is something else than what is read here; the message says what, and what to do."""


@dataclass
class Survey:
    """What a pickle asks for.

    Args:
        names: of classes and functions, with their modules, in the order in which they occur.
        top: name of the class of the pickle's value; empty where it is a plain one.
        protocol: of the pickle.
        storages: bytes of each storage of tensors, by its key.
    """

    names: dict[str, None] = field(default_factory=dict)
    top: str = ""
    protocol: int = 0
    storages: dict[str, int] = field(default_factory=dict)


def survey(stream: BinaryIO) -> Survey:
    """Runs through the pickle that begins at a stream's place, and leaves the stream after it.

    Raises:
        DamagedFileError: it is no pickle, or it exceeds a limit.
    """
    surveyor = _Surveyor(_Limited(stream))
    try:
        value = surveyor.load()
    except DamagedFileError:
        raise
    except RecursionError:
        raise DamagedFileError("it is nested too deeply") from None
    except Exception:  # broken bytes lead to any exception
        raise DamagedFileError("torch cannot make sense of its bytes: its pickle is broken or cut short") from None
    found: Survey = surveyor.found
    found.protocol = getattr(surveyor, "proto", 0)
    found.top = value.name if isinstance(value, _Made) else ""
    return found


class _Limited:
    """A stream that ends after so many bytes with a sentence, and reserves no memory for those it has not."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.left = stream, MOST_PICKLE_BYTES

    def read(self, num_bytes: int) -> bytes:
        self._spend(num_bytes)
        return self.stream.read(num_bytes)

    def readline(self) -> bytes:
        line = self.stream.readline(self.left + 1)
        self._spend(len(line))
        return line

    def _spend(self, num_bytes: int) -> None:
        self.left -= num_bytes
        if self.left < 0 or num_bytes < 0:
            raise DamagedFileError(f"its pickle has more than {MOST_PICKLE_BYTES >> 20} MiB besides the tensors")


class _Named:
    """Stands for a class or a function."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Made(_Named):
    """Stands for whatever a class or a function would have made, and takes all that is put into it."""

    def __setitem__(self, key: Any, value: Any) -> None: ...
    def append(self, item: Any) -> None: ...
    def extend(self, items: Any) -> None: ...
    def add(self, item: Any) -> None: ...


class _Tuple(tuple[Any, ...]):
    """A tuple that knows its size with all within it."""

    depth: int
    num_items: int


_PythonUnpickler: Any = pickle._Unpickler  # the one in C has no methods to override


class _Surveyor(_PythonUnpickler):  # type: ignore[misc]
    dispatch: ClassVar[dict[int, Any]] = dict(_PythonUnpickler.dispatch)

    def __init__(self, stream: Any) -> None:
        super().__init__(stream, encoding="bytes")
        self.found = Survey()
        self._hashed = 0

    def find_class(self, module: str, name: str) -> Any:
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        self.found.names[full] = None
        return _Named(full)

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) >= 5:
            _, kind, key, _, length = pid[:5]
            if not isinstance(length, int) or length < 0:
                raise DamagedFileError("a tensor's length is no number")
            width = _WIDTHS.get(getattr(kind, "name", "").rpartition(".")[2].removesuffix("Storage"), 1)
            key = key.decode("latin1") if isinstance(key, bytes) else str(key)
            self.found.storages[key] = max(width * length, self.found.storages.get(key, 0))
        return _Made("")

    def load_made(self) -> None:
        """Of REDUCE and NEWOBJ: takes arguments, and what is called with them, from the stack."""
        arguments, called = self.stack.pop(), self.stack.pop()
        name = getattr(called, "name", "")
        sized = name.endswith(("Storage", "Tensor")) or name == "builtins.bytearray"
        if sized and any(isinstance(item, int) for item in arguments):
            raise DamagedFileError(f"it asks for a {name} without saying what is in it")
        if name == "builtins.set":
            for item in arguments[0] if arguments and isinstance(arguments[0], list) else ():
                self._charge(item)
        self.append(_Made(name))

    def load_made_by_keywords(self) -> None:
        self.stack.pop()
        self.load_made()

    def load_made_from_mark(self) -> None:
        """Of OBJ and INST, of the oldest protocols."""
        raise DamagedFileError("it is pickled by a protocol that torch does not write")

    def load_build(self) -> None:
        self.stack.pop()

    def load_setitem(self) -> None:
        self._charge(self.stack[-2])
        _PythonUnpickler.load_setitem(self)

    def load_setitems(self) -> None:
        for key in self.stack[::2]:
            self._charge(key)
        _PythonUnpickler.load_setitems(self)

    def load_dict(self) -> None:
        for key in self.stack[::2]:
            self._charge(key)
        _PythonUnpickler.load_dict(self)

    def load_additems(self) -> None:
        for item in self.stack:
            self._charge(item)
        _PythonUnpickler.load_additems(self)

    def load_frozenset(self) -> None:
        raise DamagedFileError("it is pickled by a protocol that torch does not write")

    def load_bytearray8(self) -> None:
        raise DamagedFileError("it is pickled by a protocol that torch does not write")

    def load_tuple(self) -> None:
        items = self.pop_mark()
        self.append(self._tuple(items))

    def load_tuple1(self) -> None:
        self.stack[-1] = self._tuple(self.stack[-1:])

    def load_tuple2(self) -> None:
        self.stack[-2:] = [self._tuple(self.stack[-2:])]

    def load_tuple3(self) -> None:
        self.stack[-3:] = [self._tuple(self.stack[-3:])]

    def _tuple(self, items: list[Any]) -> _Tuple:
        made = _Tuple(items)
        inner = [item for item in items if type(item) is _Tuple]
        made.depth = 1 + max((item.depth for item in inner), default=0)
        made.num_items = len(items) + sum(item.num_items for item in inner)
        if made.depth > MOST_TUPLE_DEPTH or made.num_items > MOST_TUPLE_ITEMS:
            raise DamagedFileError("it holds tuples within tuples without end")
        return made

    def _charge(self, key: Any) -> None:
        """Counts what looking up a key costs."""
        if type(key) is _Tuple:
            self._hashed += key.num_items
        if self._hashed > MOST_HASHED_ITEMS or (type(key) is int and key.bit_length() > MOST_KEY_BITS):
            raise DamagedFileError("it holds tables with names that nobody gives")

    for _opcode, _method in (
        (pickle.REDUCE, load_made),
        (pickle.NEWOBJ, load_made),
        (pickle.NEWOBJ_EX, load_made_by_keywords),
        (pickle.OBJ, load_made_from_mark),
        (pickle.INST, load_made_from_mark),
        (pickle.BUILD, load_build),
        (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems),
        (pickle.DICT, load_dict),
        (pickle.ADDITEMS, load_additems),
        (pickle.FROZENSET, load_frozenset),
        (pickle.BYTEARRAY8, load_bytearray8),
        (pickle.TUPLE, load_tuple),
        (pickle.TUPLE1, load_tuple1),
        (pickle.TUPLE2, load_tuple2),
        (pickle.TUPLE3, load_tuple3),
    ):
        dispatch[_opcode[0]] = _method


# Bytes of an element, by the beginnings of the names of torch's storages.
_WIDTHS = {
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    "ComplexDouble": 16,
}
