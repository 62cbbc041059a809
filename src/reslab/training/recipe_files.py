"""Recipes by name, from TOML files, and from the plain values that runs record."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from reslab.errors import RecipeError
from reslab.training.recipe import Recipe
from reslab.training.recipes import RECIPES

__all__ = ["load_recipe", "recipe_from_dict", "recipe_from_toml"]

Table = TypeVar("Table")

_KIND_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def load_recipe(name_or_file: str) -> Recipe:
    """A built-in recipe by name, or one from a TOML file.

    Raises:
        RecipeError: no such recipe (the message suggests near names), or a bad file.
    """
    if name_or_file in RECIPES:
        return RECIPES[name_or_file]
    path = Path(name_or_file)
    if path.suffix == ".toml":
        return recipe_from_toml(path)
    near = difflib.get_close_matches(name_or_file, RECIPES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(RECIPES)}, or the path of a .toml file."
    raise RecipeError(f"there is no recipe named {name_or_file!r}; {hint}")


def recipe_from_toml(path: Path) -> Recipe:
    """A recipe from a TOML file: `base = "cifar-paper"`, and tables with the fields that differ.

    Raises:
        RecipeError: the file cannot be read, names an unknown base or field, or has a bad value.
    """
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}.") from None
    except ValueError as error:
        raise RecipeError(f"the recipe {path} is no valid TOML: {error}.") from None
    base = values.pop("base", None)
    if not isinstance(base, str):
        raise RecipeError(f'the recipe {path} must say what it changes: base = "cifar-paper".')
    values.setdefault("name", path.stem)
    try:
        return _overridden(load_recipe(base), values)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Inverse of `Recipe.to_dict`.

    Raises:
        RecipeError: an unknown field or a bad value.
    """
    return _overridden(Recipe(name="unnamed"), values)


def _overridden(base: Table, values: Mapping[str, Any], prefix: str = "") -> Table:
    """A dataclass instance with some fields replaced from plain values, nested ones too."""
    hints = get_type_hints(type(base))
    known = [item.name for item in fields(base)]  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
            raise RecipeError(f"a recipe has no field {prefix}{name}; {hint}")
        current = getattr(base, name)
        if is_dataclass(current):
            if not isinstance(value, Mapping):
                raise RecipeError(f"{prefix}{name} must be a table of fields, not {value!r}.")
            changes[name] = _overridden(current, value, f"{prefix}{name}.")
        else:
            changes[name] = _typed(value, hints[name], f"{prefix}{name}")
    return replace(base, **changes)  # type: ignore[type-var]


def _typed(value: Any, kind: Any, name: str) -> Any:
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise RecipeError(f"{name} must be one of {', '.join(map(str, get_args(kind)))}, not {value!r}.")
    if get_origin(kind) is tuple:
        if isinstance(value, list | tuple):
            return tuple(_typed(item, get_args(kind)[0], name) for item in value)
        raise RecipeError(f"{name} must be a list, not {value!r}.")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    assert get_origin(kind) not in (Union, UnionType)  # no field of a recipe has two types
    if type(value) is not kind:
        raise RecipeError(f"{name} must be {_KIND_NAMES[kind]}, not {value!r}.")
    return value
