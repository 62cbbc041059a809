"""The network's view of an image, held to torchvision's transforms of PIL images."""

import json
import tarfile

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from reslab.deploy import Preprocessing
from reslab.errors import DataError

PHOTO = Preprocessing(height=224, width=224, channels=3, resize=256)


def smooth(width, height, mode="RGB"):
    """An image with edges, gradients and noise."""
    generator = np.random.default_rng(width * height)
    coarse = generator.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    pixels = np.clip(pixels + generator.integers(-20, 20, pixels.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (256, 256), (257, 300), (640, 255), (31, 47), (224, 224)])
@pytest.mark.parametrize(
    ("side", "resize", "interpolation"), [(224, 256, "bilinear"), (224, 235, "bicubic"), (32, 32, "bilinear")]
)
def test_a_square_crop_is_torchvisions(side, resize, interpolation, size):
    image = smooth(*size)
    mode = v2.InterpolationMode.BICUBIC if interpolation == "bicubic" else v2.InterpolationMode.BILINEAR
    expected = np.asarray(v2.Compose([v2.Resize(resize, interpolation=mode), v2.CenterCrop(side)])(image)).astype(int)
    view = Preprocessing(height=side, width=side, channels=3, resize=resize, interpolation=interpolation)(image)
    assert (view.dtype, view.shape) == (np.uint8, (side, side, 3))
    differences = np.abs(view - expected)
    # A crop that is resized directly has other rounding errors.
    assert differences.max() <= (8 if interpolation == "bicubic" else 2)
    assert differences.mean() < 0.35


def test_photographs_come_out_as_from_torchvision(shared, tmp_path):
    with tarfile.open(shared / "data" / "imagenet-sample-200.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    expected = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
    for path in sorted(tmp_path.rglob("*.JPEG"))[::10]:
        with Image.open(path) as image:
            differences = np.abs(PHOTO(image) - np.asarray(expected(image.convert("RGB"))).astype(int))
        assert differences.max() <= 1
        assert differences.mean() < 0.25


def test_an_oblong_crop_keeps_the_aspect_ratio():
    preprocessing = Preprocessing(height=16, width=24, channels=1, resize=16)
    for size in ((24, 16), (240, 160), (100, 100), (3, 400), (400, 3), (1, 1)):
        assert preprocessing(smooth(*size, mode="L")).shape == (16, 24, 1)
    stripes = Image.fromarray(np.repeat(np.arange(100, dtype=np.uint8)[np.newaxis], 100, axis=0))
    view = preprocessing(stripes)[..., 0].astype(int)
    np.testing.assert_allclose(view[0], (np.arange(24) + 0.5) * 100 / 24 - 0.5, atol=1.5)  # the whole width is there
    assert (view == view[0]).all()


def test_an_image_of_the_right_size_stays_as_it_is(rng):
    pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    preprocessing = Preprocessing(height=32, width=32, channels=3, resize=32)
    np.testing.assert_array_equal(preprocessing(Image.fromarray(pixels)), pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_of_eight_bits_is_converted(mode, channels):
    preprocessing = Preprocessing(height=8, width=8, channels=channels, resize=8)
    image = smooth(8, 8, "L" if mode == "LA" else "RGB").convert(mode)
    expected = np.asarray(image.convert("RGB" if channels == 3 else "L")).reshape(8, 8, channels)
    np.testing.assert_array_equal(preprocessing(image), expected)


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_more_than_eight_bits_are_refused(mode):
    with pytest.raises(DataError, match="more than 8 bits a channel"):
        PHOTO(Image.new(mode, (8, 8)))


def test_a_very_long_image_takes_no_memory():
    """Resized as a whole it would have 15 million by 256 pixels."""
    assert PHOTO(Image.new("RGB", (1, 60_000))).shape == (224, 224, 3)


def test_it_is_kept_as_json():
    for preprocessing in (PHOTO, Preprocessing(height=1, width=2, channels=1, resize=3, interpolation="bicubic")):
        assert Preprocessing.from_json(preprocessing.to_json()) == preprocessing
        assert json.loads(preprocessing.to_json()) == preprocessing.to_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, "whole numbers from 1"),
        ({"width": 1 << 20}, "whole numbers from 1"),
        ({"resize": 256.0}, "whole numbers from 1"),
        ({"channels": 0}, "whole numbers from 1"),
        ({"resize": 200}, "hold no crop of 224x224"),
        ({"interpolation": "lanczos"}, "no interpolation 'lanczos'"),
        ({"interpolation": []}, "cannot read"),
        ({"height": None}, "whole numbers"),
    ],
)
def test_a_preprocessing_that_cannot_be_gets_a_sentence(changes, message):
    with pytest.raises(DataError, match=message):
        Preprocessing.from_json(json.dumps({**PHOTO.to_dict(), **changes}))


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (256, 256), (224, 224)])
@pytest.mark.parametrize("shape", [(224, 224, 256), (100, 224, 128), (16, 16, 16)])
def test_the_part_that_is_seen_is_the_part_that_is_cut_out(size, shape):
    """Painted white, it fills the view."""
    height, width, resize = shape
    view = Preprocessing(height=height, width=width, channels=1, resize=resize)
    left, top, right, bottom = view.seen_box(*size)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    assert (right - left) / (bottom - top) == pytest.approx(width / height, rel=0.05)
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[round(top) : round(bottom), round(left) : round(right)] = 255
    seen = view(Image.fromarray(pixels))
    assert seen[2:-2, 2:-2].min() > 250
    assert seen.mean() > 230
