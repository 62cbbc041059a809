"""A recipe as a TOML file that explains itself. Importing this imports no torch."""

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from reslab.fields import KIND, Knob, knobs, show
from reslab.training.durations import Duration
from reslab.training.recipe import Recipe
from reslab.training.recipes import RECIPES

__all__ = ["recipe_to_toml"]

_WIDTH = 100


def recipe_to_toml(recipe: Recipe) -> str:
    """All fields of a recipe as TOML, each under what it is; `recipe_from_toml` reads the same recipe back."""
    base = recipe.name if recipe.name in RECIPES else "cifar-paper"
    lines = [
        *_comment("Whose fields are kept where they are left out below: every line may be deleted."),
        f"base = {_value(base)}",
        *_table(recipe, ""),
    ]
    return "\n".join(lines) + "\n"


def _table(table: Any, path: str) -> Iterator[str]:
    """A table's fields, then its tables."""
    own = [item for item in knobs(table.__class__) if not item.forms]
    for item in own:
        yield ""
        yield from _comment(_help(item))
        yield f"{item.name} = {_value(getattr(table, item.name))}"
    for item in knobs(table.__class__):
        if not item.forms:
            continue
        inner, name = getattr(table, item.name), f"{path}.{item.name}" if path else item.name
        yield ""
        yield from _comment(item.help)
        yield f"[{name}]"
        if len(item.forms) > 1:
            kinds = ", ".join(str(getattr(form, KIND)) for form in item.forms)
            what = (type(inner).__doc__ or "").strip().partition("\n")[0]
            yield from _comment(f"{what} Kinds: {kinds}.")
            yield f"{KIND} = {_value(getattr(inner, KIND))}"
        yield from _table(inner, name)


def _help(item: Knob) -> str:
    return f"{item.help} Takes {item.takes}." if item.choices or item.type is not str else item.help


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool | int):
        return show(value)
    if isinstance(value, float):
        text = repr(value)
        return text if any(mark in text for mark in ".en") else f"{text}.0"
    return json.dumps(str(value) if isinstance(value, Duration) else value, ensure_ascii=False)
