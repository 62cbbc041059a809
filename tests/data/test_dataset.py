"""Data sets in memory, and what is held out of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reslab.data import ImageData, Split
from reslab.data.dataset import stratified_parts
from reslab.errors import DataError


def numbered(labels: NDArray[np.int64], **others: Split) -> ImageData:
    """Images that carry their number in the train split as 4 bytes."""
    images = np.arange(len(labels), dtype=np.int32).view(np.uint8).reshape(-1, 2, 2, 1)
    classes = tuple(f"class{index}" for index in range(labels.max() + 1))
    return ImageData("numbered", classes, {"train": Split(images, labels), **others})


def numbers(split: Split) -> NDArray[np.int32]:
    return np.ascontiguousarray(split.images).reshape(-1, 4).view(np.int32)[:, 0]


@pytest.fixture(scope="module")
def cifar_like() -> ImageData:
    """As many images and classes as CIFAR-10."""
    labels = np.random.default_rng(0).permutation(np.arange(50_000) % 10).astype(np.int64)
    return numbered(labels, test=Split(np.zeros((10, 2, 2, 1), np.uint8), np.arange(10)))


def test_45k_and_5k_are_disjoint_and_together_the_whole(cifar_like: ImageData) -> None:
    data = cifar_like.hold_out(5_000)
    train, val = numbers(data.split("train")), numbers(data.split("val"))
    assert (len(train), len(val)) == (45_000, 5_000)
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(50_000))


def test_labels_stay_with_their_images_and_the_order_is_kept(cifar_like: ImageData) -> None:
    data = cifar_like.hold_out(5_000)
    for role in ("train", "val"):
        split = data.split(role)  # type: ignore[arg-type]
        assert np.array_equal(split.labels, cifar_like.split("train").labels[numbers(split)])
        assert np.all(np.diff(numbers(split)) > 0)


def test_45k_and_5k_hold_the_same_share_of_every_class(cifar_like: ImageData) -> None:
    data = cifar_like.hold_out(5_000)
    assert np.bincount(data.split("val").labels).tolist() == [500] * 10
    assert np.bincount(data.split("train").labels).tolist() == [4_500] * 10


@given(st.lists(st.integers(2, 60), min_size=2, max_size=6), st.data())
@settings(deadline=None, max_examples=60, derandomize=True)
def test_shares_are_proportional_to_within_one_image(counts: list[int], data: st.DataObject) -> None:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    num_images = data.draw(st.integers(len(counts), len(labels) - len(counts)))
    held_out = numbered(labels).hold_out(num_images).split("val")
    assert len(held_out) == num_images
    shares = np.asarray(counts) * num_images / len(labels)
    assert np.abs(np.bincount(held_out.labels, minlength=len(counts)) - shares).max() <= 1


def test_the_held_out_images_depend_on_the_data_alone(cifar_like: ImageData) -> None:
    np.random.seed(1)  # noqa: NPY002
    first = cifar_like.hold_out(5_000)
    np.random.seed(2)  # noqa: NPY002
    assert cifar_like.hold_out(5_000).describe() == first.describe()


def test_held_out_images_are_not_the_first_ones(cifar_like: ImageData) -> None:
    held_out = numbers(cifar_like.hold_out(5_000).split("val"))
    assert abs(held_out.mean() - 25_000) < 1_000


def test_other_splits_and_the_source_stay_as_they_are(cifar_like: ImageData) -> None:
    before = cifar_like.describe()
    data = cifar_like.hold_out(5_000)
    assert data.split("test") is cifar_like.split("test")
    assert list(data.splits) == ["train", "val", "test"]
    assert cifar_like.describe() == before


def test_holding_out_none_changes_nothing(cifar_like: ImageData) -> None:
    assert cifar_like.hold_out(0) is cifar_like


@pytest.mark.parametrize("num_images", [-1, 1, 9, 49_991, 50_000, 60_000])
def test_numbers_that_leave_a_class_out_are_refused(cifar_like: ImageData, num_images: int) -> None:
    with pytest.raises(DataError, match="10 classes it takes 10 to 49,990"):
        cifar_like.hold_out(num_images)


def test_where_nothing_can_be_held_out_it_is_said_so() -> None:
    with pytest.raises(DataError, match=r"with 2 classes 3 are too few for any\."):
        numbered(np.array([0, 0, 1])).hold_out(1)


def test_a_second_val_split_is_refused(cifar_like: ImageData) -> None:
    with pytest.raises(DataError, match="has a val split of its own"):
        cifar_like.hold_out(5_000).hold_out(100)


def test_holding_out_of_no_train_split_is_refused() -> None:
    data = ImageData("half", ("a", "b"), {"test": Split(np.zeros((4, 2, 2, 1), np.uint8), np.array([0, 1, 0, 1]))})
    with pytest.raises(DataError, match="half has no train images"):
        data.hold_out(2)


def test_a_class_of_one_image_is_told_in_our_words() -> None:
    with pytest.raises(DataError, match="numbered"):
        numbered(np.array([0] * 20 + [1])).hold_out(4)


def test_parts_hold_every_image_once(digits: ImageData) -> None:
    whole = digits.split("train")
    parts = stratified_parts(whole.labels, 200)
    assert [len(part) for part in parts] == [len(whole) - 200, 200]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(whole)))


def test_grey_data_get_three_equal_channels(digits: ImageData) -> None:
    data = digits.with_channels(3)
    assert data.image_shape == (16, 16, 3)
    for role, split in digits.splits.items():
        for channel in range(3):
            assert np.array_equal(data.split(role).images[..., channel], split.images[..., 0])
        assert np.array_equal(data.split(role).labels, split.labels)
    assert digits.image_shape == (16, 16, 1)


def test_coloured_data_stay_as_they_are(digits: ImageData) -> None:
    data = digits.with_channels(3)
    assert data.with_channels(3) is data


def test_an_absent_split_is_told_with_those_there_are(cifar_like: ImageData) -> None:
    with pytest.raises(DataError, match="numbered has no val images; it has train and test"):
        cifar_like.split("val")


def test_the_description_names_sizes_shapes_and_hashes(digits: ImageData) -> None:
    description = digits.describe()
    splits = description.pop("splits")
    assert description == {
        "name": "digits",
        "note": "scikit-learn's handwritten digits, 8x8 resized to 16x16",
        "num_classes": 10,
        "height": 16,
        "width": 16,
        "channels": 1,
    }
    assert {role: entry["num_images"] for role, entry in splits.items()} == {"train": 1257, "val": 180, "test": 360}
    assert len({entry["sha256"] for entry in splits.values()}) == 3


@pytest.mark.parametrize("changed", ["pixel", "label", "order"])
def test_the_hash_follows_every_change(digits: ImageData, changed: str) -> None:
    images, labels = digits.split("val").images.copy(), digits.split("val").labels.copy()
    if changed == "pixel":
        images[17, 3, 4, 0] ^= 1
    elif changed == "label":
        labels[17] = (labels[17] + 1) % 10
    else:
        images, labels = images[::-1], labels[::-1]
    assert Split(images, labels).digest != digits.split("val").digest
    assert Split(digits.split("val").images.copy(), digits.split("val").labels).digest == digits.split("val").digest
