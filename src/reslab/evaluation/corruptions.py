"""The fifteen common corruptions of images in five strengths (Hendrycks and Dietterich, 2019, arXiv 1903.12261).

Strengths are the published ones: of CIFAR-10-C for small images and of ImageNet-C for photos, from the authors'
make_cifar_c.py and make_imagenet_c.py (github.com/hendrycks/robustness). They are in pixels of 32 and of 224; elastic
ones alone grow with the image. What differs from the authors' files, which hold fixed draws of their own:

- frost is drawn (`frost_texture`), since the original pastes parts of five photographs;
- motion blur, also that of snow, is a sum of shifted images instead of ImageMagick's, as in `imagecorruptions`;
- glass blur copies a neighbour's pixel, as the original does, whose exchange of two views of an array is none.

Every random number is a function of seed, image, corruption and strength.
"""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.random import Generator, Philox, SeedSequence
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from reslab.data.dataset import Images
from reslab.errors import DataError
from reslab.evaluation.corruption_layers import (
    blurred_by_motion,
    clipped_zoom,
    convolved,
    disk,
    frost_texture,
    luminance,
    plasma,
)

__all__ = ["CORRUPTIONS", "NUM_STRENGTHS", "Corruption", "Scale", "corrupt"]

Pixels = NDArray[np.float64]
"""(H, W, C), from 0 to 1."""
Scale = Literal["small", "photo"]
NUM_STRENGTHS = 5


@dataclass(frozen=True)
class Corruption:
    """A way in which images go bad.

    Args:
        name: the authors' own.
        kind: noise, blur, weather or digital.
        apply: (pixels, parameter, random numbers) to pixels, of which what leaves 0 to 1 is cut.
        small: parameters of small images, from weak to strong (CIFAR-10-C).
        photo: parameters of photos (ImageNet-C).
    """

    name: str
    kind: str
    apply: Callable[[Pixels, Any, Generator], Pixels]
    small: tuple[Any, ...]
    photo: tuple[Any, ...]


def corrupt(image: Images, name: str, strength: int, scale: Scale, *, seed: int = 0, index: int = 0) -> Images:
    """An image gone bad.

    Args:
        image: (H, W, C) uint8, grey or RGB, as a network sees it.
        name: of a corruption in `CORRUPTIONS`.
        strength: from 1 to 5.
        scale: whose parameters: those of small images or of photos.
        seed: of the random numbers.
        index: of the image among others; with the seed it decides them.

    Returns:
        The same shape, uint8. As in the original, fractions of a grey level are cut.

    Raises:
        DataError: no such corruption or strength.
    """
    if name not in CORRUPTIONS or not 1 <= strength <= NUM_STRENGTHS:
        raise DataError(f"there is no corruption {name!r} of strength {strength}; strengths are 1 to {NUM_STRENGTHS}.")
    found = CORRUPTIONS[name]
    random = Generator(Philox(SeedSequence((seed, index, zlib.crc32(name.encode()), strength))))
    parameter = (found.small if scale == "small" else found.photo)[strength - 1]
    pixels = found.apply(image / 255.0, parameter, random)
    # Grey levels that rounding has put just below themselves stay what they are.
    return np.floor(np.clip(pixels, 0, 1) * 255 + 1e-6).astype(np.uint8)


# Noise


def _gaussian_noise(pixels: Pixels, deviation: float, random: Generator) -> Pixels:
    return pixels + random.normal(0, deviation, pixels.shape)


def _shot_noise(pixels: Pixels, photons: float, random: Generator) -> Pixels:
    return random.poisson(pixels * photons) / photons


def _impulse_noise(pixels: Pixels, share: float, random: Generator) -> Pixels:
    hit, white = random.random(pixels.shape) <= share, random.random(pixels.shape) <= 0.5
    return np.where(hit, white.astype(np.float64), pixels)


# Blur


def _defocus_blur(pixels: Pixels, parameter: tuple[float, float], _: Generator) -> Pixels:
    return convolved(pixels, disk(*parameter))


def _glass_blur(pixels: Pixels, parameter: tuple[float, int, int], random: Generator) -> Pixels:
    deviation, reach, rounds = parameter
    blurred = np.floor(_smoothed(pixels, deviation) * 255 + 1e-6) / 255
    height, width, channels = pixels.shape
    rows, columns = range(height - reach, reach, -1), range(width - reach, reach, -1)
    flat = list(range(height * width))
    targets = [row * width + column for row in rows for column in columns]
    for _ in range(rounds):
        shifts = random.integers(-reach, reach, (len(targets), 2))  # (dx, dy), the upper end left out
        sources = np.asarray(targets) + shifts[:, 1] * width + shifts[:, 0]
        for target, source in zip(targets, sources.tolist(), strict=True):
            flat[target] = flat[source]  # one after the other: a copy may be copied on
    return _smoothed(blurred.reshape(-1, channels)[flat].reshape(pixels.shape), deviation)


def _motion_blur(pixels: Pixels, parameter: tuple[int, float], random: Generator) -> Pixels:
    return blurred_by_motion(pixels, *parameter, angle=random.uniform(-45, 45))


def _zoom_blur(pixels: Pixels, factors: tuple[float, ...], _: Generator) -> Pixels:
    total = pixels.copy()
    for factor in factors:
        total += clipped_zoom(pixels, factor)
    return total / (len(factors) + 1)


# Weather


def _snow(pixels: Pixels, parameter: tuple[float, ...], random: Generator) -> Pixels:
    mean, deviation, zoom, threshold, radius, sigma, share = parameter
    flakes = clipped_zoom(random.normal(mean, deviation, pixels.shape[:2])[..., np.newaxis], zoom)
    flakes = np.floor(np.clip(np.where(flakes < threshold, 0, flakes), 0, 1) * 255) / 255
    flakes = blurred_by_motion(flakes, int(radius), sigma, angle=random.uniform(-135, -45))
    flakes = np.round(flakes * 255) / 255
    whiter = np.maximum(pixels, luminance(pixels) * 1.5 + 0.5)
    return share * pixels + (1 - share) * whiter + flakes + flakes[::-1, ::-1]


def _frost(pixels: Pixels, parameter: tuple[float, float], random: Generator) -> Pixels:
    image, frost = parameter
    texture = frost_texture(pixels.shape[0], pixels.shape[1], random)
    return image * pixels + frost * (texture if pixels.shape[2] == 3 else luminance(texture))


def _fog(pixels: Pixels, parameter: tuple[float, float], random: Generator) -> Pixels:
    share, decay = parameter
    brightest = float(pixels.max())
    fog = plasma(max(pixels.shape[:2]), decay, random)[: pixels.shape[0], : pixels.shape[1], np.newaxis]
    return (pixels + share * fog) * brightest / (brightest + share)


def _brightness(pixels: Pixels, more: float, _: Generator) -> Pixels:
    """More of HSV's value, with hue and saturation as they are."""
    value: Pixels = pixels.max(axis=2, keepdims=True)
    brighter = np.minimum(value + more, 1)
    return np.where(value > 0, pixels * (brighter / np.where(value > 0, value, 1)), brighter)


# Digital


def _contrast(pixels: Pixels, share: float, _: Generator) -> Pixels:
    means: Pixels = pixels.mean(axis=(0, 1), keepdims=True)
    return (pixels - means) * share + means


def _elastic(pixels: Pixels, parameter: tuple[float, float, float, float], random: Generator) -> Pixels:
    """A random affine map of three points, and after it a smooth field of shifts."""
    strength, sigma, reach, side = parameter
    height, width = pixels.shape[:2]
    scale = min(height, width) / side
    middle, spread = np.array((height // 2, width // 2), np.float64), min(height, width) // 3
    points = np.array((middle + spread, (middle[0] + spread, middle[1] - spread), middle - spread))
    moved = points + random.uniform(-reach * scale, reach * scale, points.shape)
    affine = np.linalg.solve(np.column_stack((moved, np.ones(3))), points)  # from (x, y) of the result to the source
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    source = np.stack((columns.ravel(), rows.ravel(), np.ones(height * width)), axis=1) @ affine
    pixels = _sampled(pixels, source[:, 1], source[:, 0], "mirror")
    shifts = [
        gaussian_filter(random.uniform(-1, 1, (height, width)), sigma * scale, mode="reflect", truncate=3)
        for _ in range(2)
    ]
    across, down = (field * strength * scale for field in shifts)
    return _sampled(pixels, (rows + down).ravel(), (columns + across).ravel(), "reflect")


def _pixelate(pixels: Pixels, share: float, _: Generator) -> Pixels:
    image = _pillow(pixels)
    small = image.resize((int(image.width * share), int(image.height * share)), Image.Resampling.BOX)
    return _unit(small.resize(image.size, Image.Resampling.BOX))


def _jpeg(pixels: Pixels, quality: int, _: Generator) -> Pixels:
    buffer = io.BytesIO()
    _pillow(pixels).save(buffer, "JPEG", quality=quality)
    return _unit(Image.open(buffer, formats=("JPEG",)))


def _smoothed(pixels: Pixels, deviation: float) -> Pixels:
    found: Pixels = gaussian_filter(pixels, (deviation, deviation, 0), mode="nearest")
    return found


def _sampled(pixels: Pixels, rows: Pixels, columns: Pixels, mode: str) -> Pixels:
    channels = [map_coordinates(channel, (rows, columns), order=1, mode=mode) for channel in np.moveaxis(pixels, 2, 0)]
    return np.stack(channels, axis=1).reshape(pixels.shape)


def _pillow(pixels: Pixels) -> Image.Image:
    levels = np.round(pixels * 255).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)


def _unit(image: Image.Image) -> Pixels:
    levels = np.asarray(image) / 255.0
    return levels if levels.ndim == 3 else levels[..., np.newaxis]


def _zooms(largest: float, step: float) -> tuple[float, ...]:
    return tuple(np.arange(1, largest, step).tolist())


def _elastics(side: float, *shares: tuple[float, float, float], of: float) -> tuple[Any, ...]:
    return tuple((*(of * share for share in shared), side) for shared in shares)


_ALL = (
    Corruption(
        "gaussian_noise", "noise", _gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)
    ),
    Corruption("shot_noise", "noise", _shot_noise, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    Corruption(
        "impulse_noise", "noise", _impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)
    ),
    Corruption(
        "defocus_blur",
        "blur",
        _defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    Corruption(
        "glass_blur",
        "blur",
        _glass_blur,
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    Corruption(
        "motion_blur",
        "blur",
        _motion_blur,
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    Corruption(
        "zoom_blur",
        "blur",
        _zoom_blur,
        tuple(_zooms(largest, 0.01) for largest in (1.06, 1.11, 1.16, 1.21, 1.26)),
        (_zooms(1.11, 0.01), _zooms(1.16, 0.01), _zooms(1.21, 0.02), _zooms(1.26, 0.02), _zooms(1.31, 0.03)),
    ),
    Corruption(
        "snow",
        "weather",
        _snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    Corruption(
        "frost",
        "weather",
        _frost,
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    Corruption(
        "fog",
        "weather",
        _fog,
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    Corruption("brightness", "weather", _brightness, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
    Corruption("contrast", "digital", _contrast, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    Corruption(
        "elastic_transform",
        "digital",
        _elastic,
        _elastics(32, (0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03), of=32),
        _elastics(
            224, (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02), of=244
        ),
    ),
    Corruption("pixelate", "digital", _pixelate, (0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
    Corruption("jpeg_compression", "digital", _jpeg, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
)
CORRUPTIONS = {found.name: found for found in _ALL}
"""By name, in the paper's order."""
