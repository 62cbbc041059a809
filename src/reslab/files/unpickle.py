"""Reading pickles that may come from anywhere: only arrays and plain types are admitted."""

import io
import pickle
from typing import Any, ClassVar

import numpy as np

from reslab.errors import DataError

__all__ = ["load_plain_pickle"]


def load_plain_pickle(content: bytes, origin: str) -> Any:
    """Unpickles dicts, lists, strings, numbers and numpy arrays; byte strings stay bytes.

    Args:
        content: the pickle.
        origin: where it comes from, for the message.

    Raises:
        DataError: the pickle is damaged, or asks for anything else.
    """
    try:
        return _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{origin}: {error}") from None
    except Exception as error:  # a damaged pickle raises whatever its broken bytes lead to
        raise DataError(f"{origin} is damaged: {error}.") from None


class _PlainType:
    """Stands for a numpy type while a pickle is read; numpy's own would let the pickle set its inner flags."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype


# pickle's Python class, not the quicker one in C: that one reserves as many gigabytes as a broken byte asks for.
_PythonUnpickler: Any = pickle._Unpickler


class _PlainUnpickler(_PythonUnpickler):  # type: ignore[misc]
    dispatch: ClassVar[dict[int, Any]] = dict(_PythonUnpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise DataError(
                f"the pickle asks for {module}.{name}, and only arrays and plain types are admitted; "
                "it is not the file that it claims to be."
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("the pickle refers to objects outside itself; only arrays and plain types are admitted.")

    def load_build(self) -> None:
        """Sets the state of what was made last: an array's, or the byte order of an array's type."""
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, _PlainType):
            made.dtype = made.dtype.newbyteorder(_text(state[1]))
        elif type(made) is np.ndarray:
            _, shape, plain_type, fortran, content = state
            made.__setstate__((1, shape, _dtype_of(plain_type), bool(fortran), content))  # type: ignore[arg-type]
        else:
            raise DataError("the pickle sets the state of something that is no array; it is not what it claims to be.")

    def load_bytearray8(self) -> None:
        length = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(length)))  # pickle's own reserves the length first, whatever it is

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def _plain_type(name: Any, *_: Any) -> _PlainType:
    dtype = np.dtype(_text(name))
    if dtype.kind not in "biufcSU":
        raise DataError(f"the pickle asks for values of type {dtype}; only numbers and strings are admitted.")
    return _PlainType(dtype)


def _dtype_of(plain_type: Any) -> np.dtype[Any]:
    if not isinstance(plain_type, _PlainType):
        raise DataError("the pickle asks for an array of other things than numbers and strings.")
    return plain_type.dtype


def _from_buffer(content: Any, plain_type: Any, shape: Any, order: Any) -> Any:
    return np.frombuffer(content, _dtype_of(plain_type)).reshape(shape, order=_text(order))


def _encode(text: str, encoding: str) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise DataError(f"the pickle asks for the encoding {encoding!r}; only latin1 is admitted.")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


def _text(value: Any) -> Any:
    return value.decode("latin1") if isinstance(value, bytes) else value


def _empty_array(*_: Any) -> np.ndarray[Any, Any]:
    return np.empty(0, np.uint8)


# What a pickle of numpy arrays calls, by the names of every numpy since 2009; nothing else can be called.
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): None,  # an argument of _reconstruct
    ("numpy", "dtype"): _plain_type,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,  # an empty byte string of Python 3
}
