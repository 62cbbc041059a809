"""What a recipe expects of the data and of the network, said or refused before a run starts. Imports no torch."""

from dataclasses import replace

from reslab.errors import RecipeError, ReslabWarning
from reslab.models.spec import NetSpec
from reslab.models.zoo import spell, split_spelling, with_fields
from reslab.training.recipe import Photos, Recipe

__all__ = ["RecipeWarning", "lacking_fields", "unlike_images"]

_FEWER = 20
"""From so many times fewer images than a schedule is made for, it is another schedule."""


class RecipeWarning(ReslabWarning):
    """A recipe meets data or a network that it is not made for."""


def unlike_images(recipe: Recipe, num_images: int) -> str | None:
    """A sentence where there are far fewer training images than a recipe's schedule is made for; None elsewhere.

    Args:
        recipe: as it was written, not resolved.
        num_images: for training.

    Raises:
        RecipeError: its length does not go by the number of images, so that each would be seen far too often.
    """
    schedule, made_for = recipe.schedule, recipe.schedule.made_for_images
    if made_for <= _FEWER * num_images:
        return None
    there_is = ", or take --recipe photos" if isinstance(recipe.data.images, Photos) else ""
    if schedule.length.unit == "epochs":
        count = recipe.resolved(num_images).iterations
        return (
            f"The recipe {recipe.name} is made for {made_for:,} images: with {num_images:,}, its {schedule.length} are "
            f"{count:,} iterations. Rescale its whole schedule with --iterations or --epochs{there_is}."
        )
    seen = recipe.resolved(num_images).iterations * recipe.data.batch_size
    own = seen / made_for
    raise RecipeError(
        f"the recipe {recipe.name} is made for {made_for:,} images, each of which it sees {own:.3g} times; the "
        f"{num_images:,} here it would see {seen / num_images:,.0f} times, in {schedule.length}. Rescale its whole "
        f"schedule with --epochs {round(own) or 1}, or --iterations{there_is}."
    )


def lacking_fields(recipe: Recipe, model: str | NetSpec, spec: NetSpec) -> str | None:
    """A sentence where a network lacks fields that a recipe needs and its spelling does not mention; None elsewhere.

    Args:
        recipe: that may need some.
        model: the network as it was asked for.
        spec: the network.
    """
    wanted = split_spelling(f"resnet18[{','.join(recipe.needs)}]")[1] if recipe.needs else {}
    mentioned = {} if isinstance(model, NetSpec) else split_spelling(model)[1]
    lacking = {name: value for name, value in wanted.items() if name not in mentioned and getattr(spec, name) != value}
    if not lacking:
        return None
    needed = ", ".join(f"{name}={value}" for name, value in lacking.items())
    ours = ", ".join(f"{name}={getattr(spec, name)}" for name in lacking)
    better = spell(replace(spec, **lacking)) if isinstance(model, NetSpec) else with_fields(model, lacking)
    return (
        f"The recipe {recipe.name} is for networks with {needed}: train {better!r} for that, or say {ours} in the "
        "spelling if it is meant."
    )
