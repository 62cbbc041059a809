"""What a network says of every image of a split, under a protocol: views computed in threads while it runs."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from reslab.data.batches import to_channels_last
from reslab.data.dataset import Images, Samples
from reslab.data.normalization import Normalization
from reslab.data.photos import PhotoSplit
from reslab.environment import available_cores
from reslab.errors import DataError
from reslab.evaluation.error_rates import EVALUATION_BATCH
from reslab.evaluation.protocols import EvaluationProtocol, OneCrop
from reslab.evaluation.views import Probabilities, softmax
from reslab.models.devices import exact_arithmetic
from reslab.models.features import FeatureNetwork

__all__ = ["Scores", "average_scores", "predict_split"]

Scores = NDArray[np.float32]
"""(N, num_classes) probabilities."""

_PIXELS_A_PASS = 16 * 224 * 224  # unless told otherwise: what suits a processor's caches and small memories
_PENDING_PIXELS = 64_000_000  # of views that wait for others of their shape


def predict_split(
    model: FeatureNetwork,
    split: Samples,
    normalization: Normalization,
    protocol: EvaluationProtocol,
    *,
    batch_size: int | None = None,
    advance: Callable[[int], object] | None = None,
    probabilities: Probabilities = softmax,
) -> Scores:
    """Probabilities of every image under a protocol; the network's training flag is left as it was.

    Args:
        model: (N, C, H, W) to (N, num_classes) logits, on the device where it is to run.
        split: the images, in files or in memory.
        normalization: that the network was trained with; a mean per pixel stands as its mean over the pixels where
            views have another size than its own.
        protocol: the views, and what is averaged over them.
        batch_size: views of one shape in a forward pass at most; 16 of 224x224 pixels, and as many pixels of others up
            to 250 views, by default. The result depends on it by rounding errors alone.
        advance: told of the number of images done.
        probabilities: what the network's task makes of logits.

    Raises:
        DataError: an image cannot be read, or not be used so.
    """
    passes = _Passes(model, normalization, protocol, len(split), batch_size, advance, probabilities)
    was_training = model.training
    model.eval()
    try:
        with exact_arithmetic(passes.device), torch.inference_mode():
            for index, views in _prepared(split, protocol):
                passes.add(index, views)
            passes.flush()
    finally:
        model.train(was_training)
    return passes.scores


def average_scores(members: Sequence[Scores]) -> Scores:
    """An ensemble's probabilities: the mean of its members' (Sec. 4.1, Table 5)."""
    total = members[0].astype(np.float64)
    for scores in members[1:]:
        total += scores
    total /= len(members)
    return total.astype(np.float32)


class _Passes:
    """Collects views of equal shapes into forward passes, and what these say of each image."""

    def __init__(
        self,
        model: FeatureNetwork,
        normalization: Normalization,
        protocol: EvaluationProtocol,
        num_images: int,
        batch_size: int | None,
        advance: Callable[[int], object] | None,
        probabilities: Probabilities,
    ) -> None:
        self.probabilities = probabilities
        self.model, self.normalization, self.protocol = model, normalization, protocol
        self.device = next(model.parameters()).device
        self.batch_size, self.advance = batch_size, advance
        self.scores: Scores = np.zeros((num_images, model.num_classes), np.float32)
        self.sums: dict[int, tuple[NDArray[np.float64], int]] = {}  # of unfinished images, with the views to come
        self.num_views: dict[int, int] = {}
        self.waiting: dict[tuple[int, ...], list[tuple[int, Images]]] = {}
        self.pending_pixels = 0

    def add(self, index: int, views: list[Images]) -> None:
        """An image's views, (V, H, W, C) for each shape."""
        self.num_views[index] = sum(map(len, views))
        self.sums[index] = np.zeros(self.model.num_classes), self.num_views[index]
        for same in views:
            shape = same.shape[1:]
            self.pending_pixels += len(same) * shape[0] * shape[1]
            waiting = self.waiting.setdefault(shape, [])
            waiting += [(index, view) for view in same]
            limit = self.batch_size or max(1, min(EVALUATION_BATCH, _PIXELS_A_PASS // (shape[0] * shape[1])))
            while len(waiting) >= limit:
                self._run(waiting[:limit])
                del waiting[:limit]
        if self.pending_pixels > _PENDING_PIXELS:
            self.flush()

    def flush(self) -> None:
        """Runs whatever waits."""
        for waiting in self.waiting.values():
            if waiting:
                self._run(waiting)
        self.waiting.clear()

    def _run(self, batch: list[tuple[int, Images]]) -> None:
        images = np.stack([view for _, view in batch])
        _, height, width, _ = images.shape
        self.pending_pixels -= len(images) * height * width
        inputs = to_channels_last(self.normalization.at(height, width)(images))
        found = self.protocol.predict(self.model, inputs.to(self.device, non_blocking=True), self.probabilities).numpy()
        num_done = 0
        for (index, _), scores in zip(batch, found, strict=True):
            total, left = self.sums[index]
            total += scores
            self.sums[index] = total, left - 1
            if left == 1:
                self._finish(index)
                num_done += 1
        if self.advance and num_done:
            self.advance(num_done)

    def _finish(self, index: int) -> None:
        total, _ = self.sums.pop(index)
        mean = torch.from_numpy(total / self.num_views.pop(index))[None]
        self.scores[index] = (self.probabilities(mean) if self.protocol.average == "logits" else mean)[0].numpy()


def _prepared(split: Samples, protocol: EvaluationProtocol) -> Iterator[tuple[int, list[Images]]]:
    """Every image's index and views, in order, computed ahead in threads, as Pillow lets go of the lock."""
    as_they_are = isinstance(protocol, OneCrop) and protocol.preprocessing is None
    if as_they_are and not isinstance(split, PhotoSplit):
        for start in range(0, len(split), EVALUATION_BATCH):
            for index, image in enumerate(split.read(start, start + EVALUATION_BATCH), start):
                yield index, [image[np.newaxis]]
        return

    def views(index: int) -> list[Images]:
        if not isinstance(split, PhotoSplit):
            pixels = split.read(index, index + 1)[0]
            return protocol.views(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))
        image = split.image(index)
        try:
            return [split.preprocessing(image)[np.newaxis]] if as_they_are else protocol.views(image)
        except DataError as error:
            raise split.named(error, index) from None

    num_threads = available_cores()
    pool = ThreadPoolExecutor(num_threads, "views")
    ahead: deque[tuple[int, Future[list[Images]]]] = deque()
    try:
        for index in range(len(split)):
            ahead.append((index, pool.submit(views, index)))
            if len(ahead) > 4 * num_threads:
                done, future = ahead.popleft()
                yield done, future.result()
        for done, future in ahead:
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
