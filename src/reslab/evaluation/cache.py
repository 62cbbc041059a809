"""Scores kept between calls, by all that they depend on, so that an ensemble or a table computes none twice."""

import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from reslab.data.dataset import Samples
from reslab.data.normalization import Normalization
from reslab.data.photos import FolderFiles, PhotoSplit
from reslab.data.targets import ONE_LABEL
from reslab.evaluation.protocols import EvaluationProtocol
from reslab.evaluation.scoring import Scores
from reslab.files.atomic import atomic_path
from reslab.files.cache import cache_folder
from reslab.files.hashing import file_digest, hash_arrays, hash_json
from reslab.models.spec import NetSpec

__all__ = ["cached_scores", "scores_key"]

_SCHEMA = 1
_LARGEST_CACHE = 2 << 30  # bytes
_VERSIONS = ("torch", "numpy", "pillow")  # that may change a pixel or a score
_CODE = ("data", "evaluation", "models", "tasks")  # likewise
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def scores_key(
    spec: NetSpec,
    weights_sha256: str,
    split: Samples,
    normalization: Normalization,
    protocol: EvaluationProtocol,
    device: str,
    task: str = ONE_LABEL.task,
) -> str:
    """Hex sha256 of all that scores depend on; how many images go into a forward pass is none of it.

    Args:
        spec: the network.
        weights_sha256: of its weights.
        split: the images. Of files in a folder the times of their last changes count as well.
        normalization: of the inputs.
        protocol: the views, and what is averaged over them.
        device: torch's name of what computes.
        task: of the network, which says what probabilities are.
    """
    return hash_json(
        {
            "schema": _SCHEMA,
            "net": spec.to_dict(),
            "weights": weights_sha256,
            "data": split.digest,
            "seen": split.image_shape if not isinstance(split, PhotoSplit) else split.preprocessing.to_dict(),
            "changed": _times(split),
            "normalization": hash_arrays(normalization.mean, normalization.std),
            "protocol": protocol.to_dict(),
            "device": device,
            "task": task,
            "versions": {name: _version(name) for name in _VERSIONS},
            "code": _code_digest(),
        }
    )


def cached_scores(
    key: str, shape: tuple[int, int], compute: Callable[[], Scores], *, largest_cache: int = _LARGEST_CACHE
) -> tuple[Scores, bool]:
    """Scores from the user's cache, or computed and put there.

    A file that is damaged is computed anew, and one that cannot be written is done without. The files that were not
    used for the longest time are removed where all together take too much.

    Args:
        key: of the scores.
        shape: that they have.
        compute: where they are not there.
        largest_cache: bytes that all files may take.

    Returns:
        The scores, and whether they were there.
    """
    path = cache_folder("scores") / f"{key}.npz"
    found = _read(path, shape)
    if found is not None:
        return found, True
    scores = compute()
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, scores=scores)  # not compressed, but with checksums
        _prune(path.parent, path, largest_cache)
    except OSError:
        pass  # no room, or a folder that is not ours: nothing is lost but time
    return scores, False


def _times(split: Samples) -> Any:
    """When each file was changed last: a split's digest knows names and sizes alone."""
    if not isinstance(split, PhotoSplit) or not isinstance(split.files, FolderFiles):
        return None
    paths = (Path(split.files.show(number)) for number in split.chosen.tolist())
    try:
        return hash_arrays(np.array([path.stat().st_mtime_ns for path in paths], np.int64))
    except OSError:
        return None  # reading the file will say what is wrong


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@cache
def _code_digest() -> str:
    """Sha256 of the modules that scores come from: while they are worked on, a version number says too little."""
    package = Path(__file__).parents[1]
    paths = sorted(path for folder in _CODE for path in (package / folder).glob("*.py"))
    return hash_json({str(path.relative_to(package)): file_digest(path) for path in paths})


def _read(path: Path, shape: tuple[int, int]) -> Scores | None:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            scores = content["scores"]
        if scores.dtype != np.float32 or scores.shape != shape:
            return None
    except _DAMAGE:
        return None
    with suppress(OSError):
        path.touch()  # by this time of use the oldest are found
    found: Scores = scores
    return found


def _prune(folder: Path, newest: Path, largest: int) -> None:
    files = [(path.stat(), path) for path in folder.glob("*.npz") if path != newest]
    total = newest.stat().st_size + sum(status.st_size for status, _ in files)
    for status, path in sorted(files, key=lambda entry: entry[0].st_mtime_ns):
        if total <= largest:
            return
        path.unlink(missing_ok=True)
        total -= status.st_size
