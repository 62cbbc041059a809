"""Fields that describe themselves: of one line each, flags, files, spellings, checks and documentation are made.

A frozen dataclass declares a field as `momentum: float = knob(0.9, "Of the gradients.", least=0, below=1)`. Its type
and its limits say what it takes; `Knob.parse` reads it from a flag or a spelling, `Knob.admit` takes it from a file or
from Python, and both refuse anything else in words. A field whose type is a dataclass is a table of fields, and one
whose type is a union of dataclasses is a table that names which of them it is: `kind = "cosine"`.

Importing this module imports no torch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Protocol, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from reslab.errors import ReslabError, suggestion

__all__ = ["KIND", "Knob", "Leaf", "build", "check", "knob", "knobs", "leaves", "show", "to_plain"]

Made = TypeVar("Made")
KIND = "kind"
"""Key by which a table says which of several forms it has."""
_FLAGS = {"true": True, "false": False, "yes": True, "no": False}


class Textual(Protocol):
    """A type of value with a text of its own, such as a duration."""

    def __str__(self) -> str:
        """What `parse` reads back."""

    @classmethod
    def parse(cls, text: str) -> Any:
        """Reads it; raises ValueError with a sentence where it is none."""


def knob(
    default: Any = MISSING,
    help: str = "",  # of keyword-only arguments there are many, each a property of the field
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    sizes: Sequence[int] = (),
    choices: Sequence[str] = (),
    **extra: Any,
) -> Any:
    """A field of a dataclass, with all that is to be known of it.

    Args:
        default: its value where none is given.
        help: what it is, as sentences.
        least: smallest number that it takes; of a tuple, of each.
        most: largest.
        above: number that it must exceed.
        below: number that it must stay under.
        sizes: how many items a tuple may have; any number by default.
        choices: the texts that it takes, where its type does not list them.
        **extra: what single readers of fields want to know: `metavar`, `positional`, `advanced` (the command line).
    """
    metadata: dict[str, Any] = {
        "help": help,
        "least": least,
        "most": most,
        "above": above,
        "below": below,
        "sizes": tuple(sizes),
    }
    if choices:
        metadata["choices"] = tuple(choices)
    if default.__class__ in (list, dict) or (is_dataclass(default) and not isinstance(default, type)):
        return field(default_factory=lambda: default, metadata={**metadata, **extra})
    return field(default=default, metadata={**metadata, **extra})


@dataclass(frozen=True)
class Knob:
    """A field of a dataclass.

    Args:
        name: of the field.
        type: of its values; None is left out of it.
        default: `dataclasses.MISSING` where it has none.
        help: what it is.
        optional: whether it may be None.
        extra: limits, and what single readers want to know.
    """

    name: str
    type: Any
    default: Any
    help: str
    optional: bool
    extra: Mapping[str, Any]

    @property
    def forms(self) -> tuple[type, ...]:
        """The dataclasses that it may be; none for a plain value."""
        return _forms(self.type)

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts that it takes, where they can be listed."""
        if self.type is bool:
            return ("true", "false")
        if "choices" in self.extra:
            return tuple(self.extra["choices"])
        return tuple(map(str, get_args(self.type))) if get_origin(self.type) is Literal else ()

    @property
    def takes(self) -> str:
        """What it takes, in words: `a whole number from 1 to 64`."""
        return _in_words(self.type, self.extra)

    def parse(self, text: str) -> Any:
        """The value that a text stands for.

        Raises:
            ValueError: it stands for none; the message is what the field takes.
        """
        return self.admit(_parsed(self.type, text, self.takes))

    def admit(self, value: Any) -> Any:
        """A plain value, as JSON and TOML have it, as the field's: lists as tuples, whole numbers as numbers.

        Raises:
            ValueError: it is not what the field takes, which is the message.
        """
        if value is None and self.optional:
            return None
        return _admitted(self.type, value, self.extra, self.takes)


@dataclass(frozen=True)
class Leaf:
    """A field within tables.

    Args:
        path: names of the tables and of the field, joined by dots.
        knob: the field.
        conditions: of which forms of which tables it is a field, as pairs of a path that ends in `kind` and of their
            names, the outermost first; none where all forms have it.
    """

    path: str
    knob: Knob
    conditions: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of which forms of its own table it is a field; none where it is one of all."""
        own = f"{self.path.rpartition('.')[0]}.{KIND}"
        return dict(self.conditions).get(own, ())


@cache
def knobs(owner: Any) -> tuple[Knob, ...]:
    """The fields of a dataclass, in their order."""
    hints = get_type_hints(owner)
    found = []
    for item in fields(owner):
        kind, optional = _without_none(hints[item.name])
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        found.append(Knob(item.name, kind, default, item.metadata.get("help", ""), optional, item.metadata))
    return tuple(found)


def check(instance: Any, error: type[ReslabError], prefix: str = "") -> None:
    """Holds every field of a dataclass's instance to its type and limits.

    Args:
        instance: that was just made.
        error: what to raise.
        prefix: of the fields' names in messages.

    Raises:
        error: a field has another value than it takes.
    """
    for item in knobs(instance.__class__):
        value = getattr(instance, item.name)
        if _forms(item.type):
            if not isinstance(value, _forms(item.type)):
                raise error(f"{prefix}{item.name} must be {_listed(_forms(item.type))}, not {value!r}.")
            continue
        if _refused(item, value):
            raise error(f"{prefix}{item.name} must be {item.takes}, not {show(value)}.")


def build(
    form: Any, values: Any, error: type[ReslabError], *, base: Any = None, name: str = "", where: str = "there"
) -> Any:
    """A dataclass's instance from plain values, nested ones too.

    Args:
        form: the dataclass, or a union of dataclasses of which `kind` names one.
        values: by field; those of another form than the base's keep what both forms have. Where there are several
            forms, a text is the `kind` alone.
        error: what to raise.
        base: instance that has the fields that are not given; their defaults otherwise.
        name: of the table, for messages.
        where: what has no such field, for messages: "a recipe".

    Raises:
        error: an unknown field or form, or a value that a field does not take.
    """
    if isinstance(values, str) and len(_forms(form)) > 1:
        values = {KIND: values}
    if not isinstance(values, Mapping):
        raise error(f"{name or where} must be a table of fields, not {show(values)}.")
    prefix = f"{name}." if name else ""
    owner = _form_of(form, values, error, base, prefix)
    known = {item.name: item for item in knobs(owner)}
    made: dict[str, Any] = {}
    if base is not None:
        made = {item: getattr(base, item) for item in known if hasattr(base, item)}
    for key, value in values.items():
        if key == KIND and key not in known:
            continue
        if key not in known:
            _refuse_field(form, owner, str(key), error, prefix, where)
        item = known[key]
        if _forms(item.type):
            tables = made.get(key, None if isinstance(value, Mapping) and KIND in value else _default(item))
            made[key] = build(item.type, value, error, base=tables, name=f"{prefix}{key}", where=where)
            continue
        try:
            made[key] = item.admit(value)
        except ValueError as problem:
            raise error(f"{prefix}{key} must be {problem}, not {show(value)}.") from None
    try:
        return owner(**made)
    except TypeError:
        missing = [item.name for item in knobs(owner) if item.name not in made and item.default is MISSING]
        raise error(f"{where} lacks {prefix}{missing[0] if missing else ''}.") from None


def to_plain(instance: Any) -> dict[str, Any]:
    """A dataclass's instance as JSON and TOML have it; `build` reads it back."""
    plain: dict[str, Any] = {}
    if kind := getattr(type(instance), KIND, ""):
        plain[KIND] = kind
    for item in knobs(instance.__class__):
        plain[item.name] = _plain(getattr(instance, item.name))
    return plain


def leaves(owner: type, prefix: str = "") -> Iterator[Leaf]:
    """All fields of a dataclass and of its tables, of every form that a table can have; and each table's `kind`."""
    for item in knobs(owner):
        path = f"{prefix}{item.name}"
        forms = _forms(item.type)
        if not forms:
            yield Leaf(path, item)
            continue
        if len(forms) == 1:
            yield from leaves(forms[0], f"{path}.")
            continue
        names = tuple(str(getattr(form, KIND)) for form in forms)
        choice = Literal[names]  # type: ignore[valid-type]
        yield Leaf(f"{path}.{KIND}", Knob(KIND, choice, MISSING, item.help, False, {}))
        seen: dict[str, tuple[Leaf, list[str]]] = {}
        for form in forms:
            for leaf in leaves(form, f"{path}."):
                seen.setdefault(leaf.path, (leaf, []))[1].append(str(getattr(form, KIND)))
        for below, (leaf, kinds) in seen.items():
            outer = ((f"{path}.{KIND}", tuple(kinds)),) if len(kinds) < len(forms) else ()
            yield Leaf(below, leaf.knob, outer + leaf.conditions)


def show(value: Any, joint: str | None = None) -> str:
    """A value as `Knob.parse` reads it; several are joined by dashes if whole numbers, and by commas otherwise."""
    if isinstance(value, tuple | list):
        joint = joint or ("-" if all(isinstance(item, int) for item in value) else ",")
        return joint.join(show(item, joint) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and value == float(f"{value:g}") else str(value)


# Types


def _without_none(kind: Any) -> tuple[Any, bool]:
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    if NoneType not in members:
        return kind, False
    (rest,) = (member for member in members if member is not NoneType)
    return rest, True


def _forms(kind: Any) -> tuple[type, ...]:
    """The dataclasses that a table may be; none for a plain value."""
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    tables = all(
        isinstance(member, type) and is_dataclass(member) and not hasattr(member, "parse") for member in members
    )
    return members if tables else ()


def _form_of(form: Any, values: Mapping[str, Any], error: type[ReslabError], base: Any, prefix: str) -> type:
    forms = _forms(form)
    if len(forms) == 1:
        return forms[0]
    by_name = {str(getattr(member, KIND)): member for member in forms}
    if KIND not in values:
        if base is None:
            raise error(f"{prefix}{KIND} must say which it is: {_listed(forms)}.")
        return type(base)
    wanted = values[KIND]
    if wanted not in by_name:
        raise error(f"{prefix}{KIND} must be {_listed(forms)}, not {show(wanted)}{suggestion(str(wanted), by_name)}")
    return by_name[wanted]


def _refuse_field(form: Any, owner: type, key: str, error: type[ReslabError], prefix: str, where: str) -> NoReturn:
    """Says whose field it is, or which one was meant."""
    others = [member for member in _forms(form) if any(item.name == key for item in knobs(member))]
    if others:
        ours = getattr(owner, KIND)
        raise error(f"{prefix}{key} is for {prefix}{KIND} = {_listed(others)}, and here it is {ours}: leave it out.")
    known = [item.name for item in knobs(owner)]
    there_are = f"; there are {', '.join(known)}."
    raise error(f"{where} has no field {prefix}{key}{suggestion(key, known, there_are)}")


def _listed(forms: Sequence[type]) -> str:
    *others, last = (str(getattr(form, KIND, form.__name__)) for form in forms)
    return f"{', '.join(others)} or {last}" if others else last


def _default(item: Knob) -> Any:
    return None if item.default is MISSING else item.default


# Values


def _in_words(kind: Any, limits: Mapping[str, Any]) -> str:
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


def _parsed(kind: Any, text: str, takes: str) -> Any:
    """A text as a plain value; limits are another function's."""
    origin = get_origin(kind)
    if origin is tuple:
        item = get_args(kind)[0]
        joint = "," if "," in text or item not in (int, bool) else "-"
        return tuple(_parsed(item, part.strip(), takes) for part in text.split(joint)) if text.strip() else ()
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


def _admitted(kind: Any, value: Any, limits: Mapping[str, Any], takes: str) -> Any:
    origin = get_origin(kind)
    if origin is tuple:
        if not isinstance(value, tuple | list):
            raise ValueError(takes)
        sizes = limits.get("sizes") or ((len(get_args(kind)),) if get_args(kind)[-1] is not ... else ())
        if sizes and len(value) not in sizes:
            raise ValueError(takes)
        return tuple(_admitted(get_args(kind)[0], item, limits, takes) for item in value)
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


def _refused(item: Knob, value: Any) -> bool:
    """Whether a value in an instance is not exactly what the field holds."""
    try:
        return bool(item.admit(value) != value) or isinstance(value, list)
    except ValueError:
        return True


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if hasattr(value, "parse"):
        return str(value)
    if isinstance(value, Path):
        return str(value)
    return to_plain(value) if is_dataclass(value) and not isinstance(value, type) else value
