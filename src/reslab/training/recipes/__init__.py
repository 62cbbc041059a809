"""The built-in recipes, one lab note a module."""

from reslab.training.recipe import Recipe
from reslab.training.recipes import (
    cifar_paper,
    digits_quick,
    fast,
    imagenet_90,
    imagenet_a1,
    imagenet_a2,
    imagenet_a3,
    imagenet_paper,
    imagenet_v2,
)

__all__ = ["RECIPES"]

_NOTES = (
    cifar_paper,
    digits_quick,
    fast,
    imagenet_paper,
    imagenet_90,
    imagenet_v2,
    imagenet_a1,
    imagenet_a2,
    imagenet_a3,
)
RECIPES: dict[str, Recipe] = {note.RECIPE.name: note.RECIPE for note in _NOTES}
