"""Statistics and their use, against numpy, scikit-learn and torchvision."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from torchvision.transforms import v2

from reslab.data import ImageData
from reslab.data.normalization import Normalization, NormalizationKind
from reslab.errors import DataError

KINDS: tuple[NormalizationKind, ...] = ("per-pixel-mean", "per-channel")


@pytest.fixture(params=[1, 3], ids=["grey", "rgb"])
def images(request: pytest.FixtureRequest, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Images whose pixels and channels differ in mean and spread."""
    high = rng.integers(2, 257, (1, 6, 5, request.param))
    return rng.integers(0, high, (50, 6, 5, request.param)).astype(np.uint8)


def test_the_per_pixel_mean_is_numpys(images: NDArray[np.uint8]) -> None:
    measured = Normalization.measure(images, "per-pixel-mean")
    assert measured.mean.dtype == measured.std.dtype == np.float32
    assert measured.mean.shape == images.shape[1:]
    np.testing.assert_allclose(measured.mean, images.mean(axis=0, dtype=np.float64) / 255, rtol=2e-7)
    np.testing.assert_array_equal(measured.std, np.ones(images.shape[-1]))


def test_per_channel_statistics_are_scikit_learns(images: NDArray[np.uint8]) -> None:
    measured = Normalization.measure(images, "per-channel")
    scaler = StandardScaler().fit(images.reshape(-1, images.shape[-1]).astype(np.float64) / 255)
    assert measured.mean.dtype == measured.std.dtype == np.float32
    assert measured.mean.shape == measured.std.shape == (images.shape[-1],)
    np.testing.assert_allclose(measured.mean, scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(measured.std, scaler.scale_, rtol=1e-6)


def test_statistics_of_real_images(fashion_mnist: ImageData) -> None:
    measured = Normalization.measure(fashion_mnist.split("train").images, "per-channel")
    assert measured.mean[0] == pytest.approx(0.2860, abs=5e-5)
    assert measured.std[0] == pytest.approx(0.3530, abs=5e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_do_not_depend_on_the_order(
    images: NDArray[np.uint8], rng: np.random.Generator, kind: NormalizationKind
) -> None:
    first = Normalization.measure(images, kind)
    other = Normalization.measure(images[rng.permutation(len(images))], kind)
    np.testing.assert_array_equal(first.mean, other.mean)
    np.testing.assert_array_equal(first.std, other.std)


def test_many_bright_images_do_not_overflow() -> None:
    images = np.full((40_000, 4, 4, 1), 255, np.uint8)
    np.testing.assert_array_equal(Normalization.measure(images, "per-pixel-mean").mean, np.ones((4, 4, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_normalised_images_have_zero_mean(images: NDArray[np.uint8], kind: NormalizationKind) -> None:
    normalized = Normalization.measure(images, kind)(images)
    axes = (0,) if kind == "per-pixel-mean" else (0, 1, 2)
    np.testing.assert_allclose(normalized.mean(axis=axes), 0, atol=1e-6)
    if kind == "per-channel":
        np.testing.assert_allclose(normalized.std(axis=axes, dtype=np.float64), 1, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_is_torchvisions(images: NDArray[np.uint8], kind: NormalizationKind) -> None:
    normalization = Normalization.measure(images, kind)
    result = normalization(images)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    scaled = v2.functional.to_dtype(torch.from_numpy(images).permute(0, 3, 1, 2), torch.float32, scale=True)
    if kind == "per-channel":
        expected = v2.Normalize(normalization.mean.tolist(), normalization.std.tolist())(scaled)
    else:
        expected = scaled - torch.from_numpy(normalization.mean).permute(2, 0, 1)
    np.testing.assert_allclose(result, expected.permute(0, 2, 3, 1), rtol=1e-5, atol=2e-6)


def test_normalising_leaves_the_images_as_they_are(images: NDArray[np.uint8]) -> None:
    before = images.copy()
    Normalization.measure(images, "per-channel")(images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("num_images", [1, 3, 50])
def test_constant_images_stay_finite_at_every_level(num_images: int) -> None:
    levels = np.broadcast_to(np.arange(256, dtype=np.uint8), (num_images, 4, 4, 256))
    normalization = Normalization.measure(levels, "per-channel")
    np.testing.assert_allclose(normalization.std, 1 / 255, rtol=1e-6)
    np.testing.assert_allclose(normalization(levels[:1]), 0, atol=1e-4)


@given(st.binary(min_size=1, max_size=60), st.integers(1, 3))
@settings(deadline=None, max_examples=200, derandomize=True)
def test_any_images_give_finite_statistics(pixels: bytes, repeats: int) -> None:
    images = np.tile(np.frombuffer(pixels, np.uint8), repeats).reshape(1, 1, -1, 1)
    normalization = Normalization.measure(images, "per-channel")
    np.testing.assert_allclose(normalization.mean[0], images.mean() / 255, rtol=1e-6)
    np.testing.assert_allclose(normalization.std[0], max(images.std() / 255, 1 / 255), rtol=1e-5)
    assert np.isfinite(normalization(images)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_one_number_serves_all_channels(channels: int) -> None:
    normalization = Normalization.per_channel((0.5,), (0.25,), channels)
    np.testing.assert_array_equal(normalization.mean, [0.5] * channels)
    np.testing.assert_array_equal(normalization.std, [0.25] * channels)
    assert normalization.mean.dtype == normalization.std.dtype == np.float32
    black_and_white = np.stack([np.zeros((2, 2, channels), np.uint8), np.full((2, 2, channels), 255, np.uint8)])
    np.testing.assert_allclose(normalization(black_and_white)[:, 0, 0, 0], [-2, 2], rtol=1e-6)


def test_given_numbers_go_to_their_channels() -> None:
    normalization = Normalization.per_channel((0.1, 0.2, 0.3), (0.5, 1.0, 2.0), 3)
    np.testing.assert_allclose(normalization(np.zeros((1, 1, 1, 3), np.uint8)), [[[[-0.2, -0.2, -0.15]]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("mean", "std", "channels", "told"),
    [
        ((0.5, 0.5), (0.2,), 3, "mean has 2 numbers and the images have 3 channels"),
        ((0.5,), (0.2, 0.2, 0.2), 1, "std has 3 numbers and the images have 1 channels"),
        ((), (0.2,), 3, "mean has 0 numbers"),
        ((0.5,), (), 1, "std has 0 numbers"),
        ((0.5,), (0.0,), 3, "std must be positive"),
        ((0.5,), (0.2, -0.2, 0.2), 3, "std must be positive"),
        ((0.5,), (math.nan,), 3, "std must be finite"),
        ((0.5,), (math.inf,), 3, "std must be finite"),
        ((math.nan, 0.1, 0.1), (0.2,), 3, "mean must be finite"),
        ((-math.inf,), (0.2,), 1, "mean must be finite"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    mean: tuple[float, ...], std: tuple[float, ...], channels: int, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        Normalization.per_channel(mean, std, channels)


def test_shapes_that_fit_pass_the_check(images: NDArray[np.uint8]) -> None:
    for kind in KINDS:
        Normalization.measure(images, kind).check(*images.shape[1:])
    Normalization.measure(images, "per-channel").check(100, 200, images.shape[-1])


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("per-pixel-mean", (8, 7, 3)),
        ("per-pixel-mean", (7, 8, 3)),
        ("per-pixel-mean", (6, 8, 1)),
        ("per-channel", (6, 8, 1)),
    ],
)
def test_shapes_that_do_not_fit_are_told_with_both(kind: NormalizationKind, shape: tuple[int, int, int]) -> None:
    normalization = Normalization.measure(np.zeros((2, 6, 8, 3), np.uint8), kind)
    with pytest.raises(DataError) as caught:
        normalization.check(*shape)
    assert "x".join(map(str, normalization.mean.shape)) in str(caught.value)
    assert "x".join(map(str, shape)) in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_is_plain_and_per_channel(images: NDArray[np.uint8], kind: NormalizationKind) -> None:
    normalization = Normalization.measure(images, kind)
    record = json.loads(json.dumps(normalization.to_dict()))
    assert record["kind"] == kind
    np.testing.assert_allclose(record["mean"], images.mean(axis=(0, 1, 2)) / 255, rtol=1e-6)
    np.testing.assert_array_equal(np.float32(record["std"]), normalization.std)


@pytest.mark.parametrize(("had", "channels"), [(1, 3), (3, 1), (3, 4), (3, 3)])
@pytest.mark.parametrize("per_pixel", [True, False])
def test_statistics_for_other_channels_are_kept_and_read(had, channels, per_pixel, tmp_path, rng):
    shape = (5, 4, had) if per_pixel else (had,)
    given = Normalization(rng.random(shape, np.float32), rng.random(had, np.float32) + 0.1)
    other = given.with_channels(channels)
    assert (other.mean.shape[-1], len(other.std)) == (channels, channels)
    expected = given.mean.mean(axis=-1) if channels == 1 else given.mean[..., 0]
    np.testing.assert_allclose(other.mean[..., 0], expected, rtol=1e-6)
    other.save(tmp_path / "kept.safetensors")
    read = Normalization.load(tmp_path / "kept.safetensors")
    np.testing.assert_array_equal(read.mean, other.mean)
    np.testing.assert_array_equal(read.std, other.std)
