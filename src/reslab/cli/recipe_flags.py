"""The flags of a recipe's fields: `--TABLE.FIELD VALUE`, the same in every command that trains."""

from collections.abc import Iterator
from typing import Any

from reslab.cli.command import flags_of
from reslab.fields import Leaf, leaves
from reslab.training.recipe import Recipe
from reslab.training.recipe_0_1 import OLD_NAMES

__all__ = ["SYNONYMS", "recipe_flags"]

SYNONYMS = {
    **{old.replace("_", "-"): new.replace("_", "-") for old, new in OLD_NAMES.items()},
    "lr": "optimizer.learning-rate",
    "learning-rate": "optimizer.learning-rate",
    "wd": "optimizer.weight-decay",
    "batch": "batch-size",
    "bs": "batch-size",
    "num-workers": "workers",
    "gpu": "device",
    "arch": "model",
    "dataset": "data",
}
"""What other programs, and version 0.1, call some of them."""


def _leaves() -> Iterator[Leaf]:
    return (leaf for leaf in leaves(Recipe) if "." in leaf.path)


def recipe_flags() -> Any:
    """A field that gathers what differs from the recipe."""
    return flags_of(_leaves, "fields of the recipe, as `reslab recipes NAME` shows them", defaults=False)
