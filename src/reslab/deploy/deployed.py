"""A network that is ready to run, whatever the engine: pixels in, logits out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Self

import numpy as np
from numpy.typing import NDArray

from reslab.data.dataset import Images
from reslab.data.preprocessing import Preprocessing
from reslab.errors import DataError
from reslab.trained import Description, Trained

__all__ = ["Deployed", "Logits", "deploy_network", "in_order"]

Logits = NDArray[np.float32]


class Deployed:
    """A network that is ready to run: (N, H, W, C) uint8 pixels to (N, num_classes) float32 logits.

    Batches are run one after the other in the order in which they were submitted, each on all the threads: on a
    processor that is faster than several at once, and the caller can decode images meanwhile. Use as a context manager,
    or close.

    Args:
        about: how it sees images, and what it answers.
        engine: that runs it.
        submit: starts a batch, and gives its logits when they are there.
        close: ends what `submit` needs.
        metadata: of the file, by key.
    """

    def __init__(
        self,
        about: Description,
        engine: str,
        submit: Callable[[Images], "Future[Logits]"],
        close: Callable[[], object],
        metadata: Mapping[str, str],
    ) -> None:
        self.about, self.engine, self.metadata = about, engine, metadata
        self._submit, self.close = submit, close

    @property
    def name(self) -> str:
        """To call it by in messages."""
        return self.about.name

    @property
    def preprocessing(self) -> Preprocessing:
        """That makes its input of an image file."""
        return self.about.preprocessing

    @property
    def num_classes(self) -> int:
        """Outputs."""
        return self.about.num_classes

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Their names; None where nobody wrote them down."""
        return self.about.classes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, images: Images) -> Logits:
        """The logits of a batch, as in `submit`."""
        return self.submit(images).result()

    def submit(self, images: Images) -> "Future[Logits]":
        """Starts a batch.

        Args:
            images: (N, H, W, C) uint8 of the shape that `preprocessing` has; not to be changed before the result.

        Returns:
            (N, num_classes) float32 logits when they are there, or a DeployError.

        Raises:
            DataError: images of another shape or type.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.preprocessing.shape:
            raise DataError(
                f"{self.name} takes uint8 images of shape {_by(self.preprocessing.shape)}, not {images.dtype} of shape "
                f"{_by(images.shape[1:])}."
            )
        if not len(images):
            raise DataError(f"{self.name} was given a batch of no images.")
        return self._submit(np.ascontiguousarray(images))

    def stream(self, batches: Iterable[Images], *, ahead: int = 2) -> Iterator[Logits]:
        """The logits of batch after batch, while the next ones are being made.

        Args:
            batches: as for `submit`.
            ahead: batches that wait or run at a time.
        """
        rest = iter(batches)
        waiting = [self.submit(images) for images in islice(rest, ahead)]
        while waiting:
            logits = waiting.pop(0).result()
            waiting += [self.submit(images) for images in islice(rest, 1)]
            yield logits


def deploy_network(trained: Trained, threads: int | None = None) -> Deployed:
    """A network of PyTorch behind the same interface.

    Args:
        trained: the network, whose normalisation must be known.
        threads: of torch; all available cores by default.

    Raises:
        ReslabError: nobody knows how the network's inputs are normalised.
    """
    import torch

    from reslab.data.batches import to_channels_last
    from reslab.environment import available_cores

    normalization = trained.about.known_normalization()
    normalization.check(*trained.about.preprocessing.shape)
    network = trained.model.eval().to(memory_format=torch.channels_last)
    torch.set_num_threads(threads or available_cores())

    def run(images: Images) -> Logits:
        with torch.inference_mode():
            logits: Logits = network(to_channels_last(normalization(images))).numpy()
        return logits

    return Deployed(trained.about, "torch", *in_order(run), trained.about.metadata())


def in_order(run: Callable[[Images], Logits]) -> tuple[Callable[[Images], "Future[Logits]"], Callable[[], object]]:
    """`run` in a thread of its own, so that the caller can make the next batch meanwhile."""
    thread = ThreadPoolExecutor(1, "inference")
    return lambda images: thread.submit(run, images), thread.shutdown


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
