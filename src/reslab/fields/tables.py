"""Tables of fields: instances of dataclasses from plain values and back, held to what their fields take."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, is_dataclass
from pathlib import Path
from typing import Any, NoReturn

from reslab.errors import ReslabError, suggestion
from reslab.fields.knobs import KIND, Knob, forms_of, knobs
from reslab.fields.values import show

__all__ = ["build", "check", "to_plain"]


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
        if forms_of(item.type):
            if not isinstance(value, forms_of(item.type)):
                raise error(f"{prefix}{item.name} must be {_listed(forms_of(item.type))}, not {value!r}.")
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
    if isinstance(values, str) and len(forms_of(form)) > 1:
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
        if forms_of(item.type):
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


def _form_of(form: Any, values: Mapping[str, Any], error: type[ReslabError], base: Any, prefix: str) -> type:
    forms = forms_of(form)
    if len(forms) == 1:
        return forms[0]
    by_name = {str(getattr(member, KIND)): member for member in forms}
    if KIND not in values:
        if base is None:
            raise error(f"{prefix}{KIND} must say which it is: {_listed(forms)}.")
        return type(base)
    wanted = values[KIND]
    if not isinstance(wanted, str) or wanted not in by_name:
        raise error(f"{prefix}{KIND} must be {_listed(forms)}, not {show(wanted)}{suggestion(str(wanted), by_name)}")
    return by_name[wanted]


def _refuse_field(form: Any, owner: type, key: str, error: type[ReslabError], prefix: str, where: str) -> NoReturn:
    """Says whose field it is, or which one was meant."""
    others = [member for member in forms_of(form) if any(item.name == key for item in knobs(member))]
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
