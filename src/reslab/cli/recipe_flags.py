"""The flags of a recipe's fields: `--TABLE.FIELD VALUE`, the same in every command that trains."""

from typing import Any

from reslab.cli.command import flags_of
from reslab.fields import leaves
from reslab.training.recipe import Recipe
from reslab.training.recipe_overrides import meant_field

__all__ = ["recipe_flags"]


def recipe_flags() -> Any:
    """A field that gathers what differs from the recipe."""
    return flags_of(
        lambda: (leaf for leaf in leaves(Recipe) if "." in leaf.path),
        "fields of the recipe, as `reslab recipes NAME` shows them",
        defaults=False,
        meant=meant_field,
    )
