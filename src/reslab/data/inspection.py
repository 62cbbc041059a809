"""What is to be said of a single image file, and of files that have the same pixels."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from reslab.data.decoding import (
    LARGEST_FILE,
    ORIENTATION,
    ImageSizeError,
    in_mode,
    open_image,
    upright,
    upright_size,
)
from reslab.data.findings import Finding, Problem
from reslab.errors import DataError
from reslab.files.regular import read_regular

__all__ = ["Place", "Seen", "look", "repeated"]

_TINY, _OBLONG = 4, 20
_MANY = 3  # times that the same picture is there, from which on it may be a placeholder
_PLACEHOLDER = re.compile(
    r"not[-_ ]?found|placeholder|unavailable|no[-_ ]?image|image[-_ ]?missing|dummy", re.IGNORECASE
)


@dataclass(frozen=True)
class Place:
    """Where an image lies.

    Args:
        path: below the folder that is checked.
        role: of the image; empty where the folder has none.
        name: of its class.
    """

    path: str
    role: str
    name: str


@dataclass(frozen=True)
class Seen:
    """An image that was looked at.

    Args:
        place: where it lies.
        digest: of its pixels, or of its bytes where these are no image; empty where it cannot be read.
        size: width and height, in pixels.
        kinds: format, mode and the like.
        findings: what is wrong with it alone.
    """

    place: Place
    digest: str = ""
    size: tuple[int, int] = (0, 0)
    kinds: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def look(folder: Path, place: Place) -> Seen:
    """Reads and decodes one image; whatever is wrong with it ends up in a finding."""
    path = place.path
    try:
        data = read_regular(folder / path, LARGEST_FILE)
    except (OSError, DataError) as error:
        detail = str(getattr(error, "strerror", "") or error).rstrip(".")
        return Seen(place, findings=(Finding(path=path, problem="unreadable", detail=detail),))
    findings: list[Finding] = []
    size, kinds, digest = (0, 0), [], hashlib.sha256(data).hexdigest()
    try:
        with open_image(data) as image:
            size, kinds = upright_size(image), [image.format or "other"]
            if image.mode not in ("RGB",):
                kinds.append({"L": "grey", "1": "grey", "P": "palette"}.get(image.mode, image.mode))
            if image.getexif().get(ORIENTATION, 1) in range(2, 9):
                kinds.append("turned by the camera")
            pixels = np.asarray(in_mode(upright(image), 3))
            findings += _unusual(path, image, pixels)
        digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()
    except DataError as error:
        text = str(error).rstrip(".")
        too_large = isinstance(error, ImageSizeError)
        problem: Problem = "too-large" if too_large else "truncated" if "truncated" in text else "unreadable"
        findings = [Finding(path=path, problem=problem, detail=text)]
    return Seen(place, digest, size, tuple(kinds), tuple(findings))


def _unusual(path: str, image: Image.Image, pixels: np.ndarray) -> Iterator[Finding]:
    """What can be used, and may not be meant so."""
    expected = Image.registered_extensions().get(os.path.splitext(path)[1].lower())
    several = image.format == "MPO"  # what phones write as .jpg: a JPEG with more of them behind it
    if expected not in (image.format, None) and not (expected == "JPEG" and several):
        yield Finding(path=path, problem="wrong-extension", detail=f"it is {image.format}")
    height, width = pixels.shape[:2]
    if min(height, width) < _TINY:
        yield Finding(path=path, problem="tiny", detail=f"{width}x{height} pixels")
    if max(height, width) > _OBLONG * min(height, width):
        yield Finding(path=path, problem="oblong", detail=f"{width}x{height} pixels")
    if not several and getattr(image, "is_animated", False):
        yield Finding(path=path, problem="animated", detail=f"{getattr(image, 'n_frames', 2)} pictures")
    if _PLACEHOLDER.search(os.path.splitext(os.path.basename(path))[0]):
        yield Finding(path=path, problem="placeholder", detail="by its name")
    elif min(height, width) >= _TINY and (pixels == pixels[0, 0]).all():
        yield Finding(path=path, problem="placeholder", detail="it has a single colour")


def repeated(seen: Sequence[Seen]) -> Iterator[Finding]:
    """Images with the same pixels, compared with the first of them."""
    groups: dict[str, list[Place]] = {}
    for image in seen:
        if image.digest:
            groups.setdefault(image.digest, []).append(image.place)
    for first, *others in groups.values():
        for other in others:
            leaked = other.role != first.role
            problem: Problem = "in-two-classes" if other.name != first.name else "leaked" if leaked else "duplicate"
            yield Finding(path=other.path, problem=problem, detail=first.path)
        if len(others) + 1 >= _MANY:
            yield Finding(path=first.path, problem="placeholder", detail=f"it is there {len(others) + 1} times")
