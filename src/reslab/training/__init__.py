"""Training: recipes, schedules, checkpoints, and the loop. The recipes alone import no torch."""

from typing import TYPE_CHECKING, Any

from reslab.training.recipe import Recipe
from reslab.training.recipe_files import load_recipe

if TYPE_CHECKING:
    from reslab.training.result import TrainResult
    from reslab.training.start import train

__all__ = ["Recipe", "TrainResult", "load_recipe", "train"]


def __getattr__(name: str) -> Any:
    if name in ("TrainResult", "train"):
        from reslab.training import start

        return getattr(start, name)
    raise AttributeError(f"module 'reslab.training' has no attribute {name!r}")
