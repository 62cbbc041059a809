"""Images of the same picture: scaled, compressed again, brighter, or cut a little; found without comparing all pairs.

An image's fingerprint is a perceptual hash of 64 bits, the signs of its lowest frequencies (imagehash's `phash`; N.
Krawetz, "Looks like it", 2011), and two small thumbnails. Images whose hashes differ in few bits are compared by their
thumbnails, since smooth or very small images have like hashes without being alike. Mirrored, turned and strongly cut
images are not found. Importing this module imports no torch.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reslab.data.dataset import Images, Samples
from reslab.data.decoding import Divisor, decode_rgb, jpeg_size
from reslab.data.photos import PhotoSplit
from reslab.environment import available_cores
from reslab.errors import DataError

__all__ = ["Fingerprints", "duplicate_groups", "fingerprint_images", "group_numbers", "perceptual_hashes"]

MOST_BITS = 7
"""Bits in which the hashes of two images of one picture may differ; the search below finds all up to 7."""

_GREY_SIDE, _COLOR_SIDE, _HASH_SIDE = 32, 8, 8
_DECODED_SIDE = 64  # pixels that a photo's shorter side keeps at least: twice the thumbnail's
_MOST_GREY = 0.6  # root mean square difference of standardised grey thumbnails: a correlation of 0.82
_LEAST_GREY = 0.15  # the limit where all images look alike; what was only compressed again differs by 0.05
_BELOW_CHANCE = (
    0.55  # distance of the limit from what a tenth of all pairs differ by: handwritten digits are like each other
)
_PAIRS, _FEW = 5000, 10  # taken at random to see that; images below which there is nothing to see
_MOST_COLOR = 32.0  # mean absolute difference of colour thumbnails, brightness apart, in levels of 255
_LEAST_CONTRAST = 8.0  # levels by which thumbnails are standardised at least, so that noise on one colour counts little
_BANDS, _BAND_BITS = 4, 16
_AT_ONCE = 1 << 14  # pairs, or images, that are held as floats

Grey = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What images are compared by.

    Args:
        hashes: (N,) uint64.
        grey: (N, 32, 32) uint8.
        color: (N, 8, 8, 3) uint8.
    """

    hashes: NDArray[np.uint64]
    grey: Grey
    color: Images

    def __len__(self) -> int:
        return len(self.hashes)

    @classmethod
    def of(cls, grey: Grey, color: Images) -> "Fingerprints":
        """Those of thumbnails."""
        return cls(perceptual_hashes(grey), grey, color)

    @classmethod
    def joined(cls, parts: Sequence["Fingerprints"]) -> "Fingerprints":
        """Several splits' one after the other."""
        return cls.of(np.concatenate([part.grey for part in parts]), np.concatenate([part.color for part in parts]))


def fingerprint_images(split: Samples, *, advance: Callable[[int], object] | None = None) -> Fingerprints:
    """Fingerprints of a split's images; photos are decoded in threads, JPEGs at a fraction of their size.

    Args:
        split: the images.
        advance: told of the number of images done.

    Raises:
        DataError: an image cannot be read; the message names the file.
    """

    def of_photo(index: int) -> tuple[Grey, Images]:
        assert isinstance(split, PhotoSplit)
        data = split.file(index)
        try:
            return _thumbnails(decode_rgb(data, _divisor(data)))
        except DataError as error:
            raise split.named(error, index) from None

    def of_pixels(index: int) -> tuple[Grey, Images]:
        return _thumbnails(split.read(index, index + 1)[0])

    grey = np.empty((len(split), _GREY_SIDE, _GREY_SIDE), np.uint8)
    color = np.empty((len(split), _COLOR_SIDE, _COLOR_SIDE, 3), np.uint8)
    with ThreadPoolExecutor(available_cores(), "decoding") as pool:
        found = pool.map(of_photo if isinstance(split, PhotoSplit) else of_pixels, range(len(split)))
        for index, thumbnails in enumerate(found):
            grey[index], color[index] = thumbnails
            if advance:
                advance(1)
    return Fingerprints.of(grey, color)


def perceptual_hashes(grey: Grey) -> NDArray[np.uint64]:
    """(N, 32, 32) grey thumbnails to (N,) hashes: which of the 64 lowest frequencies lie above their median.

    The bits are those of imagehash's `phash`, the first one the highest.
    """
    from scipy.fft import dctn

    hashes = np.empty(len(grey), np.uint64)
    for start in range(0, len(grey), _AT_ONCE):
        part = grey[start : start + _AT_ONCE].astype(np.float64)
        low = dctn(part, axes=(1, 2))[:, :_HASH_SIDE, :_HASH_SIDE].reshape(len(part), -1)
        bits = np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)
        hashes[start : start + _AT_ONCE] = bits.view(">u8")[:, 0]
    return hashes


def duplicate_groups(prints: Fingerprints) -> list[NDArray[np.int64]]:
    """The images of which there are several of one picture.

    Args:
        prints: of all images, `Fingerprints.joined` of several splits.

    Returns:
        The indices of each group's images, two at least, in order; the groups by their first image.
    """
    numbers = group_numbers(prints)
    order = np.argsort(numbers, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1) if len(order) else []
    return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))


def group_numbers(prints: Fingerprints) -> NDArray[np.int64]:
    """The number of every image's group, (N,): images of one picture have the same, and any others different ones.

    These are the `groups` of scikit-learn's splitters. A group is all that is connected by pairs of like images.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    def components(edges: list[NDArray[np.int64]], count: int) -> NDArray[np.int64]:
        rows, columns = np.concatenate([np.empty((2, 0), np.int64), *edges], axis=1)
        graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(count, count))
        found: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
        return found

    if not len(prints):
        return np.empty(0, np.int64)
    # The very same thumbnails first: a thousand copies would make half a million pairs.
    flat = np.concatenate([prints.grey.reshape(len(prints), -1), prints.color.reshape(len(prints), -1)], axis=1)
    rows = np.ascontiguousarray(flat).view(np.dtype((np.void, flat.shape[1])))[:, 0]
    _, first, place = np.unique(rows, return_index=True, return_inverse=True)
    different = Fingerprints(prints.hashes[first], prints.grey[first], prints.color[first])
    edges: list[NDArray[np.int64]] = []
    numbers, most_grey = np.arange(len(first)), _most_grey(different.grey)
    for pairs in _like_hashes(different.hashes):
        left, right = pairs[:, numbers[pairs[0]] != numbers[pairs[1]]]
        alike = _are_alike(different, left, right, most_grey)
        if alike.any():
            edges.append(np.stack([left[alike], right[alike]]))
            numbers = components(edges, len(first))
    return numbers[place.reshape(-1)]


def _divisor(data: bytes) -> Divisor:
    """By which a JPEG is decoded smaller, and still larger than its thumbnail."""
    size = jpeg_size(data)
    choices: tuple[Divisor, ...] = (8, 4, 2)
    return next((divisor for divisor in choices if size and min(size) // divisor >= _DECODED_SIDE), 1)


def _thumbnails(pixels: Images) -> tuple[Grey, Images]:
    """(H, W, C) to the two thumbnails."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    grey = image.convert("L").resize((_GREY_SIDE, _GREY_SIDE), Image.Resampling.LANCZOS)
    color = image.convert("RGB").resize((_COLOR_SIDE, _COLOR_SIDE), Image.Resampling.BOX)
    return np.asarray(grey), np.asarray(color)


def _like_hashes(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Pairs, (2, P) at a time, whose hashes differ in at most 7 bits; some come more than once.

    Of four parts of 16 bits one then differs in at most one bit: it is looked up in a sorted list of that part, as it
    is and with each of its bits turned.
    """
    for band in range(_BANDS):
        keys = ((hashes >> np.uint64(band * _BAND_BITS)) & np.uint64((1 << _BAND_BITS) - 1)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        for mask in (0, *(1 << bit for bit in range(_BAND_BITS))):
            low = np.searchsorted(ordered, ordered ^ mask, "left")
            high = np.searchsorted(ordered, ordered ^ mask, "right")
            for left, right in _expanded(low, high):
                first, second = order[left], order[right]
                near = np.bitwise_count(hashes[first] ^ hashes[second]) <= MOST_BITS
                near &= first < second  # each is found from both of its sides
                if near.any():
                    yield np.stack([first[near], second[near]]).astype(np.int64)


def _expanded(low: NDArray[np.int64], high: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Every place with each place of its range from `low` to `high`, some thousand pairs at a time."""
    ends = np.cumsum(high - low)
    start = 0
    while start < len(low):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _AT_ONCE, "right")))
        counts = high[start:stop] - low[start:stop]
        left = np.repeat(np.arange(start, stop), counts)
        within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield left, np.repeat(low[start:stop], counts) + within
        start = stop


def _most_grey(grey: Grey) -> float:
    """The limit of the difference of grey thumbnails, well below that of pairs taken at random."""
    if len(grey) < _FEW:
        return _MOST_GREY
    first, second = np.random.default_rng(0).integers(0, len(grey), (2, _PAIRS))
    by_chance = _grey_differences(grey[first[first != second]], grey[second[first != second]])
    return float(np.clip(np.quantile(by_chance, 0.1) - _BELOW_CHANCE, _LEAST_GREY, _MOST_GREY))


def _are_alike(
    prints: Fingerprints, first: NDArray[np.int64], second: NDArray[np.int64], most_grey: float
) -> NDArray[np.bool_]:
    """Whether pairs' thumbnails show the same picture."""
    found = np.zeros(len(first), bool)
    for start in range(0, len(first), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        color = prints.color[first[part]].astype(np.float32) - prints.color[second[part]]
        color -= color.mean(axis=(1, 2, 3), keepdims=True)
        like = _grey_differences(prints.grey[first[part]], prints.grey[second[part]]) <= most_grey
        found[part] = like & (np.abs(color).mean(axis=(1, 2, 3)) <= _MOST_COLOR)
    return found


def _grey_differences(first: Grey, second: Grey) -> NDArray[np.float64]:
    """(N,) root mean square differences, brightness and contrast apart."""
    found: NDArray[np.float64] = np.sqrt(((_standardized(first) - _standardized(second)) ** 2).mean(axis=(1, 2)))
    return found


def _standardized(grey: Grey) -> NDArray[np.float32]:
    """Without brightness and contrast, which editing changes."""
    pixels = grey.astype(np.float32)
    pixels -= pixels.mean(axis=(1, 2), keepdims=True)
    pixels /= np.maximum(pixels.std(axis=(1, 2), keepdims=True), np.float32(_LEAST_CONTRAST))
    return pixels
