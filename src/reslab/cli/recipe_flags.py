"""The flags of a recipe's fields: `--TABLE.FIELD VALUE`, the same in every command that trains."""

from collections.abc import Iterator
from typing import Any

from reslab.cli.command import flags_of
from reslab.fields import Leaf, leaves
from reslab.training.recipe import Recipe

__all__ = ["recipe_flags"]


def _leaves() -> Iterator[Leaf]:
    return (leaf for leaf in leaves(Recipe) if "." in leaf.path)


def recipe_flags() -> Any:
    """A field that gathers what differs from the recipe."""
    return flags_of(_leaves, "fields of the recipe, as `reslab recipes NAME` shows them")
