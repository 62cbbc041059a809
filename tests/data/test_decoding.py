"""Image files of every kind, whole and broken."""

import io

import numpy as np
import pytest
from PIL import Image

from reslab.data.decoding import LARGEST_IMAGE, decode_image, decode_rgb
from reslab.errors import DataError

ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def image(rng: np.random.Generator) -> Image.Image:
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    return coarse.resize((70, 50), Image.Resampling.BICUBIC)


def pixels_of(data: bytes) -> np.ndarray:
    pixels = decode_rgb(data)
    np.testing.assert_array_equal(pixels, np.asarray(decode_image(data, 3)))  # whichever way is taken
    return pixels


def test_photographs_are_decoded_as_pillow_decodes_them(photos):
    for path in sorted(photos.glob("val/*/*"))[::8]:
        with Image.open(path) as expected:
            np.testing.assert_array_equal(pixels_of(path.read_bytes()), np.asarray(expected.convert("RGB")))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_of_every_mode(image, mode, progressive):
    data = encoded(image.convert(mode), quality=95, progressive=progressive)
    assert pixels_of(data).shape == (50, 70, 3)
    assert np.abs(pixels_of(data).astype(int) - np.asarray(image.convert("L"))[..., None]).mean() < 60


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "P"), ("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "1"), ("GIF", "P"), ("WEBP", "RGB")]
)
def test_other_formats(image, kind, mode):
    data = encoded(image.convert(mode) if mode != "LA" else image.convert("L").convert("LA"), kind)
    with Image.open(io.BytesIO(data)) as expected:
        np.testing.assert_array_equal(pixels_of(data), np.asarray(expected.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_stand_upright(image, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    held = image.transpose(back[orientation]) if orientation in back else image
    # The same quality settings, and no chroma subsampling: turning then changes the pixels by rounding alone.
    pixels = pixels_of(encoded(held, exif=exif, quality=100, subsampling=0))
    assert pixels.shape == (50, 70, 3)
    assert np.abs(pixels.astype(int) - np.asarray(image)).max() <= 4


def test_the_camera_may_say_it_in_xmp(image):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    xmp += b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    assert pixels_of(encoded(image, xmp=xmp)).shape == (70, 50, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow tells, and we go on
def test_damaged_exif_says_nothing_about_the_pixels(image):
    assert pixels_of(encoded(image, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")).shape == (50, 70, 3)


def enormous_jpeg() -> bytes:
    data = bytearray(encoded(Image.new("L", (8, 8))))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = (60_000).to_bytes(2) * 2
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an image"),
        (b"\xff\xd8\xff", "not an image"),
        (b"GIF89a", "not an image|cannot be"),
        (b"no image at all" * 100, "not an image"),
        ("enormous", "too many pixels|pixels are too many"),
        (enormous_jpeg(), "too many pixels|pixels are too many"),
        (encoded(Image.new("I;16", (8, 8)), "PNG"), "more than 8 bits"),
    ],
)
def test_what_is_no_usable_image_gets_a_sentence(data, message, enormous_png):
    data = enormous_png if data == "enormous" else data
    for decode in (decode_rgb, lambda data: decode_image(data, 3)):
        with pytest.raises(DataError, match=message):
            decode(data)
    assert LARGEST_IMAGE < 30_000**2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_truncated_files_are_not_filled_with_grey(image, kind):
    data = encoded(image, kind)
    for length in (len(data) // 2, len(data) * 3 // 4):
        with pytest.raises(DataError):
            decode_rgb(data[:length])
