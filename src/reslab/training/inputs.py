"""What a recipe makes of data: loaded, normalised and cut into batches."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from reslab.data import AnyData, ImageData, PhotoData, Role, absolute_spec, load_data
from reslab.data.batches import TrainingBatches, read_in_parts
from reslab.data.dataset import Samples, Split
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
from reslab.training.recipe import DataRecipe, Recipe

__all__ = ["AnyData", "Batches", "data_spec", "load_inputs", "make_batches", "measured_normalization"]


class Batches(Protocol):
    """Batches of training images by iteration."""

    def batch(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) float32 and labels (B,) int64 of an iteration, from 0."""

    def close(self) -> None:
        """Ends the processes that prepare batches, where there are any."""


def load_inputs(
    data: str | Path | AnyData, recipe: DataRecipe, data_dir: Path | None, progress: bool, test_curve: bool = False
) -> AnyData:
    """The data that a recipe trains on, small images in memory or photos in their files.

    Test images are looked at only where they are asked for: a damaged one stops no training, and another one changes
    none.

    Raises:
        RecipeError: a recipe for photos got small images.
        DataError: there is no such data, or it is damaged.
    """
    photos = recipe.images == "photos"
    if isinstance(data, ImageData) and photos:
        raise RecipeError(
            f"the recipe is for photos, and {data.name} has small images; give a folder, or another recipe."
        )
    if isinstance(data, PhotoData) and not photos:
        raise RecipeError('photos need a recipe with data.images = "photos", such as imagenet-90.')
    if isinstance(data, ImageData | PhotoData):
        return data.hold_out(recipe.val_images)
    roles: tuple[Role, ...] = ("train", "val", "test") if test_curve else ("train", "val")
    images = load_data(
        data,
        data_dir=data_dir,
        roles=roles,
        kind="photos" if photos else "small",
        view=test_view(recipe) if photos else None,
        progress=progress,
    )
    return images.hold_out(recipe.val_images)


def test_view(recipe: DataRecipe) -> Preprocessing:
    """How photos are seen in tests."""
    size = recipe.test_size
    return Preprocessing(
        height=size, width=size, channels=3, resize=recipe.test_resize, interpolation=recipe.interpolation
    )


def data_spec(data: str | Path | AnyData) -> str:
    """By which data is found again."""
    return data.name if isinstance(data, ImageData | PhotoData) else absolute_spec(data)


def measured_normalization(
    run: Run, split: Samples, recipe: DataRecipe, asked_to_stop: Callable[[], object]
) -> Normalization:
    """The normalisation of training images; of photos it is measured once a run, on their test views, and kept.

    Args:
        run: that keeps it.
        split: the training images.
        recipe: says what is measured.
        asked_to_stop: called from time to time while photos are read; may raise.

    Raises:
        CheckpointError: the run's file of it is damaged.
    """
    if isinstance(split, Split):
        return Normalization.measure(split.images, recipe.normalization)
    path = run.folder / NORMALIZATION_NAME
    if recipe.normalization == "imagenet":
        return Normalization.imagenet()
    if not path.exists():
        measured = Normalization.measure(read_in_parts(split, asked_to_stop=asked_to_stop), recipe.normalization)
        with atomic_path(path) as temporary:
            measured.save(temporary)
    try:
        return Normalization.load(path)
    except DataError as error:
        raise CheckpointError(f"{path} is damaged ({error}); remove it, and it is measured again.") from None


def make_batches(
    recipe: Recipe, split: Samples, normalization: Normalization, seed: int, device: torch.device
) -> Batches:
    """The recipe's batches of a training split."""
    data = recipe.data
    if isinstance(split, Split):
        return TrainingBatches(
            split,
            normalization,
            batch_size=data.batch_size,
            seed=seed,
            pad=data.pad,
            pad_with=data.pad_with,
            flip=data.flip,
            erase=data.erase,
            device=None if device.type == "cpu" else device,
        )
    assert isinstance(split, PhotoSplit)
    transform = PhotoTransform(**{item.name: getattr(data, item.name) for item in fields(PhotoTransform)})
    workers = recipe.hardware.workers
    return PhotoBatches(
        split,
        normalization,
        transform,
        batch_size=data.batch_size,
        seed=seed,
        num_batches=recipe.schedule.iterations,
        repeats=data.repeats,
        workers=available_cores() if workers < 0 else workers,
        device=device,
    )
