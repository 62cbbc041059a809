"""Batches as a function of the iteration."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.data import ImageData, Split
from reslab.data.augment import draw, draw_erased, epoch_order
from reslab.data.batches import TrainingBatches, evaluation_batches, to_channels_last
from reslab.data.normalization import Normalization

AS_IS = Normalization(np.zeros(1, np.float32), np.full(1, 1 / 255, np.float32))


def numbered(num_images: int) -> Split:
    """2x2 images whose every pixel is the image's number."""
    numbers = np.arange(num_images)
    images = np.broadcast_to(numbers[:, None, None, None], (num_images, 2, 2, 1)).astype(np.uint8)
    return Split(images, numbers % 5)


def plain_batches(split: Split, batch_size: int, seed: int = 0) -> TrainingBatches:
    return TrainingBatches(split, AS_IS, batch_size, seed, pad=0, pad_with="mean", flip=False)


def visited(batches: TrainingBatches, iteration: int) -> list[int]:
    images, labels = batches.batch(iteration)
    numbers = images[:, 0, 0, 0].round().long()
    assert torch.equal(labels, numbers % 5)
    return numbers.tolist()


@pytest.fixture
def augmented(digits: ImageData) -> Callable[..., TrainingBatches]:
    """Makes batches of the digits with the paper's augmentation."""
    train = digits.split("train")

    def make(**changed: Any) -> TrainingBatches:
        fields: dict[str, Any] = {"batch_size": 128, "seed": 1, "pad": 4, "pad_with": "mean", "flip": True}
        normalization = Normalization.measure(train.images, "per-pixel-mean")
        return TrainingBatches(**({"split": train, "normalization": normalization} | fields | changed))

    return make


@given(num_images=st.integers(1, 40), batch_size=st.integers(1, 100), seed=st.integers(0, 9))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_every_image_appears_once_an_epoch_and_no_batch_is_short(num_images: int, batch_size: int, seed: int) -> None:
    batches = plain_batches(numbered(num_images), batch_size, seed)
    epochs = 3
    sequence: list[int] = []
    iteration = 0
    while len(sequence) < epochs * num_images:
        batch = visited(batches, iteration)
        assert len(batch) == batch_size
        sequence += batch
        iteration += 1
    for epoch in range(epochs):
        in_epoch = sequence[epoch * num_images : (epoch + 1) * num_images]
        assert in_epoch == epoch_order(seed, epoch, num_images).tolist()
        assert sorted(in_epoch) == list(range(num_images))


def test_the_order_changes_with_the_epoch() -> None:
    batches = plain_batches(numbered(50), 50)
    assert visited(batches, 0) != visited(batches, 1)


def test_a_batch_depends_on_its_number_alone(
    augmented: Callable[..., TrainingBatches], rng: np.random.Generator
) -> None:
    in_order = [augmented().batch(iteration) for iteration in range(25)]
    anyhow = augmented()
    for iteration in [*rng.permutation(25), 24, 0, 24]:
        images, labels = anyhow.batch(int(iteration))
        assert torch.equal(images, in_order[iteration][0])
        assert torch.equal(labels, in_order[iteration][1])


def test_a_late_batch_needs_no_earlier_one(augmented: Callable[..., TrainingBatches]) -> None:
    images, _ = augmented().batch(64_000)
    assert images.shape == (128, 1, 16, 16)
    assert torch.equal(images, augmented().batch(64_000)[0])


@pytest.mark.parametrize("changed", [{"seed": 2}, {"flip": False}, {"pad": 2}, {"pad_with": "black"}, {"erase": 0.5}])
def test_every_field_counts(augmented: Callable[..., TrainingBatches], changed: dict[str, Any]) -> None:
    assert not torch.equal(augmented().batch(3)[0], augmented(**changed).batch(3)[0])


def test_images_and_labels_belong_together(digits: ImageData, augmented: Callable[..., TrainingBatches]) -> None:
    train = digits.split("train")
    _, labels = augmented().batch(0)
    assert labels.dtype == torch.int64
    np.testing.assert_array_equal(labels, train.labels[epoch_order(1, 0, len(train))[:128]])


def test_batches_are_channels_last_and_float32(digits: ImageData) -> None:
    train = digits.with_channels(3).split("train")
    normalization = Normalization.measure(train.images, "per-channel")
    images, _ = TrainingBatches(train, normalization, 8, 0, 4, "mean", True).batch(0)
    assert images.shape == (8, 3, 16, 16)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert not images.is_contiguous()


def test_the_layout_changes_without_a_copy(rng: np.random.Generator) -> None:
    array = rng.random((4, 6, 5, 3), dtype=np.float32)
    tensor = to_channels_last(array)
    assert tensor.data_ptr() == array.ctypes.data
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert tensor[1, 2, 3, 4] == float(array[1, 3, 4, 2])


def augmented_one_by_one(batches: TrainingBatches, iteration: int) -> list[np.ndarray[Any, Any]]:
    """What `batch` should give, in float64 and without any batching."""
    split, pad = batches.split, batches.pad
    mean, std = batches.normalization.mean.astype(np.float64), batches.normalization.std.astype(np.float64)
    _, height, width, channels = split.images.shape
    expected = []
    for position in range(iteration * batches.batch_size, (iteration + 1) * batches.batch_size):
        epoch, offset = divmod(position, len(split))
        index = epoch_order(batches.seed, epoch, len(split))[offset]
        draws = draw(batches.seed, epoch, len(split), pad=pad, flip=batches.flip)
        image = split.images[index] / 255
        if batches.pad_with == "mean":
            image = (image - mean) / std
        canvas = np.zeros((height + 2 * pad, width + 2 * pad, channels))
        canvas[pad : pad + height, pad : pad + width] = image
        crop = canvas[draws.top[index] :, draws.left[index] :][:height, :width]
        crop = crop[:, ::-1] if draws.mirror[index] else crop
        crop = (crop if batches.pad_with == "mean" else (crop - mean) / std).copy()
        if batches.erase:
            erased = draw_erased(batches.seed, epoch, len(split), share=batches.erase, height=height, width=width)
            top, left, rows, columns = erased[index]
            crop[top : top + rows, left : left + columns] = 0
        expected.append(crop)
    return expected


@pytest.mark.parametrize("kind", ["per-pixel-mean", "per-channel"])
@pytest.mark.parametrize("pad_with", ["mean", "black"])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize(("pad", "erase"), [(0, 0.0), (4, 0.0), (2, 0.5)])
def test_batches_are_what_is_made_one_by_one(
    digits: ImageData, kind: Any, pad_with: str, flip: bool, pad: int, erase: float
) -> None:
    some = digits.split("train")
    some = Split(some.images[:30], some.labels[:30])
    batches = TrainingBatches(some, Normalization.measure(some.images, kind), 16, 5, pad, pad_with, flip, erase)
    for iteration in (0, 1, 2):
        images, _ = batches.batch(iteration)
        expected = augmented_one_by_one(batches, iteration)
        np.testing.assert_allclose(images.permute(0, 2, 3, 1), np.stack(expected), atol=1e-5)


@pytest.mark.parametrize(("pad_with", "expected"), [("mean", 0.0), ("black", -2.0)])
def test_padding_is_the_mean_or_black(pad_with: str, expected: float) -> None:
    white = Split(np.full((64, 8, 8, 3), 255, np.uint8), np.zeros(64, np.int64))
    batches = TrainingBatches(white, Normalization.per_channel((0.5,), (0.25,), 3), 64, 0, 4, pad_with, False)
    images, _ = batches.batch(0)
    assert sorted({round(value, 5) for value in images.unique().tolist()}) == sorted([expected, 2.0])
    draws = draw(0, 0, 64, pad=4, flip=False)
    padded_pixels = 64 - (8 - abs(draws.top - 4)) * (8 - abs(draws.left - 4))
    assert (images < 1).sum() == 3 * padded_pixels.sum()


def test_training_images_are_left_as_they_are(augmented: Callable[..., TrainingBatches]) -> None:
    batches = augmented(pad_with="black")
    before = batches.split.images.copy()
    images, _ = batches.batch(0)
    images.zero_()
    np.testing.assert_array_equal(batches.split.images, before)


@pytest.mark.parametrize("role", ["val", "test"])
@pytest.mark.parametrize("batch_size", [1, 7, 50, 1_000])
def test_evaluation_sees_every_image_once_in_order_and_as_it_is(digits: ImageData, role: Any, batch_size: int) -> None:
    split = digits.split(role)
    normalization = Normalization.measure(digits.split("train").images, "per-pixel-mean")
    batches = list(evaluation_batches(split, normalization, batch_size))
    sizes = [len(labels) for _, labels in batches]
    assert sizes[:-1] == [batch_size] * (len(split) // batch_size - (len(split) % batch_size == 0))
    assert sum(sizes) == len(split)
    images = torch.cat([images for images, _ in batches])
    assert torch.equal(images, torch.from_numpy(normalization(split.images)).permute(0, 3, 1, 2))
    np.testing.assert_array_equal(torch.cat([labels for _, labels in batches]), split.labels)


def test_evaluation_batches_are_channels_last_and_float32(digits: ImageData) -> None:
    val = digits.with_channels(3).split("val")
    for images, labels in evaluation_batches(val, Normalization.measure(val.images, "per-channel"), 50):
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64


def test_two_evaluations_are_equal(digits: ImageData) -> None:
    val = digits.split("val")
    normalization = Normalization.measure(val.images, "per-channel")
    for first, second in zip(*(evaluation_batches(val, normalization, 64) for _ in range(2)), strict=True):
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])


@pytest.mark.parametrize("pad_with", ["mean", "black"])
@pytest.mark.parametrize("kind", ["per-pixel-mean", "per-channel"])
@pytest.mark.parametrize(("pad", "erase"), [(0, 0.0), (3, 0.0), (2, 0.5)])
def test_batches_made_on_a_device_are_bitwise_those_of_numpy(
    augmented: Callable[..., TrainingBatches], digits: ImageData, pad_with: str, kind: Any, pad: int, erase: float
) -> None:
    """The accelerator's path, run on the CPU."""
    normalization = Normalization.measure(digits.split("train").images, kind)
    here, there = (
        augmented(normalization=normalization, pad=pad, pad_with=pad_with, erase=erase, device=device)
        for device in (None, torch.device("cpu"))
    )
    for iteration in (0, 9, 10):  # the second crosses the seam of two epochs
        for ours, theirs in zip(here.batch(iteration), there.batch(iteration), strict=True):
            assert torch.equal(ours, theirs)
    images, _ = there.batch(0)
    assert images.is_contiguous(memory_format=torch.channels_last)
