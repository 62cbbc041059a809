"""Maps drawn over photos."""

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from PIL import Image

from reslab.data.preprocessing import Preprocessing
from reslab.explain.activation import Maps

__all__ = ["Photo", "draw_map", "photo_of"]

_DIMMED, _GREY = 0.35, np.array([0.299, 0.587, 0.114])
_OPAQUE = 0.7  # share of the colour where a map is highest
_SMALL = 2.0  # times that a picture is enlarged at least before its pixels are shown as squares


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright photo, small enough to be kept, and the part of it that a network sees.

    Args:
        image: RGB or grey.
        seen: left, top, right and bottom of that part, as shares of the width and height.
    """

    image: Image.Image
    seen: tuple[float, float, float, float]

    @property
    def picture(self) -> Image.Image:
        """It in colour, for a page or a file."""
        return self.image.convert("RGB")


def photo_of(image: Image.Image, preprocessing: Preprocessing, side: int) -> Photo:
    """A photo at the size in which it is shown.

    Args:
        image: upright.
        preprocessing: how the network sees it.
        side: its longer side then, in pixels; small images get it by whole squares.
    """
    width, height = image.size
    left, top, right, bottom = preprocessing.seen_box(width, height)
    scale = side / max(width, height)
    way = Image.Resampling.NEAREST if scale >= _SMALL else Image.Resampling.LANCZOS
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Of a photo of 20 megapixels `reducing_gap` averages whole pixels first, which is ten times as fast.
    shown = image.resize(size, way, reducing_gap=3.0 if scale < 1 else None)
    return Photo(shown, (left / width, top / height, right / width, bottom / height))


def draw_map(photo: Photo, values: Maps) -> Image.Image:
    """A photo with a map over what the network saw of it, the rest of it dim and grey.

    What speaks for the class is warm and bright, what speaks against it blue; the strongest place of either kind has
    the full colour, and a map that is nowhere different from 0 has none.

    Args:
        photo: that the map is of.
        values: (h, w); only the proportions count.
    """
    pixels = np.asarray(photo.picture, np.float64) / 255
    height, width, _ = pixels.shape
    left, top, right, bottom = (
        round(share * side) for share, side in zip(photo.seen, (width, height, width, height), strict=True)
    )
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    right, bottom = min(max(right, left + 1), width), min(max(bottom, top + 1), height)
    strongest = float(np.abs(values).max())
    scaled = values / strongest if strongest > 0 and np.isfinite(strongest) else np.zeros_like(values)
    image = Image.fromarray(scaled.astype(np.float32)).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(image, np.float64), -1, 1)[..., np.newaxis]
    strength = np.abs(heat[..., 0])
    warm = mpl.colormaps["inferno"](0.3 + 0.65 * strength)[..., :3]
    cold = mpl.colormaps["Blues_r"](0.75 - 0.6 * strength)[..., :3]
    color = np.where(heat >= 0, warm, cold)
    grey = (pixels @ _GREY)[..., np.newaxis]
    drawn = np.repeat(_DIMMED * grey, 3, axis=2)
    share = _OPAQUE * np.abs(heat)
    drawn[top:bottom, left:right] = (1 - share) * pixels[top:bottom, left:right] + share * color
    return Image.fromarray((255 * drawn).round().astype(np.uint8))
