"""What measures look at: a network, trained here, elsewhere or not at all, and images."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reslab.checkpoints import load_checkpoint
from reslab.data import AnyData, Role, load_data
from reslab.data.batches import evaluation_batches
from reslab.data.dataset import Samples
from reslab.data.normalization import Normalization
from reslab.errors import DataError, ReslabError
from reslab.evaluation import evaluate
from reslab.models import parse_model
from reslab.models.build import build
from reslab.models.features import FeatureNetwork
from reslab.models.spec import NetSpec
from reslab.models.weights import load_weights
from reslab.paper.jobs import Job
from reslab.runs import Run
from reslab.trained import Reference, Trained, load_trained

__all__ = ["MeasuredNetwork"]

_BATCH = 128
_ORDER_SEED = 0  # of the images that are looked at: the same ones for every network


class MeasuredNetwork:
    """A job's network and images, loaded when they are asked for.

    Args:
        job: whose subject it is.
        run: the folder of its training, where it has one.
    """

    def __init__(self, job: Job, run: Run | None) -> None:
        self.job, self.run = job, run

    @property
    def has_images(self) -> bool:
        """Whether there are data."""
        return bool(self.job.subject.data)

    @cached_property
    def data(self) -> AnyData:
        """The images, small ones or photos as tests see them."""
        subject = self.job.subject
        if not subject.data:
            raise DataError(f"{self.job.arm} has no images to be measured on; give --data.")
        found = load_data(
            subject.data,
            data_dir=Path(subject.data_dir) if subject.data_dir else None,
            kind="photos" if subject.kind == "photos" else "small",
        )
        return self.trained.about.fit(found) if self.is_trained else found

    @property
    def is_trained(self) -> bool:
        """Whether its weights have learned something."""
        return self.run is not None or bool(self.job.subject.reference)

    @cached_property
    def spec(self) -> NetSpec:
        """The network's description."""
        return self.trained.model.spec if self.is_trained else parse_model(self.job.subject.net)

    @cached_property
    def trained(self) -> Trained:
        """The trained network.

        Raises:
            ReslabError: its files are damaged, or it has not been trained.
        """
        if self.run is not None:
            return load_trained(self.run.folder)
        if not self.job.subject.reference:
            raise ReslabError(f"{self.job.arm} has fresh weights and was not trained.")
        reference = Reference.parse(self.job.subject.reference)
        subject = self.job.subject
        return load_trained(reference, mean=subject.mean or None, std=subject.std or None)

    @property
    def network(self) -> FeatureNetwork:
        """The trained network, or one with fresh weights of the job's seed."""
        return self.trained.model if self.is_trained else self.fresh()

    def fresh(self) -> FeatureNetwork:
        """The network as training begins with it: the weights of the job's seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.job.subject.seed)
            return build(self.spec)

    @cached_property
    def normalization(self) -> Normalization:
        """Of the inputs: the training's own, or the per-pixel mean of the training images."""
        if self.is_trained and self.trained.about.normalization is not None:
            return self.trained.about.normalization
        train = self.data.split("train")
        return Normalization.measure(train.read(0, min(len(train), 50_000)), "per-pixel-mean")

    def split(self, role: Role, num_images: int | None = None) -> Samples:
        """Some of a role's images, the same ones for every network of the same data."""
        split: Samples = self.data.split(role)
        if num_images is None or num_images >= len(split):
            return split
        return split.subset(np.random.default_rng(_ORDER_SEED).permutation(len(split))[:num_images])

    def batches(self, role: Role, num_images: int, batch_size: int = _BATCH) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised images (N, C, H, W) and labels (N,) of a role."""
        yield from evaluation_batches(self.split(role, num_images), self.normalization, batch_size)

    def error(self, network: FeatureNetwork, split: Samples) -> float:
        """Top-1 error rate in %, one view each."""
        return evaluate(network, split, self.normalization).top1_error

    def along_training(self) -> Iterator[tuple[int, FeatureNetwork]]:
        """The iteration and the network of every state that was kept, from the initial one to the trained one."""
        yield 0, self.fresh()
        if self.run is None:
            return
        paths = sorted(self.run.checkpoints.glob("*.pt"), key=lambda path: path.name)
        for path in paths:
            state = load_checkpoint(path)
            if path.stem.rpartition("-")[2].isdigit() and state["iteration"] < int(self.run.record["iterations"]):
                network = build(self.spec)
                load_weights(network, state["model"], replace_head=False)
                yield state["iteration"], network
        yield int(self.run.record["iterations"]), self.trained.model
