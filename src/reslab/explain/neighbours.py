"""The training images that a network finds most like an image, by the cosine of what its classifier sees of them."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image

from reslab.console import counting
from reslab.data.batches import to_channels_last
from reslab.data.dataset import Images, Samples
from reslab.data.photos import PhotoSplit
from reslab.data.targets import form_of
from reslab.errors import ReslabWarning, WeightsError
from reslab.evaluation.subjects import EvaluationImages, load_subject
from reslab.explain.embedding import Features, embed, nearest
from reslab.trained import Reference, Trained

__all__ = ["Neighbour", "TrainingImages", "picture_of"]


class _Loadable(Protocol):
    reference: Reference
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbour:
    """A training image.

    Args:
        name: of its file below the data's folder, or its number.
        label: its class.
        similarity: cosine of the angle between the two images' features.
        image: the picture, small.
    """

    name: str
    label: str
    similarity: float
    image: Image.Image

    def to_dict(self) -> dict[str, Any]:
        """As plain values, without the picture."""
        name = self.name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        return {"name": name, "label": self.label, "similarity": self.similarity}


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """A run's training images, as its network sees them.

    Args:
        trained: the network.
        split: the images.
        classes: names.
        features: (N, channels).
    """

    trained: Trained
    split: Samples
    classes: tuple[str, ...]
    features: Features

    @classmethod
    def of(cls, network: _Loadable, data_dir: Path | None = None, *, progress: bool = True) -> "TrainingImages":
        """Those of a run.

        Args:
            network: the run, as `reslab.load` gives it.
            data_dir: where named data sets are looked for first.
            progress: whether to show a bar.

        Raises:
            ReslabError: it is no run, does not say which data it was trained on, or they are not there.
        """
        reference = network.reference
        if reference.run is None or reference.data is None:
            raise WeightsError(
                f"{reference.name} does not know its training images; give the folder of a run whose data are a data "
                "set's name or a folder."
            )
        images = EvaluationImages(reference.data, "train", reference.held_out, data_dir, progress)
        subject = load_subject(reference, images, training=True, **network.options)
        if subject.data_sha256 != reference.run.data["splits"].get("train", {}).get("sha256"):
            note = f"{reference.data} has other training images now than {reference.name} was trained on."
            warnings.warn(ReslabWarning(note), stacklevel=2)
        split: Samples = subject.data.split("train")
        with counting("Training images", len(split), enabled=progress) as advance:
            features = embed(subject.trained, split, advance=advance).features
        return cls(subject.trained, split, subject.data.classes, features)

    def nearest(self, views: Images, count: int) -> list[tuple[Neighbour, ...]]:
        """The images most like others.

        Args:
            views: (Q, H, W, C) uint8 as the network sees them.
            count: how many of each.
        """
        model = self.trained.model
        with torch.inference_mode():
            inputs = to_channels_last(self.trained.normalization(views)).to(next(model.parameters()).device)
            queries = model.forward_head(model.forward_features(inputs), pre_logits=True).float().cpu().numpy()
        indices, cosines = nearest(queries, self.features, count)
        return [
            tuple(self._neighbour(int(index), float(cosine)) for index, cosine in zip(row, near, strict=True))
            for row, near in zip(indices, cosines, strict=True)
        ]

    def _neighbour(self, index: int, similarity: float) -> Neighbour:
        name = self.split.name(index) if isinstance(self.split, PhotoSplit) else str(index)
        label = form_of(self.trained.about.task).names(self.split.labels[index], self.classes)
        return Neighbour(name=name, label=label, similarity=similarity, image=picture_of(self.split, index))


def picture_of(split: Samples, index: int, side: int = 320) -> Image.Image:
    """An image of a split in colour, a photo at most so large.

    Args:
        split: that it is of.
        index: of the image.
        side: pixels of a photo's longer side; small images are as they are.

    Raises:
        DataError: it cannot be read.
    """
    if isinstance(split, PhotoSplit):
        image = split.image(index)
        image.thumbnail((side, side))
        return image.convert("RGB")
    pixels = split.read(index, index + 1)[0]
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
