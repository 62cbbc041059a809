"""A recipe as it was asked for: by name or as it is, rescaled, with other fields; and what a run makes of it.

Importing this imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reslab.data import AnyData
from reslab.errors import RecipeError
from reslab.models.spec import NetSpec
from reslab.training.expectations import lacking_fields, unlike_images
from reslab.training.recipe import AnyImages, Duration, FineTuningRecipe, Photos, Recipe, SmallImages
from reslab.training.recipe_default import are_photos, default_recipe
from reslab.training.recipe_files import load_recipe
from reslab.training.recipe_overrides import fitted, is_length, with_overrides

if TYPE_CHECKING:
    from reslab.trained import Description

__all__ = ["AskedRecipe", "Beginning"]

_USUAL_SIDE, _USUAL_RESIZE = 128, 146
"""Of photos, where a recipe leaves it to the initial weights and these do not say: in the proportion of 224 to 256."""


@dataclass(frozen=True)
class Beginning:
    """What a network has before its training.

    Args:
        weights: by which it is named; None for random ones.
        about: how they were trained to see images; None where nobody says.
    """

    weights: str | None = None
    about: "Description | None" = None

    @property
    def is_normalized(self) -> bool:
        """Whether it is known how the inputs were normalised."""
        return self.about is not None and self.about.normalization is not None


@dataclass(frozen=True)
class AskedRecipe:
    """A recipe, and what is to be different in it.

    Args:
        recipe: as it was written.
        length: to which its whole schedule is rescaled; None to leave it.
        fields: texts by name, as in `with_overrides`; lengths among them are of the rescaled schedule.
        beginning: what the recipe leaves to the initial weights is theirs; None where it was decided before.
    """

    recipe: Recipe
    length: Duration | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    beginning: Beginning | None = None

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
        return self._decided(with_overrides(self.recipe, fields, flags=flags))

    def fitted(self, num_images: int) -> Recipe:
        """What a run with so many training images follows: `fitted`, of these."""
        return self._decided(fitted(self.recipe, num_images, length=self.length, fields=self.fields))

    def _decided(self, recipe: Recipe) -> Recipe:
        """With what the recipe leaves to the initial weights."""
        data, images, start = recipe.data, recipe.data.images, self.beginning
        view = start.about.preprocessing if start and start.about else None
        if isinstance(images, Photos) and 0 in (images.train_size, images.test_size, images.test_resize):
            own, resize = (min(view.height, view.width), view.resize) if view else (_USUAL_SIDE, _USUAL_RESIZE)
            train = images.train_size or images.test_size or own
            test = images.test_size or train
            filtering = view.interpolation if view else images.interpolation
            data = replace(
                data,
                images=replace(
                    images,
                    train_size=train,
                    test_size=test,
                    test_resize=images.test_resize or max(test, round(test * resize / own)),
                    interpolation=filtering,
                ),
            )
        if start is None:
            return replace(recipe, data=data)
        if data.normalization == "weights" and not start.is_normalized:
            data = replace(data, normalization="imagenet")
        fine_tuning = recipe.fine_tuning if start.weights else FineTuningRecipe()
        return replace(recipe, data=data, fine_tuning=fine_tuning)

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
        weights = _unlike_weights(self.recipe, self.beginning, num_images) if self.beginning else None
        found = (images, lacking_fields(self.recipe, model, spec), weights)
        return [sentence for sentence in found if sentence]

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


def _unlike_weights(recipe: Recipe, beginning: Beginning, num_images: int) -> str | None:
    """A sentence where a recipe counts on weights that are not there, or that say less than it needs; None elsewhere.

    Args:
        recipe: as it was written.
        beginning: of the training.
        num_images: for training.
    """
    if recipe.data.normalization == "weights" and beginning.weights and not beginning.is_normalized:
        return (
            f"{beginning.weights} does not say how its inputs were normalised: ImageNet's mean and std are taken; "
            "--data.normalization per-channel takes the training images' own."
        )
    if recipe.fine_tuning == FineTuningRecipe() or beginning.weights:
        return None
    return (
        f"No weights are given, so that the network learns to see from {num_images:,} images alone, all layers at one "
        "rate: from a few hundred photos it seldom learns much. --weights torchvision:V2, a file or a run's folder "
        "begins with what was learned elsewhere, and is nearly always better."
    )
