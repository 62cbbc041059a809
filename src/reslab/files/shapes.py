"""What kinds of values a record has where, so that one of another kind is a sentence and not an answer.

A shape is a type, a tuple of types of which one will do, a list with the shape of its items, or a table of shapes by
name; a name that ends in a question mark may be missing. `float` takes whole numbers too, and `int` takes no truths.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reslab.errors import ReslabError

__all__ = ["Shape", "check_shape"]

Shape = Any

_WORDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
    type(None): "null",
}


def check_shape(path: Path | str, record: Any, shape: Shape, error: type[ReslabError], *, at: str = "") -> None:
    """Holds a record to its shape.

    Args:
        path: of the file, for messages.
        record: as JSON has it.
        shape: that it must have.
        error: what to raise.
        at: name of the entry that is looked at, by tables and places joined by dots; for messages.

    Raises:
        error: an entry is missing, or has another kind of value.
    """
    if isinstance(shape, Mapping):
        _check_kind(path, record, (dict,), error, at)
        for name, inner in shape.items():
            key = name.removesuffix("?")
            if key in record:
                check_shape(path, record[key], inner, error, at=f"{at}.{key}".lstrip("."))
            elif key == name:
                raise error(f"{path} is damaged: it lacks {f'{at}.{key}'.lstrip('.')}.")
    elif isinstance(shape, list):
        _check_kind(path, record, (list,), error, at)
        for place, item in enumerate(record):
            check_shape(path, item, shape[0], error, at=f"{at}.{place}")
    elif isinstance(shape, tuple) and isinstance(record, dict | list):
        inner = next((part for part in shape if isinstance(part, Mapping if isinstance(record, dict) else list)), None)
        if inner is None:
            _check_kind(path, record, tuple(shape), error, at)
        else:
            check_shape(path, record, inner, error, at=at)
    else:
        _check_kind(path, record, shape if isinstance(shape, tuple) else (shape,), error, at)


def _check_kind(path: Path | str, value: Any, kinds: tuple[Any, ...], error: type[ReslabError], at: str) -> None:
    types = [type(kind) if isinstance(kind, Mapping | list) else kind or type(None) for kind in kinds]
    fits = any(type(value) is kind or (kind is float and type(value) is int) for kind in types)
    if not fits:
        wanted = " or ".join(_WORDS[kind] for kind in types)
        found = _WORDS.get(type(value), type(value).__name__)
        raise error(f"{path} is damaged: {at or 'what it holds'} must be {wanted}, and is {found}.")
