"""What corruptions are made of: kernels, motion, zoom, clouds and frost."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter, zoom
from scipy.signal import oaconvolve

__all__ = ["blurred_by_motion", "clipped_zoom", "convolved", "disk", "frost_texture", "luminance", "plasma"]

Pixels = NDArray[np.float64]

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey (ITU-R BT.601)
_FROST = ((78, 149, 166), (201, 205, 214))  # mean colours of the darkest and the lightest of the original photographs
_FROST_DEVIATION = 29 / 255  # of their grey levels, on average


def luminance(pixels: Pixels) -> Pixels:
    """(H, W, 1), of RGB or grey."""
    return pixels @ np.array(_LUMA)[:, np.newaxis] if pixels.shape[2] == 3 else pixels


def disk(radius: float, softness: float) -> Pixels:
    """A lens out of focus: a disk that sums to 1, its edge softened by a Gaussian.

    Args:
        radius: in pixels.
        softness: the Gaussian's standard deviation; it is 3 pixels wide, and 5 where the radius is more than 8.
    """
    reach = 8 if radius <= 8 else int(radius)
    places = np.arange(-reach, reach + 1)
    inside = (places[:, np.newaxis] ** 2 + places**2 <= radius**2).astype(np.float64)
    half = 1 if radius <= 8 else 2
    weights = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * softness**2))
    weights /= weights.sum()
    softened: Pixels = convolve(inside / inside.sum(), np.outer(weights, weights), mode="mirror")
    return softened


def convolved(pixels: Pixels, kernel: Pixels) -> Pixels:
    """An image filtered by an odd, symmetric kernel; beyond its borders it is mirrored."""
    half = kernel.shape[0] // 2
    padded = np.pad(pixels, ((half, half), (half, half), (0, 0)), mode="reflect")
    found: Pixels = oaconvolve(padded, kernel[..., np.newaxis], mode="valid", axes=(0, 1))
    return found


def blurred_by_motion(pixels: Pixels, radius: int, sigma: float, *, angle: float) -> Pixels:
    """A mean of the image shifted farther and farther one way, weighted by half a Gaussian.

    Args:
        pixels: (H, W, C).
        radius: the shifts are from 0 to twice as many pixels; what comes into view is the border's pixel.
        sigma: of the weights, in pixels.
        angle: of the motion, in degrees.
    """
    height, width = pixels.shape[:2]
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    down, right = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
    total = np.zeros(pixels.shape)
    for step, weight in enumerate(weights):
        rows_off, columns_off = -int(np.ceil(step * down - 0.5)), -int(np.ceil(step * right - 0.5))
        if abs(rows_off) >= height or abs(columns_off) >= width:
            break
        rows = np.clip(np.arange(height) - rows_off, 0, height - 1)
        columns = np.clip(np.arange(width) - columns_off, 0, width - 1)
        total += weight * pixels[rows[:, np.newaxis], columns]
    return total


def clipped_zoom(pixels: Pixels, factor: float) -> Pixels:
    """The middle of an image, (H, W, C), enlarged to its size."""
    height, width = pixels.shape[:2]
    rows, columns = int(np.ceil(height / factor)), int(np.ceil(width / factor))
    top, left = (height - rows) // 2, (width - columns) // 2
    large = zoom(pixels[top : top + rows, left : left + columns], (factor, factor, 1), order=1)
    top, left = max(0, (large.shape[0] - height) // 2), max(0, (large.shape[1] - width) // 2)
    found: Pixels = large[top : top + height, left : left + width]
    missing = height - found.shape[0], width - found.shape[1]
    return np.pad(found, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge") if any(missing) else found


def plasma(least_side: int, decay: float, random: Generator) -> Pixels:
    """Clouds from 0 to 1, by the diamond-square algorithm on a torus.

    Args:
        least_side: that they must have; they get the next power of two.
        decay: by which the roughness falls from one scale to the next.
        random: numbers.
    """
    side = 1 << max(1, (least_side - 1).bit_length())
    heights = np.zeros((side, side))
    step, roughness = side, 100.0
    while step >= 2:
        half = step // 2

        def wobbled(sums: Pixels, roughness: float = roughness) -> Pixels:
            return sums / 4 + roughness * random.uniform(-roughness, roughness, sums.shape)

        corners = heights[::step, ::step]
        beside = corners + np.roll(corners, -1, axis=0)
        heights[half::step, half::step] = wobbled(beside + np.roll(beside, -1, axis=1))
        middles, corners = heights[half::step, half::step], heights[::step, ::step]
        across = middles + np.roll(middles, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        heights[::step, half::step] = wobbled(across)
        down = middles + np.roll(middles, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        heights[half::step, ::step] = wobbled(down)
        step, roughness = half, roughness / decay
    heights -= heights.min()
    heights /= max(float(heights.max()), np.finfo(np.float64).tiny)
    return heights


def frost_texture(height: int, width: int, random: Generator) -> Pixels:
    """Ice on a window, (H, W, 3) from 0 to 1: ridges of noise at several scales and slants, pale blue to white.

    Its mean colour lies between those of the photographs that the original pastes, and it varies as much as they do.
    """
    ridges = np.zeros((height, width))
    for octave in range(5):
        sigma = max(height, width) / (8 * 2**octave)
        slant = (sigma, sigma / 3) if random.random() < 0.5 else (sigma / 3, sigma)
        noise = gaussian_filter(random.normal(size=(height, width)), slant, mode="wrap")
        noise /= max(noise.std(), np.finfo(np.float64).tiny)
        ridges += (1 - np.abs(noise)) / 1.5**octave
    ridges = (ridges - ridges.mean()) / max(ridges.std(), np.finfo(np.float64).tiny)
    dark, light = (np.array(colour) / 255 for colour in _FROST)
    colour = dark + random.random() * (light - dark)
    found: Pixels = np.clip(colour + _FROST_DEVIATION * ridges[..., np.newaxis], 0, 1)
    return found
