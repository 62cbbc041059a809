"""Recipes by name, from TOML files and back, from command lines, and from the plain values that runs record."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reslab.errors import RecipeError, suggestion
from reslab.fields import build
from reslab.training.recipe import Recipe
from reslab.training.recipe_0_1 import OLD_NAMES, is_from_0_1, recipe_from_0_1
from reslab.training.recipes import RECIPES

__all__ = ["changed", "load_recipe", "recipe_from_dict", "recipe_from_text", "recipe_from_toml", "renamed"]

_RATE_FAMILIES = {
    "sgd": ("sgd", "muon"),
    "muon": ("sgd", "muon"),
    "adamw": ("adamw", "lamb"),
    "lamb": ("adamw", "lamb"),
}
_USUAL_RATES = {"sgd": 0.1, "muon": 0.1, "adamw": 0.001, "lamb": 0.005}


MOST_BYTES = 1 << 20
"""Of a recipe's file, which has two hundred lines where all fields are given."""


def load_recipe(name_or_file: str, *, bases: tuple[Path, ...] = ()) -> Recipe:
    """A built-in recipe by name, or one from a TOML file.

    Args:
        name_or_file: the name, or the path of a file that ends in .toml.
        bases: files that led here by their `base`, of which none can be the base again.

    Raises:
        RecipeError: no such recipe (the message suggests near names), or a bad file.
    """
    if name_or_file in RECIPES:
        return RECIPES[name_or_file]
    path = Path(name_or_file)
    if path.suffix == ".toml":
        return recipe_from_toml(path, bases=bases)
    hint = suggestion(name_or_file, RECIPES, f"; there are {', '.join(RECIPES)}, or the path of a .toml file.")
    raise RecipeError(f"there is no recipe named {name_or_file!r}{hint}")


def recipe_from_toml(path: Path, *, bases: tuple[Path, ...] = ()) -> Recipe:
    """A recipe from a TOML file: `base = "cifar-paper"`, and tables with the fields that differ.

    Args:
        path: of the file.
        bases: as in `load_recipe`.

    Raises:
        RecipeError: the file cannot be read, names an unknown base or field, or has a bad value; or its base is itself.
    """
    if path.resolve() in bases:
        way = " -> ".join(map(str, (*bases[bases.index(path.resolve()) :], path)))
        raise RecipeError(f"its base is itself, in the end ({way}); name one that is there.")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise RecipeError(f"the recipe {path} has more than {MOST_BYTES:,} bytes; it is no recipe.")
        text = path.read_bytes().decode()
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"the recipe {path} is no valid TOML: {error}.") from None
    return recipe_from_text(text, str(path), path.stem, bases=(*bases, path.resolve()))


def recipe_from_text(text: str, where: str, name: str, *, bases: tuple[Path, ...] = ()) -> Recipe:
    """A recipe from TOML.

    Args:
        text: the TOML.
        where: it stands, for messages.
        name: of the recipe, where the text gives none.
        bases: as in `load_recipe`, with the file of the text.

    Raises:
        RecipeError: no TOML, an unknown base or field, or a bad value.
    """
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise RecipeError(f"the recipe {where} is no valid TOML: it is nested too deeply.") from None
    except ValueError as error:
        raise RecipeError(f"the recipe {where} is no valid TOML: {error}.") from None
    base = values.pop("base", None)
    if not isinstance(base, str):
        raise RecipeError(f'the recipe {where} must say what it changes: base = "cifar-paper".')
    values.setdefault("name", name)
    try:
        return changed(load_recipe(base, bases=bases), values)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None
    except RecursionError:
        raise RecipeError(f"{where}: its bases are too many, or its tables too deep.") from None


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Inverse of `Recipe.to_dict`; of a recipe that version 0.1 wrote, the one that trains identically.

    Raises:
        RecipeError: an unknown field or a bad value.
    """
    if is_from_0_1(values):
        values = recipe_from_0_1(values)
    recipe: Recipe = build(Recipe, values, RecipeError, base=_DEFAULT, where="a recipe")
    return recipe


def changed(base: Recipe, values: Mapping[str, Any]) -> Recipe:
    """A recipe with other values in some fields.

    A length that is given is meant as it is: what the base says of the least length, and of the number of images that
    its own is made for, no longer counts.

    Args:
        base: the recipe.
        values: plain ones, by field within tables.

    Raises:
        RecipeError: an unknown field, one that would do nothing, or a bad value.
    """
    _refuse_old_names(values)
    values = dict(values)
    schedule, optimizer = values.get("schedule"), values.get("optimizer")
    if isinstance(schedule, Mapping) and "length" in schedule:
        values["schedule"] = {"least_iterations": 0, "made_for_images": 0, **schedule}
    kind = optimizer.get("kind") if isinstance(optimizer, Mapping) else optimizer
    given = isinstance(optimizer, Mapping) and "learning_rate" in optimizer
    before = base.optimizer.kind
    if not given and isinstance(kind, str) and kind in _USUAL_RATES and kind not in _RATE_FAMILIES[before]:
        raise RecipeError(
            f"optimizer.kind = {kind} takes other rates than {before}: give optimizer.learning_rate too "
            f"({base.optimizer.learning_rate:g} was chosen for {before}; {_USUAL_RATES[kind]:g} is usual for {kind})."
        )
    recipe: Recipe = build(Recipe, values, RecipeError, base=base, where="a recipe")
    return recipe


def renamed(path: str) -> str | None:
    """What a field of version 0.1 is called now; None where it is no such field."""
    return OLD_NAMES.get(path)


def _refuse_old_names(values: Mapping[str, Any]) -> None:
    for table, fields in values.items():
        for name in fields if isinstance(fields, Mapping) else ():
            if new := renamed(f"{table}.{name}"):
                raise RecipeError(f"{table}.{name} is {new} now.")


_DEFAULT = Recipe(name="unnamed")
