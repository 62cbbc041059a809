"""What a recipe makes of data: loaded, normalised and cut into batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from reslab.checkpoints import newest_whole_checkpoint
from reslab.data import AnyData, ImageData, PhotoData, Role, load_data
from reslab.data.batches import TrainingBatches, read_in_parts
from reslab.data.dataset import Samples, Split
from reslab.data.held_out import NONE_HELD_OUT, HeldOut, hold_out_share
from reslab.data.loading import DataKind
from reslab.data.normalization import Normalization
from reslab.data.photo_batches import PhotoBatches
from reslab.data.photo_transforms import PhotoTransform
from reslab.data.photos import PhotoSplit
from reslab.data.preprocessing import Preprocessing
from reslab.environment import available_cores
from reslab.errors import CheckpointError, DataError, RecipeError
from reslab.files.atomic import atomic_path
from reslab.models.weights import NORMALIZATION_NAME
from reslab.runs import Run
from reslab.tasks.task import Task
from reslab.training.plan import Asked
from reslab.training.recipe import Area, DataRecipe, NoColor, Photos, Rand, Recipe, SmallImages

__all__ = [
    "AnyData",
    "Batches",
    "load_inputs",
    "make_batches",
    "measured_normalization",
    "photo_transform",
]


class Batches(Protocol):
    """Batches of training images by iteration."""

    def batch(self, iteration: int) -> tuple[Tensor, Any]:
        """Images (B, C, H, W) float32 and their targets of an iteration, from 0."""

    def close(self) -> None:
        """Ends the processes that prepare batches, where there are any."""


def load_inputs(
    data: str | Path | AnyData,
    recipe: DataRecipe | None,
    data_dir: Path | None,
    progress: bool,
    test_curve: bool = False,
    held_out: HeldOut | None = None,
) -> tuple[AnyData, HeldOut]:  # what is loaded, how, and which of it is seen
    """The data that a recipe trains on, small images in memory or photos in their files.

    Test images are looked at only where they are asked for: a damaged one stops no training, and another one changes
    none.

    Args:
        data: name, place, or data set.
        recipe: says whether images are small or photos; where there is none yet, they decide themselves.
        data_dir: where named data sets are looked for first.
        progress: whether reading shows a progress bar.
        test_curve: whether test images are wanted, too.
        held_out: what a run that is gone on with has held out of train.

    Returns:
        The data, and which images of train became val, where the recipe holds some out.

    Raises:
        RecipeError: a recipe for photos got small images, or the other way round.
        DataError: there is no such data, or it is damaged.
    """
    photos = recipe is not None and isinstance(recipe.images, Photos)
    if isinstance(data, str | Path):
        roles: tuple[Role, ...] = ("train", "val", "test") if test_curve else ("train", "val")
        kind: DataKind = "auto" if recipe is None else "photos" if photos else "small"
        data = load_data(data, data_dir=data_dir, roles=roles, kind=kind, progress=progress)
    if recipe is None:
        return data, NONE_HELD_OUT
    if isinstance(data, ImageData) and photos:
        raise RecipeError(
            f"the recipe is for photos, and {data.name} has small images; give a folder, or another recipe."
        )
    if isinstance(data, PhotoData):
        if not photos:
            raise RecipeError('photos need a recipe with data.images = "photos", such as photos or imagenet-90.')
        data = data.seen_by(test_view(recipe))
    if held_out is None and recipe.val_share and "val" not in data.splits:
        return hold_out_share(data, recipe.val_share, progress=progress)
    held_out = held_out or HeldOut(num_images=recipe.val_images)
    return held_out.of(data), held_out


def test_view(recipe: DataRecipe) -> Preprocessing:
    """How photos are seen in tests; of a recipe for photos."""
    photos = recipe.images
    assert isinstance(photos, Photos)
    size = photos.test_size
    return Preprocessing(
        height=size, width=size, channels=3, resize=photos.test_resize, interpolation=photos.interpolation
    )


def measured_normalization(
    run: Run, split: Samples, recipe: DataRecipe, asked_to_stop: Callable[[], object]
) -> Normalization:
    """The normalisation of training images; of photos it is measured once a run, on their test views, and kept.

    That of initial weights was kept when the run was started.

    Args:
        run: that keeps it.
        split: the training images.
        recipe: says what is measured.
        asked_to_stop: called from time to time while photos are read; may raise.

    Raises:
        CheckpointError: the run's file of it is damaged, or missing where it cannot be measured.
    """
    kind = recipe.normalization
    kept = kind == "weights" or (run.exists and run.record.get("accepted_data"))
    if isinstance(split, Split) and kind != "weights" and not kept:
        return Normalization.measure(split.images, kind)
    path = run.folder / NORMALIZATION_NAME
    if kind == "imagenet":
        return Normalization.imagenet()
    if kind == "weights" and not path.exists():
        raise CheckpointError(f"{path} is missing, which has the normalisation of the initial weights; start anew.")
    if kind != "weights" and not path.exists():
        images = split.images if isinstance(split, Split) else read_in_parts(split, asked_to_stop=asked_to_stop)
        measured = Normalization.measure(images, kind)
        with atomic_path(path) as temporary:
            measured.save(temporary)
    try:
        return Normalization.load(path)
    except DataError as error:
        raise CheckpointError(f"{path} is damaged ({error}); remove it, and it is measured again.") from None


def keep_initial_normalization(asked: Asked, run: Run) -> None:
    """Writes the normalisation that a run's initial weights were trained with into its folder, for images of its size
    and channels."""
    about = asked.beginning.about if asked.beginning else None
    assert about is not None
    height, width, channels = asked.data.image_shape
    with atomic_path(run.folder / NORMALIZATION_NAME) as temporary:
        about.known_normalization().at(height, width).with_channels(channels).save(temporary)


def keep_normalization(run: Run) -> None:
    """Writes the normalisation that a run was trained with so far into its folder, where its newest checkpoint has it
    and no file: measured again on other images it would be another one."""
    path = run.folder / NORMALIZATION_NAME
    found = newest_whole_checkpoint(run.checkpoints, asked=run.asked, unsealed_too=not run.has_checksums)
    if found is not None and "seen" in found[1] and not path.exists():
        seen = found[1]["seen"]
        with atomic_path(path) as temporary:
            Normalization(seen["mean"].numpy(), seen["std"].numpy()).save(temporary)


def make_batches(
    recipe: Recipe, split: Samples, normalization: Normalization, seed: int, device: torch.device, task: Task
) -> Batches:
    """The recipe's batches of a training split, with their targets as the task takes them."""
    data, images = recipe.data, recipe.data.images
    if isinstance(split, Split):
        # Batches of steps that are only measured may be of photos that were cropped before.
        small = images if isinstance(images, SmallImages) else SmallImages()
        return TrainingBatches(
            split,
            normalization,
            batch_size=data.batch_size,
            seed=seed,
            pad=small.pad,
            pad_with=small.pad_with,
            flip=data.flip,
            erase=data.erase,
            balanced=data.sampling == "balanced",
            device=None if device.type == "cpu" else device,
            collate=task.collate,
        )
    assert isinstance(split, PhotoSplit)
    assert isinstance(images, Photos)
    workers = recipe.hardware.workers
    return PhotoBatches(
        split,
        normalization,
        photo_transform(data, images),
        batch_size=data.batch_size,
        seed=seed,
        num_batches=recipe.iterations,
        repeats=images.repeats,
        balanced=data.sampling == "balanced",
        workers=available_cores() if workers < 0 else workers,
        device=device,
        collate=task.collate,
    )


def photo_transform(data: DataRecipe, photos: Photos) -> PhotoTransform:
    """What the recipe does to a photo in training."""
    crop, color, augment = photos.crop, photos.color, photos.auto_augment
    chosen: dict[str, Any] = {"area": crop.area} if isinstance(crop, Area) else {"shorter_side": crop.shorter_side}
    if not isinstance(color, NoColor):
        chosen["color_strength"] = color.strength
    if isinstance(augment, Rand):
        chosen |= {"rand_operations": augment.operations, "rand_magnitude": augment.magnitude}
    return PhotoTransform(
        train_size=photos.train_size,
        interpolation=photos.interpolation,
        crop="area" if isinstance(crop, Area) else "shorter-side",
        flip=data.flip,
        color=color.kind,
        auto_augment=augment.kind,
        erase=data.erase,
        reduced_decoding=photos.reduced_decoding,
        **chosen,
    )
