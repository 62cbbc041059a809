"""Reading pickles that may come from anywhere: only arrays and plain types are admitted."""

import io
import pickle
from typing import Any

import numpy as np

from reslab.errors import DataError

__all__ = ["load_plain_pickle"]

# What a pickle of numpy arrays calls, by the names of every numpy since 2009; nothing else can be called.
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("_codecs", "encode"): lambda text, encoding: _encode(text, encoding),
}


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


class _PlainUnpickler(pickle.Unpickler):
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


def _encode(text: str, encoding: str) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise DataError(f"the pickle asks for the encoding {encoding!r}; only latin1 is admitted.")
    return text.encode("latin1")
