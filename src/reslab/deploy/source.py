"""What is deployed: a network with all that it takes to use it, from a run or from somebody's weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.data.dataset import ImageData
from reslab.data.imagenet import imagenet_names
from reslab.data.normalization import Normalization
from reslab.data.preprocessing import PHOTO_CROP_SHARE, Interpolation, Preprocessing
from reslab.deploy.engines import DeployError
from reslab.errors import WeightsError
from reslab.evaluation.trained import Trained, load_trained
from reslab.files.hashing import file_digest
from reslab.models import create_model, parse_model, spell
from reslab.models.features import FeatureNetwork
from reslab.models.released import WeightCard, locate_weights
from reslab.models.weights import load_weights, read_card
from reslab.models.zoo import base_name
from reslab.runs import Run

__all__ = ["Source", "source_of_run", "source_of_weights"]

_PHOTO_SIDE = 128  # networks for smaller images see them whole
_IMAGENET_CLASSES = 1000


@dataclass(frozen=True, eq=False)
class Source:
    """A network to deploy.

    Args:
        name: of the run or the weights, for messages.
        model: with its weights.
        preprocessing: that makes its input of an image file.
        normalization: of its inputs; None where nobody knows.
        classes: names, in the order of its outputs; None where nobody wrote them down.
        sha256: of the weight file; None for fresh weights.
    """

    name: str
    model: FeatureNetwork
    preprocessing: Preprocessing
    normalization: Normalization | None
    classes: tuple[str, ...] | None
    sha256: str | None

    def known_normalization(self) -> Normalization:
        """The normalisation.

        Raises:
            DeployError: nobody knows it.
        """
        if self.normalization is None:
            raise DeployError(f"{self.name} does not say how its inputs were normalised; give --mean (and --std).")
        self.normalization.check(*self.preprocessing.shape)
        return self.normalization

    def check(self, data: ImageData) -> None:
        """Raises DataError unless the data's images and classes are those that the network was trained for."""
        Trained(self.model, self.known_normalization(), self.classes, self.sha256 or "").check(data)

    def metadata(self) -> dict[str, str]:
        """What a file says of the network, by key."""
        texts = {"reslab.model": spell(self.model.spec), "reslab.preprocessing": self.preprocessing.to_json()}
        if self.classes is not None:
            texts["reslab.classes"] = json.dumps(self.classes, ensure_ascii=False)
        if self.normalization is not None:
            texts["reslab.normalization"] = json.dumps(self.normalization.to_dict())
        if self.sha256 is not None:
            texts["reslab.weights_sha256"] = self.sha256
        return texts


def source_of_run(folder: Path, *, input_size: int | None = None) -> Source:
    """What a finished run has learned.

    Args:
        folder: the run's.
        input_size: side of the images; those of the run's data by default.

    Raises:
        WeightsError: the run is not finished, or a file is damaged.
    """
    trained = load_trained(folder)
    data = Run(folder).record["data"]
    height, width = (data["height"], data["width"]) if input_size is None else (input_size, input_size)
    channels = trained.model.spec.in_channels
    resize = min(height, width)
    interpolation: Interpolation = "bilinear"
    if described := read_card(folder).get("preprocessing"):  # of photos
        resize = round(described["resize"] * min(height, width) / min(described["height"], described["width"]))
        interpolation = described["interpolation"]
    preprocessing = Preprocessing(
        height=height, width=width, channels=channels, resize=resize, interpolation=interpolation
    )
    return Source(str(folder), trained.model, preprocessing, trained.normalization, trained.classes, trained.sha256)


def source_of_weights(
    model: str,
    weights: str | None,
    *,
    overrides: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    input_size: int | None = None,
) -> Source:
    """A named network with published weights, those of a file, or fresh ones.

    Args:
        model: name or spelling.
        weights: a file, its address, or the name of released weights; None for fresh ones.
        overrides: fields of the network that differ from the spelling's.
        defaults: fields of the network where neither gives them.
        mean: of each channel, pixels in [0, 1]; the card's by default, if there is one.
        std: likewise; 1 where only a mean is given.
        input_size: side of the images; what the network was made for by default.

    Raises:
        ReslabError: an unknown network or weights, or weights that do not fit.
    """
    spec = parse_model(model, overrides, defaults)
    network = create_model(spec)
    card, sha256 = None, None
    if weights is not None:
        path, card = locate_weights(spec, base_name(model), weights)
        _load_whole(network, path)
        sha256 = file_digest(path)
    if card:
        mean, std = mean or card.mean, std or card.std
    if std and not mean:
        raise WeightsError("--std needs --mean too.")
    normalization = Normalization.per_channel(mean, std or (1.0,), spec.in_channels) if mean else None
    classes = tuple(imagenet_names().values()) if card and card.input_size > _PHOTO_SIDE else None
    if classes and len(classes) != spec.num_classes:
        classes = None
    preprocessing = _preprocessing(card, input_size or spec.usual_input_size, spec.in_channels)
    return Source(weights or spell(spec), network, preprocessing, normalization, classes, sha256)


def _load_whole(network: FeatureNetwork, path: Path) -> None:
    """Loads a file whose classifier must fit, too, and says how to make it so where only that does not."""
    import warnings

    from reslab.models.weights import HeadReplacedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", HeadReplacedWarning)
        try:
            load_weights(network, path)
        except HeadReplacedWarning as warning:
            raise WeightsError(
                f"{path} does not fit {spell(network.spec)}: {warning} Give --num-classes as in the file."
            ) from None


def _preprocessing(card: WeightCard | None, side: int, channels: int) -> Preprocessing:
    if card:
        resize = round(side * card.resize / card.input_size)
        interpolation = "bicubic" if card.interpolation == "bicubic" else "bilinear"
    else:
        resize, interpolation = round(side / PHOTO_CROP_SHARE) if side > _PHOTO_SIDE else side, "bilinear"
    return Preprocessing(
        height=side,
        width=side,
        channels=channels,
        resize=resize,
        interpolation="bicubic" if interpolation == "bicubic" else "bilinear",
    )
