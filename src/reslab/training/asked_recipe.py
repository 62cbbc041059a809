"""A recipe as it was asked for: by name or as it is, rescaled, with other fields; and what a run makes of it.

Importing this imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from reslab.data import AnyData
from reslab.errors import RecipeError
from reslab.models.spec import NetSpec
from reslab.training.expectations import lacking_fields, unlike_images
from reslab.training.recipe import AnyImages, Duration, Photos, Recipe, SmallImages
from reslab.training.recipe_default import are_photos, default_recipe
from reslab.training.recipe_files import load_recipe
from reslab.training.recipe_overrides import fitted, is_length, with_overrides

__all__ = ["AskedRecipe"]


@dataclass(frozen=True)
class AskedRecipe:
    """A recipe, and what is to be different in it.

    Args:
        recipe: as it was written.
        length: to which its whole schedule is rescaled; None to leave it.
        fields: texts by name, as in `with_overrides`; lengths among them are of the rescaled schedule.
    """

    recipe: Recipe
    length: Duration | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        recipe: str | Recipe | None,
        data: str | Path | AnyData,
        iterations: int | None = None,
        epochs: float | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Self:
        """Looks up what `train` was given.

        Raises:
            RecipeError: no such recipe, or lengths that are none.
        """
        length = _length(iterations, epochs)
        recipe = default_recipe(data) if recipe is None else recipe
        found = load_recipe(recipe) if isinstance(recipe, str) else recipe
        if isinstance(found.data.images, AnyImages):
            images = Photos() if are_photos(data) else SmallImages()
            found = replace(found, data=replace(found.data, images=images))
        return cls(found, length, dict(fields or {}))

    def unscaled(self, *, flags: bool = False) -> Recipe:
        """With its fields, before the data are known and anything is rescaled; `flags` is `with_overrides`'s.

        Raises:
            RecipeError: as in `with_overrides`.
        """
        fields = {name: text for name, text in self.fields.items() if self.length is None or not is_length(name)}
        return with_overrides(self.recipe, fields, flags=flags)

    def fitted(self, num_images: int) -> Recipe:
        """What a run with so many training images follows: `fitted`, of these."""
        return fitted(self.recipe, num_images, length=self.length, fields=self.fields)

    def doubts(self, num_images: int, model: str | NetSpec, spec: NetSpec) -> list[str]:
        """Sentences to be said before a run starts.

        Args:
            num_images: for training.
            model: the network as it was asked for.
            spec: the network.

        Raises:
            RecipeError: the recipe is not for so few images.
        """
        images = None if self.length else unlike_images(self.unscaled(), num_images)
        return [sentence for sentence in (images, lacking_fields(self.recipe, model, spec)) if sentence]

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a run's record, beside the recipe that is followed."""
        length = None if self.length is None else str(self.length)
        return {"recipe": self.recipe.to_dict(), "rescaled_to": length, "fields": dict(self.fields)}


def _length(iterations: int | None, epochs: float | None) -> Duration | None:
    for name, number in (("iterations", iterations), ("epochs", epochs)):
        if number is not None and not number > 0:
            raise RecipeError(f"the number of {name} must be positive, not {number}.")
    if iterations is not None and epochs is not None:
        raise RecipeError("give the schedule's new length in iterations or in epochs, not in both.")
    if iterations is not None:
        return Duration(iterations, "iterations")
    return None if epochs is None else Duration(epochs, "epochs")
