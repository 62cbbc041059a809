"""What training does to photographs, held to torchvision's transforms of PIL images and to the text."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from reslab.data.decoding import decode_rgb
from reslab.data.photo_transforms import PhotoTransform

PLAIN = {"flip": False, "train_size": 64}


@pytest.fixture(scope="module")
def files(photos) -> list[bytes]:
    return [path.read_bytes() for path in sorted(photos.glob("val/*/*"))[:60]]


def test_a_crop_of_the_papers_is_one_of_the_photo_resized_as_a_whole(files):
    """The crop alone is computed, so that it is looked for in the whole photo, resized by torchvision."""
    for index, data in enumerate(files[:12]):
        transform = PhotoTransform(shorter_side=(80, 80), **PLAIN)
        crop = transform(data, 0, 0, index).pixels.permute(1, 2, 0).numpy().astype(int)
        whole = np.asarray(v2.Resize(80)(Image.fromarray(decode_rgb(data)))).astype(int)
        windows = np.lib.stride_tricks.sliding_window_view(whole, (64, 64), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
        differences = np.abs(windows - crop).max(axis=(2, 3, 4))
        assert differences.min() <= 1
        assert np.median(differences) > 20  # other windows are others


def test_shorter_sides_and_corners_are_uniform_and_reach_both_ends():
    gradient = np.add.outer(np.arange(200), np.arange(200)).clip(0, 255).astype(np.uint8)
    rows = np.repeat(np.arange(200, dtype=np.uint8)[:, None], 200, axis=1)
    image = Image.merge("RGB", [Image.fromarray(part) for part in (rows, np.ascontiguousarray(rows.T), gradient)])
    stream = io.BytesIO()
    image.save(stream, "PNG")
    transform = PhotoTransform(shorter_side=(64, 128), **PLAIN)
    scales, tops = [], []
    for index in range(400):
        crop = transform(stream.getvalue(), 0, 0, index).pixels.numpy().astype(float)
        scale = (crop[0, 50] - crop[0, 10]).mean() / 40  # rows of the original a row of the crop
        scales.append(200 / scale)
        tops.append((crop[0, 10].mean() - 10 * scale) / (200 - 64 * scale + 1e-9))
    assert min(scales) < 66.5
    assert max(scales) > 125
    assert np.mean(scales) == pytest.approx(96, abs=3)
    loose = np.array(tops)[np.array(scales) > 90]
    assert loose.min() < 0.1
    assert loose.max() > 0.9
    assert loose.mean() == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("crop", ["area", "shorter-side"])
def test_large_jpegs_decoded_smaller_give_nearly_the_same_crops(files, crop, monkeypatch):
    """Photographs enlarged to 1,600 pixels: the same draws, within the tolerance that the recipe's field states."""
    import reslab.data.photo_transforms as module

    asked = []
    monkeypatch.setattr(module, "decode_rgb", lambda data, way=1: asked.append(way) or decode_rgb(data, way))
    settings = {"crop": crop, "train_size": 64, "shorter_side": (64, 96)}
    for index, data in enumerate(files[:8]):
        photo = Image.open(io.BytesIO(data)).convert("RGB")
        stream = io.BytesIO()
        scale = 1600 / min(photo.size)
        photo.resize([round(side * scale) for side in photo.size], Image.Resampling.BICUBIC).save(stream, "JPEG")
        whole = PhotoTransform(**settings)(stream.getvalue(), 0, 0, index).pixels.int()
        reduced = PhotoTransform(**settings, reduced_decoding=True)(stream.getvalue(), 0, 0, index).pixels.int()
        assert (whole - reduced).abs().float().mean() < 2
    assert asked[::2] == [1] * 8
    assert set(asked[1::2]) <= {2, 4, 8}
    for data in files[:5]:  # nothing is there to be left out
        small = {**settings, "train_size": 224, "shorter_side": (256, 480)}
        whole = PhotoTransform(**small)(data, 0, 0, 0).pixels
        assert torch.equal(whole, PhotoTransform(**small, reduced_decoding=True)(data, 0, 0, 0).pixels)


def test_half_are_mirrored(files):
    settings = {"train_size": 64, "shorter_side": (64, 64)}
    square = io.BytesIO()
    Image.open(io.BytesIO(files[0])).convert("RGB").crop((0, 0, 100, 100)).save(square, "PNG")
    plain = PhotoTransform(**settings, flip=False)(square.getvalue(), 0, 0, 0).pixels
    mirrored = 0
    for index in range(200):
        pixels = PhotoTransform(**settings)(square.getvalue(), 0, 0, index).pixels
        same, other = torch.equal(pixels, plain), torch.equal(pixels, plain.flip(-1))
        assert same != other
        mirrored += other
    assert 75 <= mirrored <= 125


def test_crops_by_area_are_torchvisions(files):
    from reslab.data.photo_transforms import sample_seed

    theirs = v2.Compose([v2.RandomResizedCrop(64, antialias=True), v2.RandomHorizontalFlip(0.5)])
    for index, data in enumerate(files[:20]):
        ours = PhotoTransform(crop="area", train_size=64)(data, 3, 1, index).pixels
        torch.manual_seed(sample_seed(3, 1, index, 0))
        assert torch.equal(ours, theirs(torch.from_numpy(decode_rgb(data)).permute(2, 0, 1)))


@pytest.mark.parametrize("kind", ["jitter", "trivial", "rand"])
def test_later_augmentations_are_torchvisions(files, kind):
    from reslab.data.photo_transforms import sample_seed

    settings = {"jitter": {"color": "jitter", "color_strength": 0.4}}.get(kind, {"auto_augment": kind})
    step = {
        "jitter": v2.ColorJitter(0.4, 0.4, 0.4),
        "trivial": v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR),
        "rand": v2.RandAugment(2, 7, interpolation=v2.InterpolationMode.BILINEAR),
    }[kind]
    theirs = v2.Compose([v2.RandomResizedCrop(64, antialias=True), v2.RandomHorizontalFlip(0.5), step])
    for index, data in enumerate(files[:10]):
        ours = PhotoTransform(crop="area", train_size=64, **settings)(data, 0, 0, index).pixels
        torch.manual_seed(sample_seed(0, 0, index, 0))
        assert torch.equal(ours, theirs(torch.from_numpy(decode_rgb(data)).permute(2, 0, 1)))


@pytest.fixture(scope="module")
def small() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "PNG")
    return stream.getvalue()


def test_the_colours_shift_along_alexnets_components(small):
    transform = PhotoTransform(color="pca", shorter_side=(64, 64), **PLAIN)
    shifts = np.stack([transform(small, 0, 0, index).shift for index in range(1500)])
    # Variances of the colours of ImageNet's pixels, and their covariances, are those of the components by construction.
    vectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    expected = vectors @ np.diag(np.array([0.2175, 0.0188, 0.0045]) * 0.1) ** 2 @ vectors.T
    np.testing.assert_allclose(np.cov(shifts.T), expected, atol=0.1 * expected.max())
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=0.002)
    assert np.abs(PhotoTransform(**PLAIN)(small, 0, 0, 0).shift).max() == 0


def test_rectangles_are_erased_as_often_as_asked_and_of_the_papers_sizes(small):
    transform = PhotoTransform(erase=0.5, shorter_side=(64, 64), **PLAIN)
    erased = np.array([transform(small, 0, 0, index).erased for index in range(300)])
    some = erased[erased[:, 2] > 0]
    assert 0.4 < len(some) / 300 < 0.6
    shares = some[:, 2] * some[:, 3] / 64**2
    assert shares.min() > 0.015
    assert shares.max() < 0.35
    assert (some[:, :2] + some[:, 2:]).max() <= 64


def test_it_depends_on_seed_epoch_index_and_repeat_and_on_nothing_else(files):
    transform = PhotoTransform(crop="area", train_size=32, auto_augment="trivial", erase=0.5, color="pca")
    draws = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    samples = []
    for draw in draws:
        torch.manual_seed(len(samples))
        before = torch.get_rng_state()
        samples.append(transform(files[3], *draw))
        assert torch.equal(torch.get_rng_state(), before)
    for number, sample in enumerate(samples):
        assert torch.equal(transform(files[3], *draws[number]).pixels, sample.pixels)
        assert all(not torch.equal(sample.pixels, other.pixels) for other in samples[:number])


def test_a_very_long_photo_takes_no_memory():
    stream = io.BytesIO()
    Image.new("RGB", (1, 60_000)).save(stream, "PNG")
    for crop in ("area", "shorter-side"):
        assert PhotoTransform(crop=crop)(stream.getvalue(), 0, 0, 0).pixels.shape == (3, 224, 224)
