"""Fields that know themselves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from reslab.fields.values import admitted, in_words, parsed

__all__ = ["KIND", "Knob", "Leaf", "forms_of", "knob", "knobs", "leaves"]

KIND = "kind"
"""Key by which a table says which of several forms it has."""


# Each argument is a property of the field.
def knob(
    default: Any = MISSING,
    help: str = "",
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
        return forms_of(self.type)

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
        return in_words(self.type, self.extra)

    def parse(self, text: str) -> Any:
        """The value that a text stands for.

        Raises:
            ValueError: it stands for none; the message is what the field takes.
        """
        return self.admit(parsed(self.type, text, self.takes))

    def admit(self, value: Any) -> Any:
        """A plain value, as JSON and TOML have it, as the field's: lists as tuples, whole numbers as numbers.

        Raises:
            ValueError: it is not what the field takes, which is the message.
        """
        if value is None and self.optional:
            return None
        return admitted(self.type, value, self.extra, self.takes)


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


def leaves(owner: type, prefix: str = "") -> Iterator[Leaf]:
    """All fields of a dataclass and of its tables, of every form that a table can have; and each table's `kind`."""
    for item in knobs(owner):
        path = f"{prefix}{item.name}"
        forms = forms_of(item.type)
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


def _without_none(kind: Any) -> tuple[Any, bool]:
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    if NoneType not in members:
        return kind, False
    (rest,) = (member for member in members if member is not NoneType)
    return rest, True


def forms_of(kind: Any) -> tuple[type, ...]:
    """The dataclasses that a table may be; none for a plain value."""
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    tables = all(
        isinstance(member, type) and is_dataclass(member) and not hasattr(member, "parse") for member in members
    )
    return members if tables else ()
