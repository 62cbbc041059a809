"""Batches of photographs: their order, their normalisation, and that workers change nothing."""

import gc
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch

from reslab.data import load_data
from reslab.data.augment import epoch_order
from reslab.data.normalization import Normalization
from reslab.data.photo_batches import PhotoBatches
from reslab.data.photo_transforms import PhotoTransform
from reslab.data.preprocessing import Preprocessing
from reslab.errors import DataError
from reslab.training.objective import make_mixing
from reslab.training.recipe import RegularizationRecipe

VIEW = Preprocessing(height=32, width=32, channels=3, resize=36)
TRANSFORM = PhotoTransform(crop="area", train_size=32, auto_augment="trivial", color="pca", erase=0.5)


@pytest.fixture(scope="module")
def train(photos):
    return load_data(photos, kind="photos", view=VIEW).split("train").subset(np.arange(20))


def batches(train, **changes):
    settings = {"transform": TRANSFORM, "batch_size": 8, "seed": 3, "num_batches": 6, **changes}
    return PhotoBatches(train, Normalization.imagenet(), **settings)


def test_neither_workers_nor_where_one_starts_change_a_batch(train):
    straight = batches(train)
    expected = [straight.batch(iteration) for iteration in range(6)]
    for workers in (1, 2):
        some = batches(train, workers=workers)
        for iteration in (0, 1, 2, 5, 4, 3):  # in sequence, and jumping
            images, labels = some.batch(iteration)
            assert torch.equal(images, expected[iteration][0])
            assert torch.equal(labels, expected[iteration][1])
        some.close()
    assert expected[0][0].shape == (8, 3, 32, 32)
    assert expected[0][0].is_contiguous(memory_format=torch.channels_last)


def test_every_photo_comes_once_an_epoch_in_the_order_of_small_images(train):
    some = batches(train, batch_size=10)
    labels = torch.cat([some.batch(iteration)[1] for iteration in range(4)])
    for epoch in range(2):
        order = epoch_order(3, epoch, 20)
        assert labels[20 * epoch : 20 * epoch + 20].tolist() == train.labels[order].tolist()


def test_repeats_show_fewer_photos_each_differently(train):
    images, labels = batches(train, batch_size=20, repeats=4).batch(0)
    order = epoch_order(3, 0, 20)[:5]
    assert labels.tolist() == np.tile(train.labels[order], 4).tolist()  # never two of a photo side by side
    assert len({image.numpy().tobytes() for image in images}) == 20


def test_nearly_all_mixed_images_are_of_two_photos(train):
    images, labels = batches(train, batch_size=40, repeats=4).batch(0)
    mixing = make_mixing(RegularizationRecipe(mixup=0.2, cutmix=1.0), 200)
    _, shares = mixing(images, labels)
    assert ((shares > 0).sum(dim=1) == 2).float().mean() > 0.9


def test_pixels_are_normalised_shifted_and_erased(train):
    transform = PhotoTransform(train_size=32, shorter_side=(36, 40), color="pca", color_strength=1.0, erase=1.0)
    images, labels = batches(train, transform=transform).batch(0)
    order = epoch_order(3, 0, 20)[:8]
    for place, index in enumerate(order.tolist()):
        sample = transform(train.file(index), 3, 0, index)
        pixels = sample.pixels.double() / 255 + torch.from_numpy(sample.shift).double()[:, None, None]
        expected = (pixels - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
            :, None, None
        ]
        top, left, height, width = sample.erased
        expected[:, top : top + height, left : left + width] = 0
        torch.testing.assert_close(images[place].double(), expected, atol=1e-5, rtol=1e-5)
        assert height > 0
    assert labels.tolist() == train.labels[order].tolist()


def test_a_mean_of_every_pixel_becomes_one_of_every_channel_at_another_size(train):
    mean = Normalization(np.linspace(0, 1, 16 * 16 * 3, dtype=np.float32).reshape(16, 16, 3), np.ones(3, np.float32))
    plain = PhotoTransform(train_size=32, shorter_side=(36, 40))
    images, _ = PhotoBatches(train, mean, plain, batch_size=8, seed=3, num_batches=1).batch(0)
    index = int(epoch_order(3, 0, 20)[0])
    expected = plain(train.file(index), 3, 0, index).pixels.numpy() / 255 - mean.mean.mean(axis=(0, 1))[:, None, None]
    torch.testing.assert_close(images[0], torch.as_tensor(expected).float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_photo_is_named_and_no_worker_stays(photos, tmp_path, workers):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(next(photos.glob("val/*/*")).read_bytes()[:3000])
    some = PhotoBatches(
        load_data(tmp_path, kind="photos", view=VIEW).split("train"),
        Normalization.imagenet(),
        TRANSFORM,
        2,
        0,
        9,
        workers=workers,
    )
    with pytest.raises(DataError, match=r"cannot use the image .*1\.jpg: it cannot be read: image file is truncated"):
        some.batch(0)
    some.close()
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed_gets_a_sentence_and_no_worker_stays(train):
    some = batches(train, workers=2, num_batches=10_000)
    some.batch(0)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(DataError, match="a process that decodes photos was ended"):
        list(map(some.batch, range(1, 50)))
    del some
    gc.collect()
    assert not multiprocessing.active_children()


def test_statistics_do_not_depend_on_how_they_are_read(train):
    whole = train.read(0, 20)
    for kind in ("per-pixel-mean", "per-channel"):
        parts = Normalization.measure((train.read(start, start + 7) for start in range(0, 20, 7)), kind)
        expected = Normalization.measure(whole, kind)
        np.testing.assert_array_equal(parts.mean, expected.mean)
        np.testing.assert_array_equal(parts.std, expected.std)
