"""Values of fields, by their types: what a type takes in words, and how texts and plain values become it."""

from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args, get_origin

__all__ = ["Textual", "admitted", "in_words", "parsed", "show"]

_FLAGS = {"true": True, "false": False, "yes": True, "no": False}


class Textual(Protocol):
    """A type of value with a text of its own, such as a duration."""

    def __str__(self) -> str:
        """What `parse` reads back."""

    @classmethod
    def parse(cls, text: str) -> Any:
        """Reads it; raises ValueError with a sentence where it is none."""


def show(value: Any, joint: str | None = None) -> str:
    """A value as `Knob.parse` reads it; several are joined by dashes if whole numbers, and by commas otherwise."""
    if isinstance(value, tuple | list):
        joint = joint or ("-" if all(isinstance(item, int) for item in value) else ",")
        return joint.join(show(item, joint) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and value == float(f"{value:g}") else str(value)


def in_words(kind: Any, limits: Mapping[str, Any]) -> str:
    """What a field of a type takes: `a whole number from 1 to 64`."""
    origin = get_origin(kind)
    if origin is Literal or "choices" in limits:
        *others, last = map(str, limits.get("choices", get_args(kind)))
        return f"{', '.join(others)} or {last}" if others else last
    if origin is tuple:
        sizes = limits.get("sizes") or ((len(get_args(kind)),) if get_args(kind)[-1] is not ... else ())
        count = " or ".join(map(str, sizes))
        item = get_args(kind)[0]
        one = {int: "whole numbers", float: "numbers", bool: "true or false", str: "texts"}.get(item, "values")
        if hasattr(item, "TAKES"):
            return f"{f'{count} ' if count else ''}values joined by commas, each {item.TAKES}"
        if limits.get("several"):
            return f"{one}{_range(limits)}, with commas or spaces between them"
        joint = "dashes" if item in (int, bool) else "commas"
        return f"{f'{count} ' if count else ''}{one}{_range(limits)}, joined by {joint}"
    if isinstance(kind, type) and hasattr(kind, "TAKES"):
        return str(kind.TAKES)
    one = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}.get(
        kind, "a value"
    )
    return f"{one}{_range(limits)}"


def _range(limits: Mapping[str, Any]) -> str:
    least, most, above, below = (limits.get(name) for name in ("least", "most", "above", "below"))
    if least is not None and most is not None:
        return f" from {least:,} to {most:,}"
    parts = [
        f"{word} {bound:,}"
        for word, bound in (("of at least", least), ("above", above), ("up to", most), ("below", below))
        if bound is not None
    ]
    return f" {' and '.join(parts)}" if parts else ""


def parsed(kind: Any, text: str, takes: str) -> Any:
    """A text as a plain value; limits are `admitted`'s. Raises ValueError with what the field takes."""
    origin = get_origin(kind)
    if origin is tuple:
        item = get_args(kind)[0]
        joint = "," if "," in text or item not in (int, bool) else "-"
        return tuple(parsed(item, part.strip(), takes) for part in text.split(joint)) if text.strip() else ()
    if origin is Literal:
        by_text = {str(choice): choice for choice in get_args(kind)}
        return by_text.get(text, text)
    if kind in (str, Path):
        return kind(text)
    try:
        if kind is bool:
            return _FLAGS[text.lower()]
        if isinstance(kind, type) and hasattr(kind, "parse"):
            return kind.parse(text)
        return cast(Callable[[str], Any], kind)(text.replace("_", "x"))  # Python would read 1_000, and nobody writes it
    except (ValueError, KeyError, OverflowError):
        raise ValueError(takes) from None


def admitted(kind: Any, value: Any, limits: Mapping[str, Any], takes: str) -> Any:
    """A plain value as the type's, within its limits. Raises ValueError with what the field takes."""
    origin = get_origin(kind)
    if origin is tuple:
        if not isinstance(value, tuple | list):
            raise ValueError(takes)
        sizes = limits.get("sizes") or ((len(get_args(kind)),) if get_args(kind)[-1] is not ... else ())
        if sizes and len(value) not in sizes:
            raise ValueError(takes)
        return tuple(admitted(get_args(kind)[0], item, limits, takes) for item in value)
    if origin is Literal:
        if isinstance(value, list | dict) or value not in get_args(kind):
            raise ValueError(takes)
        return value
    if kind is float and type(value) is int:
        value = float(value)
    if kind is Path and isinstance(value, str):
        value = Path(value)
    if (
        isinstance(kind, type)
        and hasattr(kind, "parse")
        and isinstance(value, str | int)
        and not isinstance(value, bool)
    ):
        return kind.parse(str(value))
    fits = isinstance(value, kind) and (kind is not int or type(value) is int)
    fits = fits and value in limits.get("choices", (value,))
    if not fits or (isinstance(value, float) and not isfinite(value)) or not _within(value, limits):
        raise ValueError(takes)
    return value


def _within(value: Any, limits: Mapping[str, Any]) -> bool:
    least, most, above, below = (limits.get(name) for name in ("least", "most", "above", "below"))
    return not (
        (least is not None and value < least)
        or (most is not None and value > most)
        or (above is not None and value <= above)
        or (below is not None and value >= below)
    )
