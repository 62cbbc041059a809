"""What a network says of every test image, as texts in records. Importing this module imports no torch."""

import base64

import numpy as np
from numpy.typing import NDArray

__all__ = ["packed", "packed_scores", "unpacked", "unpacked_scores"]


def packed(flags: NDArray[np.bool_]) -> str:
    """Truth values: base64 of eight to a byte."""
    return base64.b64encode(np.packbits(flags).tobytes()).decode()


def unpacked(text: str, count: int) -> NDArray[np.bool_]:
    """Inverse of `packed`, for so many."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count).astype(bool)


def packed_scores(scores: NDArray[np.float32]) -> str:
    """(N, num_classes) probabilities in half precision: base64."""
    return base64.b64encode(scores.astype(np.float16).tobytes()).decode()


def unpacked_scores(text: str, count: int) -> NDArray[np.float32]:
    """Inverse of `packed_scores`, of so many images."""
    return np.frombuffer(base64.b64decode(text), np.float16).reshape(count, -1).astype(np.float32)
