"""From image files to labels: decoding in threads, while the network runs."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reslab.data.dataset import Images
from reslab.data.decoding import decode_image
from reslab.data.listing import IMAGE_SUFFIXES
from reslab.data.preprocessing import Preprocessing
from reslab.deploy.runtime import Deployed, Logits
from reslab.environment import available_cores
from reslab.errors import DataError

__all__ = ["Prediction", "find_images", "predict", "read_image", "usual_batch_size"]

_PIXELS_A_BATCH = 16 * 224 * 224
_LARGEST_BATCH = 128
_RUNNING = 2  # batches handed to the engine: one runs, one waits


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says of an image file.

    Args:
        path: of the file.
        labels: the classes with the highest probabilities, the highest first; none if there is an error.
        probabilities: theirs, from 0 to 1.
        error: why the file could not be used; None if it could.
    """

    path: Path
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "path": show_path(self.path),
            "labels": list(self.labels),
            "probabilities": list(self.probabilities),
            "error": self.error,
        }


def predict(
    deployed: Deployed,
    paths: Iterable[Path | str],
    *,
    top: int = 5,
    batch_size: int | None = None,
    decoders: int | None = None,
) -> Iterator[Prediction]:
    """The labels of image files, in the order of the files; a file that cannot be used has an error instead.

    Nothing is read before the first result is asked for, and then some batches ahead at most: memory does not depend
    on the number of files. Neither batch size nor decoders change a result, except for rounding.

    Args:
        deployed: the network, as `load_deployed` or `deploy_network` give it.
        paths: of the files.
        top: labels an image, as many as there are classes at most.
        batch_size: images a forward pass; `usual_batch_size` by default.
        decoders: threads that decode; as many as there are cores by default. Pillow decodes and resizes outside of
            Python's lock, and the system shares the cores out between them and the engine's threads by what there is to
            do: at 224 pixels a decoder is faster than an int8 ResNet-50, and waits.

    Raises:
        DataError: counts that are not positive.
    """
    batch_size = usual_batch_size(deployed.preprocessing) if batch_size is None else batch_size
    decoders = available_cores() if decoders is None else decoders
    if min(top, batch_size, decoders) < 1:
        raise DataError("labels, images a batch and decoders must be positive.")
    return _predictions(deployed, paths, top, batch_size, decoders)


def usual_batch_size(preprocessing: Preprocessing) -> int:
    """16 images of 224x224, and as many pixels of others: their activations fit a processor's caches about as well."""
    return max(1, min(_LARGEST_BATCH, _PIXELS_A_BATCH // (preprocessing.height * preprocessing.width)))


def find_images(paths: Iterable[Path | str]) -> Iterator[Path]:
    """Files as they are, and of folders every image file below, by name; without following links to folders.

    A folder without images is yielded itself, and no file can be read from it: it shall not go unnoticed.
    """
    for given in paths:
        path = Path(given)
        if not path.is_dir():
            yield path
            continue
        found = False
        for folder, folders, files in os.walk(path):
            folders.sort()
            for name in sorted(files):
                if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                    found = True
                    yield Path(folder, name)
        if not found:
            yield path


def read_image(path: Path, preprocessing: Preprocessing) -> Images:
    """The network's view of an image file, (H, W, C) uint8, turned upright where the camera says how it was held.

    Raises:
        DataError: the file is missing, damaged, too large, or no image; the message does not repeat its name.
    """
    if path.is_dir():
        raise DataError("it is a folder without images.")
    return preprocessing(decode_image(path, preprocessing.channels))


def show_path(path: Path) -> str:
    """A path as text; bytes that are none stay visible."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _predictions(
    deployed: Deployed, paths: Iterable[Path | str], top: int, batch_size: int, decoders: int
) -> Iterator[Prediction]:
    pool = ThreadPoolExecutor(decoders, "decoding")
    running: deque[tuple[list[tuple[Path, str | None]], Future[Logits] | None]] = deque()
    try:
        for batch in _batches(_decoded(pool, paths, deployed.preprocessing, batch_size + decoders), batch_size):
            files = [(path, error) for path, _, error in batch]
            views = [view for _, view, _ in batch if view is not None]
            running.append((files, deployed.submit(np.stack(views)) if views else None))
            if len(running) > _RUNNING:
                yield from _labelled(deployed, *running.popleft(), top)
        while running:
            yield from _labelled(deployed, *running.popleft(), top)
    finally:
        pool.shutdown(cancel_futures=True)


_View = tuple[Path, Images | None, str | None]


def _decoded(
    pool: ThreadPoolExecutor, paths: Iterable[Path | str], preprocessing: Preprocessing, ahead: int
) -> Iterator[_View]:
    """Every file's view or error, in order, `ahead` files being decoded beforehand."""

    def decode(path: Path) -> _View:
        try:
            return path, read_image(path, preprocessing), None
        except DataError as error:
            return path, None, str(error)

    waiting: deque[Future[_View]] = deque()
    for path in paths:
        waiting.append(pool.submit(decode, Path(path)))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _batches(views: Iterator[_View], size: int) -> Iterator[list[_View]]:
    batch: list[_View] = []
    for view in views:
        batch.append(view)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _labelled(
    deployed: Deployed, files: list[tuple[Path, str | None]], logits: "Future[Logits] | None", top: int
) -> Iterator[Prediction]:
    rows = iter(logits.result() if logits else ())
    for path, error in files:
        if error is not None:
            yield Prediction(path=path, error=error)
            continue
        row: NDArray[np.float64] = next(rows).astype(np.float64)
        exponents = np.exp(row - row.max())
        probabilities = exponents / exponents.sum()
        best = np.argsort(-probabilities, kind="stable")[:top]
        names = deployed.classes or range(deployed.num_classes)
        yield Prediction(
            path=path,
            labels=tuple(str(names[index]) for index in best),
            probabilities=tuple(float(probabilities[index]) for index in best),
        )
