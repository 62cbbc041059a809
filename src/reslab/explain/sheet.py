"""Pictures side by side with lines of text under each, as a JPEG: some milliseconds where matplotlib takes a second."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from reslab.analysis.fonts import FIRST_FONT, fonts_for
from reslab.files.atomic import atomic_path

__all__ = ["write_sheet"]

_GAP, _LETTERS, _LINE = 14, 17, 23  # pixels: between pictures, of a letter, from line to line
_NARROWEST, _ENLARGED = 240, 320  # of a column; to which small pictures are enlarged, by whole squares
_QUALITY = 90


def write_sheet(images: Sequence[Image.Image], captions: Sequence[Sequence[str]], path: Path) -> None:
    """Writes pictures in a row.

    Args:
        images: in colour; small ones are enlarged.
        captions: for each picture its lines; long ones are shortened.
        path: of the JPEG.
    """
    images = [_enlarged(image) for image in images]
    widths = [max(_NARROWEST, image.width) for image in images]
    tallest = max(image.height for image in images)
    below = _LINE * max(map(len, captions)) + _GAP
    size = (sum(widths) + _GAP * (len(images) + 1), tallest + below + 2 * _GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    left = _GAP
    for image, lines, width in zip(images, captions, widths, strict=True):
        sheet.paste(image, (left + (width - image.width) // 2, _GAP + tallest - image.height))
        for number, line in enumerate(lines):
            font = _font_for(line)
            place = (left + width / 2, tallest + 2 * _GAP + number * _LINE)
            draw.text(place, _shortened(line, font, width), "black", font, anchor="ma")
        left += width + _GAP
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        sheet.save(temporary, "JPEG", quality=_QUALITY, subsampling=0)


def _enlarged(image: Image.Image) -> Image.Image:
    times = _ENLARGED // max(image.size)
    return image if times < 2 else image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)


def _font_for(line: str) -> ImageFont.FreeTypeFont:
    """The font of this machine that has the most of a line's characters."""
    families, _ = fonts_for([line])
    return _font(families[-1] if len(families) > 1 else FIRST_FONT)


@cache
def _font(family: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont(family), _LETTERS)


def _shortened(line: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    kept = next(length for length in range(len(line), -1, -1) if font.getlength(f"{line[:length]}…") <= width)
    return f"{line[:kept]}…"
