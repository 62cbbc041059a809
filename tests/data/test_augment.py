"""Random crops, mirror images and orders: their distributions, their independence, and the pixels."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from torchvision.transforms import RandomErasing
from torchvision.transforms.v2 import functional

from reslab.data import augment
from reslab.data.augment import draw, draw_erased, epoch_order, random_crops

NUM_IMAGES = 50_000
LEAST_P = 1e-3


def test_crops_are_uniform_over_all_81_positions() -> None:
    draws = [draw(0, epoch, NUM_IMAGES, pad=4, flip=True) for epoch in range(4)]
    positions = np.concatenate([epoch.top * 9 + epoch.left for epoch in draws])
    counts = np.bincount(positions, minlength=81)
    assert len(counts) == 81
    assert stats.chisquare(counts).pvalue > LEAST_P


@pytest.mark.parametrize("pad", [0, 1, 2, 8])
def test_both_ends_of_the_offsets_are_drawn_for_any_padding(pad: int) -> None:
    draws = draw(0, 0, NUM_IMAGES, pad=pad, flip=True)
    for offsets in (draws.top, draws.left):
        counts = np.bincount(offsets)
        assert len(counts) == 2 * pad + 1
        assert pad == 0 or stats.chisquare(counts).pvalue > LEAST_P


def test_the_positions_of_one_image_over_the_epochs_are_uniform() -> None:
    draws = [draw(0, epoch, 8, pad=1, flip=True) for epoch in range(2_000)]
    counts = np.bincount([epoch.top[5] * 3 + epoch.left[5] for epoch in draws], minlength=9)
    assert stats.chisquare(counts).pvalue > LEAST_P


def test_half_of_the_images_are_mirrored_at_every_position() -> None:
    draws = draw(0, 0, NUM_IMAGES * 4, pad=4, flip=True)
    assert stats.binomtest(int(draws.mirror.sum()), NUM_IMAGES * 4).pvalue > LEAST_P
    table = np.zeros((81, 2))
    np.add.at(table, (draws.top * 9 + draws.left, draws.mirror.astype(int)), 1)
    assert stats.chi2_contingency(table).pvalue > LEAST_P


def test_without_flips_nothing_is_mirrored_and_the_crops_stay() -> None:
    with_flips, without = (draw(3, 2, 1_000, pad=4, flip=flip) for flip in (True, False))
    assert not without.mirror.any()
    np.testing.assert_array_equal(without.top, with_flips.top)
    np.testing.assert_array_equal(without.left, with_flips.left)


@pytest.mark.parametrize("num_images", [1, 2, 1_000])
def test_an_order_is_a_permutation(num_images: int) -> None:
    order = epoch_order(0, 0, num_images)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(num_images))


def test_an_order_is_no_near_order() -> None:
    order = epoch_order(0, 0, NUM_IMAGES)
    assert stats.spearmanr(order, np.arange(NUM_IMAGES)).pvalue > LEAST_P
    quarters = np.bincount(order[: NUM_IMAGES // 4] * 4 // NUM_IMAGES, minlength=4)
    assert stats.chisquare(quarters).pvalue > LEAST_P


def test_every_epoch_and_seed_has_an_order_of_its_own() -> None:
    orders = {epoch_order(seed, epoch, 20).tobytes() for seed, epoch in product(range(20), range(20))}
    assert len(orders) == 400


def test_every_epoch_and_seed_has_draws_of_its_own() -> None:
    draws = [draw(seed, epoch, 50, pad=4, flip=True) for seed, epoch in product(range(20), range(20))]
    assert len({epoch.top.tobytes() for epoch in draws}) == 400
    assert len({epoch.left.tobytes() for epoch in draws}) == 400
    assert len({epoch.mirror.tobytes() for epoch in draws}) == 400


def test_the_same_seed_and_epoch_give_the_same() -> None:
    np.testing.assert_array_equal(epoch_order(7, 3, 100), epoch_order(7, 3, 100))
    first, second = (draw(7, 3, 100, pad=4, flip=True) for _ in range(2))
    np.testing.assert_array_equal(first.top, second.top)
    np.testing.assert_array_equal(first.left, second.left)
    np.testing.assert_array_equal(first.mirror, second.mirror)


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (1, 0), (2**63, 5), (2**64 - 1, 2**40)])
def test_order_crops_and_flips_are_independent(seed: int, epoch: int) -> None:
    order = epoch_order(seed, epoch, NUM_IMAGES)
    draws = draw(seed, epoch, NUM_IMAGES, pad=4, flip=True)
    place = np.argsort(order)
    for first, second in (
        (place, draws.top),
        (place, draws.left),
        (place, draws.mirror),
        (order, draws.top),
        (draws.top, draws.left),
        (draws.top[1:], draws.top[:-1]),
    ):
        assert stats.spearmanr(first, second).pvalue > LEAST_P


def test_no_two_streams_share_their_random_numbers() -> None:
    first_words = [
        augment._generator(seed, epoch, stream).bytes(16)
        for seed, epoch in product(range(30), range(30))
        for stream in (augment._ORDER_STREAM, augment._AUGMENTATION_STREAM)
    ]
    assert len(set(first_words)) == 1_800


def test_neighbouring_epochs_and_seeds_are_independent() -> None:
    first = draw(5, 5, NUM_IMAGES, pad=4, flip=True)
    for seed, epoch in ((5, 6), (6, 5), (6, 4)):
        second = draw(seed, epoch, NUM_IMAGES, pad=4, flip=True)
        assert stats.spearmanr(first.top, second.top).pvalue > LEAST_P
        assert stats.spearmanr(epoch_order(5, 5, NUM_IMAGES), epoch_order(seed, epoch, NUM_IMAGES)).pvalue > LEAST_P


def crop_one_by_one(
    padded: NDArray[np.generic], top: NDArray[np.int64], left: NDArray[np.int64], mirror: NDArray[np.bool_], pad: int
) -> NDArray[np.generic]:
    height, width = padded.shape[1] - 2 * pad, padded.shape[2] - 2 * pad
    crops = []
    for image, y, x, mirrored in zip(padded, top, left, mirror, strict=True):
        crop = image[y : y + height, x : x + width]
        crops.append(crop[:, ::-1] if mirrored else crop)
    return np.stack(crops)


@given(
    num_images=st.integers(1, 6),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.sampled_from([1, 3]),
    pad=st.integers(0, 4),
    dtype=st.sampled_from([np.uint8, np.float32]),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=150, derandomize=True)
def test_batched_crops_are_crops_one_by_one(
    num_images: int, height: int, width: int, channels: int, pad: int, dtype: type[np.generic], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    padded = rng.integers(0, 256, (num_images, height + 2 * pad, width + 2 * pad, channels)).astype(dtype)
    draws = draw(seed, 0, num_images, pad=pad, flip=True)
    crops = random_crops(padded, draws.top, draws.left, draws.mirror, pad)
    assert crops.shape == (num_images, height, width, channels)
    assert crops.dtype == dtype
    assert crops.flags.c_contiguous
    np.testing.assert_array_equal(crops, crop_one_by_one(padded, draws.top, draws.left, draws.mirror, pad))


@pytest.mark.parametrize("mirrored", [False, True])
def test_all_81_crops_are_torchvisions(rng: np.random.Generator, mirrored: bool) -> None:
    image = rng.integers(0, 256, (32, 30, 3), dtype=np.uint8)
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    top, left = (np.array(offsets) for offsets in zip(*product(range(9), repeat=2), strict=True))
    crops = random_crops(np.stack([padded] * 81), top, left, np.full(81, mirrored), 4)
    tensor = functional.pad(torch.from_numpy(image).permute(2, 0, 1), [4])
    for crop, y, x in zip(crops, top, left, strict=True):
        expected = functional.crop(tensor, int(y), int(x), 32, 30)
        expected = functional.horizontal_flip(expected) if mirrored else expected
        np.testing.assert_array_equal(crop, expected.permute(1, 2, 0))


def test_the_middle_crop_is_the_image(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    middle = np.full(5, 4)
    np.testing.assert_array_equal(random_crops(padded, middle, middle, np.zeros(5, bool), 4), images)
    np.testing.assert_array_equal(random_crops(padded, middle, middle, np.ones(5, bool), 4), images[:, :, ::-1])


@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 20)])
def test_rectangles_are_erased_as_torchvision_draws_them(height: int, width: int) -> None:
    ours = draw_erased(0, 0, 20_000, share=1.0, height=height, width=width)
    torch.manual_seed(0)
    image = torch.zeros(1, height, width)
    theirs = np.array([RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(4_000)])
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > LEAST_P
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()


def test_the_share_of_images_that_are_erased_is_as_asked_and_each_epochs_own() -> None:
    first, again, next_epoch, other_seed = (
        draw_erased(seed, epoch, NUM_IMAGES, share=0.25, height=32, width=32)
        for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    np.testing.assert_array_equal(first, again)
    assert stats.binomtest(int(first.any(axis=1).sum()), NUM_IMAGES, 0.25).pvalue > LEAST_P
    for other in (next_epoch, other_seed):
        both = int((first.any(axis=1) & other.any(axis=1)).sum())
        assert stats.binomtest(both, NUM_IMAGES, 0.25**2).pvalue > LEAST_P
    assert not draw_erased(0, 0, 100, share=0.0, height=32, width=32).any()


def test_where_no_rectangle_fits_nothing_is_erased() -> None:
    assert not draw_erased(0, 0, 100, share=1.0, height=1, width=1).any()
