"""From an image file's bytes to pixels: upright, in 8 bits, of a bounded size; the one way in for every image.

JPEGs are decoded by libjpeg-turbo, through Pillow or simplejpeg, to the same pixels bit for bit; simplejpeg takes 0.7
of Pillow's time. Of a photo of 12 megapixels, decoding at an eighth to half the side (a reduced scale of the cosine
transform) takes 0.15 to 0.2 of the time, for pixels that differ a little.

Only the formats of `FORMATS` are read, whatever a file is called: Pillow knows some forty more, and for one of them
starts Ghostscript.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from reslab.data.dataset import Images
from reslab.data.names import how_to_convert
from reslab.data.png import essential
from reslab.errors import DataError
from reslab.files.regular import read_regular

__all__ = [
    "FORMATS",
    "LARGEST_FILE",
    "LARGEST_IMAGE",
    "ORIENTATION",
    "Divisor",
    "ImageSizeError",
    "decode_image",
    "decode_rgb",
    "in_mode",
    "is_grey",
    "jpeg_size",
    "open_image",
    "upright",
    "upright_size",
]

Divisor = Literal[1, 2, 4, 8]

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
"""Pillow's names of the formats that are read; several JPEGs in a file (MPO, as phones write them) count as JPEG."""

LARGEST_IMAGE = 90_000_000
"""Pixels; more than any camera's, and what a small file can claim to have is decoded before it is resized."""

LARGEST_FILE = 1 << 30
"""Bytes; what 90 million pixels of 16 bits and four channels take uncompressed, and more."""

ORIENTATION = 0x0112
"""EXIF's tag of how the camera was held."""
_TURNED, _ON_ITS_SIDE = range(2, 9), range(5, 9)


class ImageSizeError(DataError):
    """An image of too many pixels."""


@contextmanager
def open_image(source: Path | bytes) -> Iterator[Image.Image]:
    """An image whose header has been read; whatever is wrong with it inside the block is said in a sentence.

    Args:
        source: a file or its bytes. Whatever its name says, the content decides on the format.

    Raises:
        DataError: it is missing, damaged, truncated, too large, or no image; the message does not repeat its name.
    """
    try:
        data = source if isinstance(source, bytes) else read_regular(source, LARGEST_FILE)
        with Image.open(io.BytesIO(essential(data)), formats=FORMATS) as image:
            if image.width * image.height > LARGEST_IMAGE:
                raise ImageSizeError(f"{image.width}x{image.height} pixels are too many; resize it.")
            yield image
    except DataError:
        raise
    except UnidentifiedImageError:
        if data[4:8] == b"ftyp":  # of ISO's base media files, whatever the name says
            raise DataError(f"it is HEIC, AVIF or a film; {how_to_convert({'such'})}.") from None
        raise DataError("it is not an image, or is damaged.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageSizeError("it has too many pixels; resize it.") from None
    except FileNotFoundError:
        raise DataError("there is no such file.") from None
    except MemoryError:
        raise DataError("there is not enough memory to decode it.") from None
    except OSError as error:
        raise DataError(f"it cannot be read: {error.strerror or error}.") from None
    except Exception as error:  # Pillow's decoders raise SyntaxError, ValueError, struct.error and others
        raise DataError(f"it cannot be decoded: {error}.") from None


def decode_image(source: Path | bytes, channels: int | None) -> Image.Image:
    """Decodes an image, turned upright where the camera says how it was held.

    Args:
        source: a file or its bytes.
        channels: 3 for RGB, 1 for grey, None for grey where the file is grey and RGB elsewhere. Transparency is
            dropped, and CMYK converted as Pillow does.

    Raises:
        DataError: as `open_image`, or it is grey of more than 8 bits. Pillow reads colour of 16 bits as 8 bits.
    """
    with open_image(source) as image:
        pixels = in_mode(upright(image), channels or (1 if is_grey(image) else 3))
        pixels.load()
        return pixels


def is_grey(image: Image.Image) -> bool:
    """Whether an image has no colours, by its header."""
    return image.mode in ("1", "L")


def in_mode(image: Image.Image, channels: int) -> Image.Image:
    """An image as RGB (3 channels) or grey (1 channel).

    Raises:
        DataError: it has more than 8 bits a channel, or the network takes another number of them.
    """
    if channels not in (1, 3):
        raise DataError(f"image files give 1 channel or 3, and the network takes {channels}.")
    if image.mode.startswith(("I", "F")):
        raise DataError("it has more than 8 bits a channel; convert it to 8 bits.")
    mode = "RGB" if channels == 3 else "L"
    if isinstance(image.info.get("transparency"), bytes):  # of each colour of a palette: Pillow would warn of its loss
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


def decode_rgb(data: bytes, divisor: Divisor = 1) -> Images:
    """Decodes an image to RGB, to the same pixels as `decode_image`, faster where it is a JPEG.

    Args:
        data: an image file's bytes.
        divisor: of a JPEG's height and width, by which it is decoded smaller, rounded up; other formats ignore it.

    Returns:
        (H, W, 3) uint8.

    Raises:
        DataError: as `decode_image`.
    """
    size = jpeg_size(data)
    if size is not None:
        from simplejpeg import decode_jpeg

        least = {"min_height": -(-size[0] // divisor), "min_width": -(-size[1] // divisor), "min_factor": 1}
        try:
            pixels: Images = decode_jpeg(data, **least) if divisor > 1 else decode_jpeg(data)
            return pixels
        except ValueError:
            pass  # Pillow says in words what is wrong, or reads what is only unusual
    return np.array(decode_image(data, 3))


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of an upright JPEG of 8 bits, one or three components, and not too many pixels, by its headers.

    None for anything else, which Pillow must look at.
    """
    if data[:3] != b"\xff\xd8\xff":
        return None
    position = 2
    while position + 9 < len(data):
        if data[position] != 0xFF:
            return None
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        if marker == 0xE1 and not _is_upright(data):  # by EXIF or XMP
            return None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the frame
            height, width = (int.from_bytes(data[position + at : position + at + 2]) for at in (5, 7))
            plain = data[position + 4] == 8 and data[position + 9] in (1, 3) and 0 < height * width <= LARGEST_IMAGE
            return (height, width) if plain else None
        position += 2 + length
    return None


def _is_upright(data: bytes) -> bool:
    try:
        return _orientation(Image.open(io.BytesIO(data), formats=FORMATS)) not in _TURNED
    except Exception:  # it will be said when the image is decoded
        return False


def upright(image: Image.Image) -> Image.Image:
    """An image as the camera saw it, by its EXIF tag."""
    return ImageOps.exif_transpose(image) if _orientation(image) in _TURNED else image


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of `upright`'s image, without decoding it."""
    width, height = image.size
    return (height, width) if _orientation(image) in _ON_ITS_SIDE else (width, height)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing about the pixels
        return 1
