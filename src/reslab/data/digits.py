"""scikit-learn's 1,797 handwritten digits: real images that need no download."""

from functools import lru_cache, partial

import numpy as np
from PIL import Image

from reslab.data.dataset import ImageData, Split, stratified_parts

__all__ = ["load_digits"]

_NUM_TEST, _NUM_VAL = 360, 180
_FULL_SCALE = 16  # the digits' pixels count the dark dots of a 4x4 square of the scan


def load_digits(size: int = 16) -> ImageData:
    """The digits, resized from 8x8 by bilinear interpolation, in a fixed stratified split of 1,257 / 180 / 360.

    Args:
        size: side of the images.
    """
    whole = Split(*(array.copy() for array in _images_and_labels(size)))
    rest, test = map(whole.subset, stratified_parts(whole.labels, _NUM_TEST))
    train, val = map(rest.subset, stratified_parts(rest.labels, _NUM_VAL))
    return ImageData(
        name="digits",
        classes=tuple("0123456789"),
        splits={"train": train, "val": val, "test": test},
        note=f"scikit-learn's handwritten digits, 8x8 resized to {size}x{size}",
    )


@lru_cache(maxsize=4)  # a process that tries several things loads them often, at 80 ms each
def _images_and_labels(size: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn import datasets  # a second to import

    raw = datasets.load_digits()
    pixels = np.round(raw.images * (255 / _FULL_SCALE)).astype(np.uint8)
    resize = partial(Image.Image.resize, size=(size, size), resample=Image.Resampling.BILINEAR)
    images = np.stack([np.asarray(resize(Image.fromarray(image))) for image in pixels])[..., np.newaxis]
    return images, raw.target.astype(np.int64)
