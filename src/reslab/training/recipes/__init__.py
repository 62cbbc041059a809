"""The built-in recipes, one lab note a module."""

from reslab.training.recipe import Recipe
from reslab.training.recipes import (
    cifar_paper,
    digits_quick,
    fast,
    fine_tune,
    imagenet_90,
    imagenet_a1,
    imagenet_a2,
    imagenet_a3,
    imagenet_paper,
    imagenet_v2,
    photos,
)

__all__ = ["NOTES", "RECIPES", "SUMMARIES"]

_NOTES = (
    cifar_paper,
    digits_quick,
    fast,
    photos,
    fine_tune,
    imagenet_paper,
    imagenet_90,
    imagenet_v2,
    imagenet_a1,
    imagenet_a2,
    imagenet_a3,
)
RECIPES: dict[str, Recipe] = {note.RECIPE.name: note.RECIPE for note in _NOTES}
NOTES: dict[str, str] = {note.RECIPE.name: (note.__doc__ or "").strip() for note in _NOTES}
"""What each is, where it comes from, and what it is expected to give."""
SUMMARIES: dict[str, str] = {name: note.partition("\n")[0] for name, note in NOTES.items()}
"""Each in a line."""
