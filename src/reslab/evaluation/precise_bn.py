"""Batch-norm statistics as strict averages over many training images, instead of moving averages.

The authors' released models hold such statistics, computed after training.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reslab.data.batches import evaluation_batches
from reslab.data.dataset import Samples
from reslab.data.normalization import Normalization
from reslab.evaluation.changed_weights import save_changed
from reslab.models.devices import exact_arithmetic, own_random_numbers
from reslab.runs import Run
from reslab.trained import Trained

__all__ = ["Measurement", "measure_batch_norm", "precise_batch_norm", "save_measured"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Over which images statistics are measured.

    Args:
        num_images: of train, drawn at random, the same ones every time; all of them where there are fewer.
        batch_size: images a batch; every batch is full, and weighs the same.
        seed: of the run.
        iteration: after which they are measured; with the seed it decides dropout and stochastic depth.
    """

    num_images: int
    batch_size: int
    seed: int
    iteration: int

    def among(self, available: int) -> "Measurement":
        """What can be measured where so many images are there: full batches of them."""
        num_images = min(self.num_images, available)
        batch_size = min(self.batch_size, num_images)
        return replace(self, num_images=num_images // batch_size * batch_size, batch_size=batch_size)

    def describe(self, data_name: str) -> str:
        """What a card says of statistics that were measured after training, over so many images of a data set."""
        return (
            f"strict averages over {self.num_images:,} train images of {data_name} in batches of {self.batch_size}, "
            "measured after training (precise-bn)"
        )


def measure_batch_norm(
    model: nn.Module,
    train: Samples,
    normalization: Normalization,
    wanted: Measurement,
    advance: Callable[[int], object] = lambda _: None,
) -> Measurement:
    """Replaces every batch norm's running statistics by strict averages over training images, seen as in tests.

    The same arguments give the same statistics: torch's generators are seeded for dropout and stochastic depth, which
    statistics of training see, and are left as they were found.

    Args:
        model: changed in place.
        train: the training images.
        normalization: of the network's inputs.
        wanted: over which of them.
        advance: called with the number of images of each batch that is done.

    Returns:
        Over which images it was measured.
    """
    done = wanted.among(len(train))
    # Images of every class, since a folder's come class by class.
    chosen = np.random.default_rng(0).permutation(len(train))[: done.num_images]
    sample = train.subset(chosen.astype(np.int64))
    device = next(model.parameters()).device

    def batches() -> Iterator[Tensor]:
        for images, _ in evaluation_batches(sample, normalization, done.batch_size):
            yield images.to(device)
            advance(len(images))

    with own_random_numbers(device), exact_arithmetic(device):
        torch.manual_seed(_seed(done))
        precise_batch_norm(model, batches())
    return done


def precise_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replaces every batch norm's running statistics by the average over batches of the batches' own statistics.

    Args:
        model: changed in place.
        batches: normalised training images, (N, C, H, W) each.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    was_training = model.training
    model.train()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's sign for a cumulative average
        with torch.no_grad():
            for images in batches:
                model(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(was_training)


def save_measured(run: Run, folder: Path, trained: Trained, note: str, val_error: float | None) -> None:
    """Writes a network with new statistics: its weights, and the run's card with a line on the statistics.

    Errors that no longer hold are left out of the card. All files change at once, under the run's lock.

    Args:
        run: where the network is from.
        folder: where to; the run's own, too, whose weights are then replaced.
        trained: the network, with the sha256 that its weights had in the run.
        note: what was measured.
        val_error: of the network now, in %; None where there are no val images.

    Raises:
        WeightsError: the run's weights are not those that were measured any more.
        WriteError: the folder cannot be written to.
    """

    def change(card: dict[str, Any]) -> None:
        errors = {name: card.get("errors", {}).get(name) for name in ("train_error", "num_val_images")}
        errors |= {} if val_error is None else {"val_error": val_error}
        card["errors"] = {name: value for name, value in errors.items() if value is not None}
        if "calibration" in card:  # the last layer is still divided so; how well that fits is not known any more
            card["calibration"] = {"temperature": card["calibration"]["temperature"]}
        card["batch_norm"] = note

    save_changed(run, folder, trained, change)


def _seed(done: Measurement) -> int:
    digest = hashlib.sha256(f"precise-bn {done.seed} {done.iteration}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
