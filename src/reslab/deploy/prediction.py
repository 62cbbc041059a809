"""From images to labels: decoding in threads, while the network runs."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reslab.data.dataset import Images
from reslab.data.decoding import decode_image, upright
from reslab.data.names import is_image_name, is_unreadable_name, walk
from reslab.data.preprocessing import Preprocessing
from reslab.deploy.deployed import Deployed, Logits
from reslab.environment import available_cores
from reslab.errors import DataError
from reslab.tasks import Task, find_task
from reslab.texts import show_name

__all__ = [
    "AnyImage",
    "NamedImage",
    "Prediction",
    "UnnamedImage",
    "decode_any",
    "find_images",
    "predict",
    "read_image",
    "usual_batch_size",
]


@dataclass(frozen=True, eq=False)
class NamedImage:
    """An image that is no file: of standard input, of an address.

    Args:
        name: by which its prediction calls it.
        read: gives an image file's bytes, or raises DataError.
    """

    name: str
    read: Callable[[], bytes]


UnnamedImage: TypeAlias = bytes | Image.Image | NDArray[np.uint8] | NamedImage
AnyImage: TypeAlias = Path | str | UnnamedImage

_PIXELS_A_BATCH = 16 * 224 * 224
_LARGEST_BATCH = 128
_RUNNING = 2  # batches handed to the engine: one runs, one waits


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a network says of an image.

    Args:
        path: of the file; of an image in memory, its number among those that were given, as a path.
        labels: the classes with the highest probabilities, the highest first; none if there is an error. Of a network
            with several labels an image, those whose probability reaches the threshold: there may be none.
        probabilities: from 0 to 1, of `ranked`.
        error: why the file could not be used; None if it could.
        abstained: whether the highest probability is below the threshold that was asked for.
        name: of an image that is no file: its address, or `-` for standard input.
        others: of a network with several labels an image, further ones whose probabilities are told; else None.
    """

    path: Path
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str | None = None
    abstained: bool = False
    name: str | None = None
    others: tuple[str, ...] | None = None

    @property
    def ranked(self) -> tuple[str, ...]:
        """The classes that probabilities are told of, the most probable first; it begins with the labels."""
        return (*self.labels, *(self.others or ()))

    @property
    def label(self) -> str | None:
        """The class with the highest probability; None if there is an error, or if that is below the threshold."""
        return None if self.abstained or not self.labels else self.labels[0]

    @property
    def probability(self) -> float | None:
        """The highest probability, from 0 to 1; None if there is an error."""
        return self.probabilities[0] if self.probabilities else None

    @property
    def shown_path(self) -> str:
        """The path as a line of text; bytes that are none stay visible."""
        return show_name(self.path if self.name is None else self.name)

    def to_dict(self) -> dict[str, Any]:
        """As plain values; `ranked`, which the probabilities are of, where an image has several labels."""
        return {
            "path": os.fsencode(self.path if self.name is None else self.name).decode(errors="backslashreplace"),
            "label": self.label,
            "probability": self.probability,
            "abstained": self.abstained,
            "labels": list(self.labels),
            **({} if self.others is None else {"ranked": list(self.ranked)}),
            "probabilities": list(self.probabilities),
            "error": self.error,
        }


def predict(
    deployed: Deployed,
    images: Iterable[AnyImage],
    *,
    top: int = 5,
    threshold: float | None = None,
    batch_size: int | None = None,
    decoders: int | None = None,
) -> Iterator[Prediction]:
    """The labels of images, in their order; one that cannot be used has an error instead.

    Nothing is read before the first result is asked for, and then some batches ahead at most: memory does not depend
    on the number of images. Neither batch size nor decoders change a result, except for rounding.

    Args:
        deployed: the network, as `load_deployed` or `deploy_network` give it.
        images: files by their paths, files' bytes, Pillow's images, or arrays, (H, W), (H, W, 1) or (H, W, 3) uint8.
        top: labels an image, as many as there are classes at most.
        threshold: probability below which the network abstains, by default 0, at which it never does; of a network
            with several labels an image, from which on it has a label, 0.5 by default.
        batch_size: images a forward pass; `usual_batch_size` by default.
        decoders: threads that decode; as many as there are cores by default. Pillow decodes and resizes outside of
            Python's lock, and the system shares the cores out between them and the engine's threads by what there is to
            do: at 224 pixels a decoder is faster than an int8 ResNet-50, and waits.

    Raises:
        DataError: counts that are not positive, or a threshold that is no probability.
    """
    threshold = find_task(deployed.about.task).default_threshold if threshold is None else threshold
    if not 0 <= threshold <= 1:
        raise DataError(f"the threshold must be a probability, from 0 to 1, not {threshold}.")
    batch_size = usual_batch_size(deployed.preprocessing) if batch_size is None else batch_size
    decoders = available_cores() if decoders is None else decoders
    if min(top, batch_size, decoders) < 1:
        raise DataError("labels, images a batch and decoders must be positive.")
    return _predictions(deployed, images, top, threshold, batch_size, decoders)


def usual_batch_size(preprocessing: Preprocessing) -> int:
    """16 images of 224x224, and as many pixels of others: their activations fit a processor's caches about as well."""
    return max(1, min(_LARGEST_BATCH, _PIXELS_A_BATCH // (preprocessing.height * preprocessing.width)))


def find_images(paths: Iterable[Path | str]) -> Iterator[Path]:
    """Files as they are, and of folders every image file below, by name; without following links to folders.

    Photos in formats that are not read are among them: each gets a sentence of its own.

    A folder without images, or one that is closed to us, is yielded itself, and no file can be read from it: it shall
    not go unnoticed.
    """
    for given in paths:
        path = Path(given)
        if not path.is_dir():
            yield path
            continue
        found, closed = False, list[str]()
        for folder, files in walk(path, closed):
            for name in files:
                if is_image_name(name) or is_unreadable_name(name):
                    found = True
                    yield Path(folder, name)
        yield from map(Path, closed)
        if not found and not closed:
            yield path


def read_image(image: AnyImage, preprocessing: Preprocessing) -> Images:
    """The network's view of an image, (H, W, C) uint8, turned upright where the camera says how it was held.

    Args:
        image: as for `predict`.
        preprocessing: of the network.

    Raises:
        DataError: it is missing, damaged, too large, or no image; the message does not repeat its name.
    """
    return preprocessing(decode_any(image, preprocessing.channels))


def decode_any(image: AnyImage, channels: int) -> Image.Image:
    """An image as Pillow's, upright, whole.

    Args:
        image: as for `predict`.
        channels: of the network, for which files are decoded.

    Raises:
        DataError: as `read_image`.
    """
    if isinstance(image, Image.Image):
        return upright(image)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,)):
            raise DataError(f"an array of an image is (H, W), (H, W, 1) or (H, W, 3) uint8, not {_kind(image)}.")
        if not image.size:
            raise DataError("the array has no pixels.")
        return Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    if isinstance(image, NamedImage):
        image = image.read()
    if not isinstance(image, str | Path | bytes):
        raise DataError(f"an image is a path, bytes, an image of Pillow or an array, not {type(image).__name__}.")
    source = image if isinstance(image, bytes) else Path(image)
    if isinstance(source, Path) and source.is_dir():
        raise DataError("it is a folder without images.")
    return decode_image(source, channels)


def _kind(array: NDArray[Any]) -> str:
    return f"{array.dtype} of shape {'x'.join(map(str, array.shape)) or 'a single number'}"


def _predictions(
    deployed: Deployed, images: Iterable[AnyImage], top: int, threshold: float, batch_size: int, decoders: int
) -> Iterator[Prediction]:
    pool = ThreadPoolExecutor(decoders, "decoding")
    running: deque[tuple[list[Prediction], Future[Logits] | None]] = deque()
    try:
        for batch in _batches(_decoded(pool, images, deployed.preprocessing, batch_size + decoders), batch_size):
            views = [view for _, view in batch if view is not None]
            running.append(([named for named, _ in batch], deployed.submit(np.stack(views)) if views else None))
            if len(running) > _RUNNING:
                yield from _labelled(deployed, *running.popleft(), top, threshold)
        while running:
            yield from _labelled(deployed, *running.popleft(), top, threshold)
    finally:
        pool.shutdown(cancel_futures=True)


_View = tuple[Prediction, Images | None]  # what is to be said of an image, as yet without labels


def _decoded(
    pool: ThreadPoolExecutor, images: Iterable[AnyImage], preprocessing: Preprocessing, ahead: int
) -> Iterator[_View]:
    """Every image's view or error, in order, `ahead` images being decoded beforehand."""

    def decode(number: int, image: AnyImage) -> _View:
        path = Path(image) if isinstance(image, str | Path) else Path(str(number))
        named = Prediction(path=path, name=image.name if isinstance(image, NamedImage) else None)
        try:
            return named, read_image(image, preprocessing)
        except DataError as error:
            return replace(named, error=str(error)), None

    waiting: deque[Future[_View]] = deque()
    for number, image in enumerate(images):
        waiting.append(pool.submit(decode, number, image))
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
    deployed: Deployed, images: list[Prediction], logits: "Future[Logits] | None", top: int, threshold: float
) -> Iterator[Prediction]:
    task, names = find_task(deployed.about.task), deployed.about.class_names
    found = logits.result() if logits else np.empty((0, len(names)), np.float32)
    rows = iter(_probabilities(task, found))
    for named in images:
        if named.error is not None:
            yield named
            continue
        probabilities = next(rows)
        if not np.isfinite(probabilities).all():
            yield replace(named, error="the network answers it with what is no number: its weights are at fault.")
            continue
        answer = task.answer(probabilities, names, top, threshold)
        yield replace(
            named,
            labels=answer.labels,
            probabilities=answer.probabilities,
            abstained=answer.abstained,
            others=answer.others,
        )


def _probabilities(task: Task, logits: Logits) -> NDArray[np.float64]:
    """(N, num_classes); NaN for an image of which a logit is no finite number."""
    finite = np.isfinite(logits).all(axis=1)
    found = np.full(logits.shape, np.nan)
    found[finite] = task.array_probabilities(logits[finite])
    return found
