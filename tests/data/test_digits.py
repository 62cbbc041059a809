"""The digits: a fixed stratified split of scikit-learn's own."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn import datasets
from torchvision.transforms.v2 import functional

from reslab.data import ImageData, Role, Split, load_data
from reslab.data.digits import load_digits
from reslab.data.listing import DataWarning

SIZES: dict[Role, int] = {"train": 1257, "val": 180, "test": 360}


def counted(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Counter[tuple[bytes, int]]:
    return Counter((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


@pytest.fixture(scope="module")
def resized_by_torchvision() -> Split:
    raw = datasets.load_digits()
    tensor = torch.from_numpy(np.round(raw.images * (255 / 16)).astype(np.uint8))
    images = functional.resize(tensor[:, None], [16, 16], antialias=True)
    return Split(images.permute(0, 2, 3, 1).contiguous().numpy(), raw.target.astype(np.int64))


@pytest.mark.parametrize("role", SIZES)
def test_sizes_shapes_and_types(digits: ImageData, role: Role) -> None:
    split = digits.split(role)
    assert split.images.shape == (SIZES[role], 16, 16, 1)
    assert split.images.dtype == np.uint8
    assert split.labels.shape == (SIZES[role],)
    assert split.labels.dtype == np.int64


def test_classes_are_the_ten_digits(digits: ImageData) -> None:
    assert digits.classes == tuple("0123456789")
    assert list(digits.splits) == list(SIZES)


def test_every_digit_is_in_exactly_one_split(digits: ImageData, resized_by_torchvision: Split) -> None:
    parts = [counted(split.images, split.labels) for split in digits.splits.values()]
    whole = counted(resized_by_torchvision.images, resized_by_torchvision.labels)
    assert len(whole) == 1797
    assert sum(parts, Counter()) == whole


@pytest.mark.parametrize("role", ["val", "test"])
def test_pixels_equal_torchvisions_resize(digits: ImageData, resized_by_torchvision: Split, role: Role) -> None:
    by_content = {image.tobytes(): image for image in resized_by_torchvision.images}
    split = digits.split(role)
    for image in split.images:
        np.testing.assert_array_equal(image, by_content[image.tobytes()])


@pytest.mark.parametrize("role", SIZES)
def test_every_classs_share_is_proportional_to_within_one_image(digits: ImageData, role: Role) -> None:
    totals = np.bincount(datasets.load_digits().target)
    counts = np.bincount(digits.split(role).labels, minlength=10)
    assert np.abs(counts - totals * SIZES[role] / 1797).max() < 1


def test_full_scale_is_used(digits: ImageData) -> None:
    assert digits.split("train").images.min() == 0
    assert digits.split("train").images.max() == 255


def test_every_load_gives_the_same_images(digits: ImageData) -> None:
    program = "from reslab.data import load_data; print(load_data('digits').describe()['splits'])"
    elsewhere = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert elsewhere.strip() == str(digits.describe()["splits"])
    assert load_data("digits").describe() == digits.describe()


def test_who_writes_into_them_changes_no_later_load(digits: ImageData) -> None:
    mine = load_data("digits").split("test")
    mine.images[:], mine.labels[:] = 0, 0
    assert load_data("digits").describe() == digits.describe()


def test_the_split_does_not_depend_on_the_size(digits: ImageData) -> None:
    original = load_digits(size=8)
    assert original.image_shape == (8, 8, 1)
    for role, split in digits.splits.items():
        np.testing.assert_array_equal(original.split(role).labels, split.labels)
    raw = np.round(datasets.load_digits().images * (255 / 16)).astype(np.uint8)
    assert {image.tobytes() for image in raw} >= {image.tobytes() for image in original.split("test").images}


def test_a_folder_of_that_name_is_not_taken_for_them_and_it_is_said(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits" / "one").mkdir(parents=True)
    Image.new("L", (5, 5)).save(tmp_path / "digits" / "one" / "1.png")
    with pytest.warns(DataWarning, match=r"digits is the data set of that name; for the folder .* write \./digits\."):
        assert load_data("digits").split("train").digest == digits.split("train").digest
    assert load_data("./digits").num_classes == 1
