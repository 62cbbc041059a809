"""What a user chooses of an experiment, and what follows for its recipes. Importing this module imports no torch."""

import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from reslab.data import AnyData, PhotoData
from reslab.errors import ReslabError
from reslab.paper.catalogue import IMAGENET, Arm, Experiment
from reslab.training.asked_recipe import AskedRecipe
from reslab.training.recipe import Recipe
from reslab.training.recipe_files import load_recipe

__all__ = [
    "LEAST_ITERATIONS",
    "Choices",
    "Precision",
    "arm_recipe",
    "format_time",
    "full_iterations",
    "parse_time",
    "recipe_name",
]

Precision = Literal["auto", "fp32", "bf16", "fp16"]

LEAST_ITERATIONS = 20
"""Of an arm; the errors at the end are means over the last ones."""
_CURVE_POINTS = 20
_USUAL_SIDES = (224, 256, 480)  # of a crop, and the range of the shorter side that it is cut from (Sec. 3.4)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What decides an experiment's numbers, besides the experiment.

    Args:
        data: name of a data set, or a folder.
        recipe: name or file of the recipe of all arms; None for the experiment's.
        iterations: length of a training; None for the recipe's own, or what the budget allows.
        input_size: side of the crops of photos.
        precision: of convolutions and products in training; None for the recipe's own.
        seeds: number of trainings of an arm; None for the experiment's.
        depths: of the networks; empty for all.
        nets: trained networks that are looked at instead of the experiment's own arms.
        mean: of each channel of their inputs, pixels in [0, 1], where they are weight files; empty for a card's.
        std: likewise.
        threads: of each training.
        protocol_images: test images that a protocol of many views looks at, where a budget has no time for all of them.
    """

    data: str = "digits"
    recipe: str | None = None
    iterations: int | None = None
    input_size: int | None = None
    precision: Precision | None = None
    seeds: int | None = None
    depths: tuple[int, ...] = ()
    nets: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    threads: int = 1
    protocol_images: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a plan."""
        return asdict(self)


def parse_time(text: str) -> float:
    """Seconds, of `90s`, `30m`, `2h` or `1.5d`.

    Raises:
        ReslabError: it is none of these, or not positive.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*", text)
    if not match or float(match[1]) == 0:
        raise ReslabError(f"cannot read the budget {text!r}: write a time, as in 90s, 30m or 2h.")
    return float(match[1]) * _SECONDS[match[2]]


def format_time(seconds: float) -> str:
    """A time as a budget has it: `90s`, `30m` or `2.5h`."""
    if seconds < 120:
        return f"{math.ceil(seconds)}s"
    return f"{math.ceil(seconds / 60)}m" if seconds < 7200 else f"{seconds / 3600:.1f}h"


def recipe_name(experiment: Experiment, choices: Choices, photos: bool) -> str:
    """The recipe of all arms: as chosen, or the digits', the paper's for small images, or the paper's for photos."""
    if choices.recipe is not None:
        return choices.recipe
    if choices.data == "digits":
        return experiment.recipe
    return "imagenet-paper" if photos and experiment.setting is IMAGENET else "cifar-paper"


def full_iterations(experiment: Experiment, choices: Choices, photos: bool) -> int:
    """The length of a training where neither iterations nor a budget are given: the recipe's own.

    Raises:
        ReslabError: the recipe counts in epochs.
    """
    if choices.iterations is not None:
        if choices.iterations < LEAST_ITERATIONS:
            raise ReslabError(
                f"--iterations must be at least {LEAST_ITERATIONS}, not {choices.iterations}: the errors at the end "
                "are means."
            )
        return choices.iterations
    if choices.data == "digits" and choices.recipe is None and experiment.iterations is not None:
        return experiment.iterations
    recipe = load_recipe(recipe_name(experiment, choices, photos))
    if recipe.schedule.length.unit != "iterations":
        raise ReslabError(
            f"the recipe {recipe.name} is {recipe.schedule.length} long, and all networks shall train equally long: "
            "give --iterations."
        )
    return recipe.iterations


def arm_recipe(experiment: Experiment, arm: Arm, choices: Choices, data: AnyData, iterations: int) -> Recipe:
    """The recipe of an arm, all lengths in iterations.

    Args:
        experiment: that the arm is one of.
        arm: with the fields that are its own.
        choices: of the user.
        data: that it trains on.
        iterations: of an arm of length 1.

    Raises:
        ReslabError: a field that the recipe does not have, or a size that the data do not have.
    """
    photos = isinstance(data, PhotoData)
    length = max(LEAST_ITERATIONS, round(iterations * arm.length))
    fields: dict[str, str] = {"hardware.threads": str(choices.threads)}
    if photos:
        fields |= _photo_fields(choices, recipe_name(experiment, choices, photos))
    elif choices.input_size not in (None, data.image_shape[0]):
        raise ReslabError(
            f"--input-size is for photos, which are cropped; the images of {data.name} have "
            f"{data.image_shape[0]}x{data.image_shape[1]} pixels."
        )
    if choices.precision is not None:
        fields["hardware.precision"] = choices.precision
    if experiment.keep_checkpoints:
        fields["monitoring.checkpoint_every"] = str(max(1, length // experiment.keep_checkpoints))
        fields["monitoring.keep_checkpoints"] = str(experiment.keep_checkpoints + 1)
    name = recipe_name(experiment, choices, photos)
    fields["monitoring.eval_every"] = str(max(1, length // _curve_points(length, load_recipe(name), data)))
    own = {**arm.fields, **(arm.digits if choices.data == "digits" and choices.recipe is None else {})}
    asked = AskedRecipe.of(name, data, iterations=length, fields={**fields, **own})
    return asked.fitted(len(data.split("train")))


def _curve_points(iterations: int, recipe: Recipe, data: AnyData) -> int:
    """Tests along a training, 2 at least: together of no more images than it trains on, so of a third of its work."""
    affordable = iterations * recipe.data.batch_size // max(1, len(data.split("test")))
    return max(2, min(_CURVE_POINTS, affordable))


def _photo_fields(choices: Choices, name: str) -> dict[str, str]:
    """What makes a recipe one for photos, cropped to the size that was asked for."""
    fields = {"data.images": "photos"} if load_recipe(name).data.images.kind == "small" else {}
    if choices.input_size is not None:
        crop, least, most = _USUAL_SIDES
        size = choices.input_size
        fields |= {
            "data.images.train_size": str(size),
            "data.images.test_size": str(size),
            "data.images.test_resize": str(round(size * least / crop)),
            "data.images.crop": "shorter-side",
            "data.images.crop.shorter_side": f"{round(size * least / crop)}-{round(size * most / crop)}",
        }
    return fields
