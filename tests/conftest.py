"""What all tests share: where real data lie, seeds, and small data sets."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from reslab.data import ImageData, Split, load_data

REPOSITORY = Path(__file__).resolve().parents[1]


def absent(what: str) -> None:
    """Skips a test where something that only some machines have is missing; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and must be there in CI")
    pytest.skip(f"{what} is missing")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real images and independently trained weights, outside the repository."""
    folder = Path(os.environ.get("RESLAB_TEST_DATA", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        absent(f"the folder {folder} of real data")
    return folder


@pytest.fixture(scope="session")
def digits() -> ImageData:
    return load_data("digits")


@pytest.fixture(scope="session")
def fashion_mnist() -> ImageData:
    if not Path("/usr/share/datasets/fashion-mnist").is_dir():
        absent("Debian's package dataset-fashion-mnist")
    return load_data("fashion-mnist")


@pytest.fixture(scope="session")
def chromium_path() -> str:
    path = shutil.which("chromium")
    if path is None:
        absent("chromium")
    return str(path)


@pytest.fixture
def compiler() -> None:
    """Skips a test where torch.compile has no C++ compiler to call."""
    if not any(map(shutil.which, ("g++", "clang++"))):
        absent("a C++ compiler")


@pytest.fixture
def tiny_data() -> Callable[..., ImageData]:
    """Makes a data set of a few random images."""

    def make(
        num_images: int = 40, size: int = 8, channels: int = 3, num_classes: int = 4, val: bool = True
    ) -> ImageData:
        generator = np.random.default_rng(1)

        def split(count: int) -> Split:
            images = generator.integers(0, 256, (count, size, size, channels), dtype=np.uint8)
            return Split(images, np.arange(count, dtype=np.int64) % num_classes)

        splits = {"train": split(num_images), "test": split(20)} | ({"val": split(12)} if val else {})
        return ImageData("tiny", tuple(f"class{index}" for index in range(num_classes)), splits)

    return make
