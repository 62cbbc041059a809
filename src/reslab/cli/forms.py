"""A command's arguments, made of the function that does its work: one place says what they are."""

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, fields, make_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from reslab.cli.command import argument
from reslab.cli.recipe_flags import recipe_flags
from reslab.fields import knob

__all__ = ["form_of"]

_ENTRY = re.compile(r"^ {8}\*{0,2}(\w+): (.*?)(?=^ {8}[\w*]+:|^ {0,4}\S|\Z)", re.MULTILINE | re.DOTALL)
_NOT_ASKED = ("tell", "progress", "options", "profiled_steps")  # what callers of functions have, and a command line not


def form_of(function: Callable[..., Any], added: type, *inherited: Callable[..., Any], **positional: str) -> type:
    """The arguments of a function: their names, types and defaults, and what its docstring says of each.

    Args:
        function: that does the work; its docstring's entries begin with nouns.
        added: dataclass of arguments that are the command line's own.
        *inherited: functions that it passes further arguments on to.
        **positional: the arguments that have no flag, with what stands for them in the help.
    """
    made: list[Any] = []
    for source in (function, *inherited):
        hints, said = get_type_hints(source), dict(_ENTRY.findall(source.__doc__ or ""))
        for name, given in inspect.signature(source).parameters.items():
            if name in _NOT_ASKED or name in [item[0] for item in made]:
                continue
            text = " ".join(said.get(name, "").split())
            default = MISSING if given.default is inspect.Parameter.empty else given.default
            made.append((name, *_field(name, hints[name], default, f"{text[:1].upper()}{text[1:]}", positional)))
    return make_dataclass("Arguments", [*made, *_own(added)], frozen=True, kw_only=True)


def _own(added: type) -> list[Any]:
    hints = get_type_hints(added)
    return [(item.name, hints[item.name], knob(item.default, **item.metadata)) for item in fields(added)]


def _field(name: str, kind: Any, default: Any, text: str, positional: dict[str, str]) -> tuple[Any, Any]:
    if name == "fields":
        return dict[str, str], recipe_flags()
    members = get_args(kind) if getattr(kind, "__name__", "") != "Sequence" else ()
    if Path in members:  # of a text or a path
        kind = Path | None if NoneType in members else Path
    several = getattr(kind, "__name__", "") == "Sequence"
    kind = tuple[get_args(kind)[0], ...] if several else kind  # type: ignore[misc]
    if name in positional:
        return kind, argument(() if several else default, text, metavar=positional[name])
    least = 1 if kind in (int, int | None) or kind == tuple[int, ...] else None
    return kind, knob(tuple(default) if several else default, text, least=least, several=several)
