"""The built-in recipes, one lab note a module."""

from reslab.training.recipes import cifar_paper, digits_quick, fast

__all__ = ["RECIPES"]

RECIPES = {recipe.name: recipe for recipe in (cifar_paper.RECIPE, digits_quick.RECIPE, fast.RECIPE)}
