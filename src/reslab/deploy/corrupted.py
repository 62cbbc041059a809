"""Error rates under the fifteen common corruptions: `reslab eval NET --corruptions`."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reslab.console import counting
from reslab.data import Role
from reslab.data.batches import to_channels_last
from reslab.data.dataset import Images, Samples
from reslab.deploy.testing import Testable
from reslab.environment import available_cores
from reslab.errors import DataError
from reslab.evaluation.corruptions import CORRUPTIONS, NUM_STRENGTHS, Scale, corrupt
from reslab.evaluation.subjects import choose_images, load_subject
from reslab.trained.description import LARGEST_WHOLE_SIDE
from reslab.trained.loading import choose_device

__all__ = ["CorruptionReport", "evaluate_corruptions"]

_PIXELS_A_CHUNK = 16 * 224 * 224
_LEAST_SIDE = 8
_PARAMETERS: dict[Scale, str] = {"small": "CIFAR-10-C", "photo": "ImageNet-C"}

Run = Callable[[Images], NDArray[np.float32]]
"""(N, H, W, C) uint8 to (N, num_classes) logits."""


@dataclass(frozen=True, kw_only=True)
class CorruptionReport:
    """Error rates of a network on corrupted images, all in %.

    Args:
        model: as it was named.
        data: name of the images.
        split: their role.
        num_images: of each corruption and strength.
        parameters: whose strengths: `CIFAR-10-C` or `ImageNet-C`.
        seed: of the random numbers.
        clean_error: top-1 error on the images as they are.
        errors: top-1 errors by corruption, for strengths 1 to 5.
        note: what a user must know of the weights, a sentence; or empty.
    """

    model: str
    data: str
    split: str
    num_images: int
    parameters: str
    seed: int
    clean_error: float
    errors: Mapping[str, tuple[float, ...]]
    note: str = ""

    @property
    def mean_error(self) -> float:
        """Over all corruptions and strengths."""
        return float(np.mean(list(self.errors.values())))

    def mean_of(self, name: str) -> float:
        """Over a corruption's strengths."""
        return float(np.mean(self.errors[name]))

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        found = {name: value for name, value in vars(self).items() if name != "note"}
        return {
            **found,
            "errors": {name: list(errors) for name, errors in self.errors.items()},
            "mean_errors": {name: self.mean_of(name) for name in self.errors},
            "mean_error": self.mean_error,
            "protocol": "corruptions",
        }

    def __str__(self) -> str:
        return (
            f"mean error {self.mean_error:.2f} % over {len(self.errors)} corruptions in {NUM_STRENGTHS} strengths "
            f"({self.parameters}'s), {self.clean_error:.2f} % without; {self.num_images:,} {self.split} images of "
            f"{self.data}"
        )


def evaluate_corruptions(
    network: Testable,
    *,
    data: str | Path | None = None,
    split: Role | None = None,
    num_images: int | None = None,
    seed: int = 0,
    device: str | None = None,
    data_dir: Path | None = None,
    progress: bool = False,
) -> CorruptionReport:  # what is tested, on what, how, and where
    """Error rates of a network on images that are corrupted here, as the network sees them: one view each.

    Images of up to 128 pixels a side are given CIFAR-10-C's strengths, and larger ones ImageNet-C's.

    Args:
        network: as `reslab.load` gives it.
        data: a data set's name or place; the run's own by default.
        split: of the data; test where there is one, and val otherwise, by default.
        num_images: drawn at random, the same ones every time; all by default.
        seed: of the corruptions.
        device: auto, cpu, cuda, cuda:1, mps; of an exported file the CPU.
        data_dir: where named data sets are looked for first.
        progress: whether to show it.

    Raises:
        ReslabError: something is not there, or does not fit together.
    """
    if num_images is not None and num_images < 1:
        raise DataError(f"it takes at least one image, not {num_images}.")
    if not 0 <= seed < 2**63:
        raise DataError(f"the seed must be between 0 and 2^63 - 1, not {seed}.")
    images = choose_images([network.reference], data=data, split=split, data_dir=data_dir, progress=progress)
    run: Run
    if network.reference.exported:
        seen = network.about.fit(images.load(network.about.data_kind))
        if seen.image_shape != network.about.preprocessing.shape:
            raise DataError(f"{network.reference.name} takes images of another size than those of {seen.name}.")
        run, note = network.deployed, ""
    else:
        subject = load_subject(network.reference, images, **network.options)
        seen, note = subject.data, subject.about.note
        run = _runner(subject.trained.model.to(choose_device(device)), subject.trained.normalization)
    seen.need_one_label("errors under corruptions are")
    samples = seen.split(images.role)
    chosen = np.arange(len(samples))
    if num_images is not None and num_images < len(samples):
        chosen = np.sort(np.random.default_rng(0).permutation(len(samples))[:num_images])
    side = min(seen.image_shape[:2])
    if side < _LEAST_SIDE:
        raise DataError(f"images of {side} pixels a side are too small to be corrupted; it takes {_LEAST_SIDE}.")
    scale: Scale = "small" if side <= LARGEST_WHOLE_SIDE else "photo"
    with counting("Corrupting", len(chosen) * (1 + len(CORRUPTIONS) * NUM_STRENGTHS), enabled=progress) as advance:
        wrong = _wrong(run, samples.subset(chosen.astype(np.int64)), chosen.tolist(), scale, seed, advance)
    rates = {name: 100 * count / len(chosen) for name, count in wrong.items()}
    return CorruptionReport(
        model=network.reference.name,
        data=seen.name,
        split=images.role,
        num_images=len(chosen),
        parameters=_PARAMETERS[scale],
        seed=seed,
        clean_error=rates[("", 0)],
        errors={name: tuple(rates[(name, step)] for step in range(1, NUM_STRENGTHS + 1)) for name in CORRUPTIONS},
        note=note,
    )


def _wrong(
    run: Run, samples: Samples, indices: list[int], scale: Scale, seed: int, advance: Callable[[int], None]
) -> dict[tuple[str, int], int]:
    """Wrong answers by corruption and strength, with ("", 0) for the images as they are; each is read once."""
    asked = [("", 0), *((name, step) for name in CORRUPTIONS for step in range(1, NUM_STRENGTHS + 1))]
    wrong = dict.fromkeys(asked, 0)
    height, width = samples.image_shape[:2]
    size = max(1, min(250, _PIXELS_A_CHUNK // (height * width)))
    with _workers() as together:
        for start in range(0, len(samples), size):
            pixels, labels = samples.read(start, start + size), samples.labels[start : start + size]
            numbers = indices[start : start + size]
            for name, step in asked:
                corrupted = pixels
                if name:
                    spoil = partial(_spoilt, name=name, strength=step, scale=scale, seed=seed)
                    corrupted = np.stack(list(together.map(spoil, pixels, numbers)))
                wrong[name, step] += int((run(corrupted).argmax(axis=1) != labels).sum())
                advance(len(labels))
    return wrong


def _spoilt(image: Images, index: int, *, name: str, strength: int, scale: Scale, seed: int) -> Images:
    return corrupt(image, name, strength, scale, seed=seed, index=index)


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(available_cores(), "corrupting")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _runner(model: torch.nn.Module, normalization: Callable[[Images], Any]) -> Run:
    device = next(model.parameters()).device
    model.eval()

    def run(images: Images) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits: NDArray[np.float32] = (
                model(to_channels_last(normalization(images)).to(device)).float().cpu().numpy()
            )
        return logits

    return run
