"""A trained network with what is needed to use it: from a run's folder, or from a weight file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.data.dataset import ImageData
from reslab.data.normalization import Normalization
from reslab.errors import CheckpointError, DataError, WeightsError
from reslab.files.sets import read_set
from reslab.models.build import build
from reslab.models.features import FeatureNetwork
from reslab.models.spec import NetSpec
from reslab.models.weights import CARD_NAME, NORMALIZATION_NAME, WEIGHTS_NAME, load_weights, read_card
from reslab.runs import Run

__all__ = ["Trained", "load_trained"]


@dataclass(frozen=True, eq=False)
class Trained:
    """A network as it was trained.

    Args:
        model: with its weights.
        normalization: of its inputs.
        classes: names, in the order of its outputs; None where nobody wrote them down.
        sha256: of the weight file.
    """

    model: FeatureNetwork
    normalization: Normalization
    classes: tuple[str, ...] | None
    sha256: str

    def check(self, data: ImageData) -> None:
        """Raises DataError unless the data's images and classes are those that the network was trained for."""
        height, width, channels = data.image_shape
        self.normalization.check(height, width, channels)
        spec = self.model.spec
        if (spec.num_classes, spec.in_channels) != (data.num_classes, channels):
            raise DataError(
                f"the network is for {spec.num_classes} classes and {spec.in_channels} channels, but {data.name} has "
                f"{data.num_classes} and {channels}."
            )
        if self.classes is not None and self.classes != data.classes:
            ours, theirs = next(pair for pair in zip(self.classes, data.classes, strict=True) if pair[0] != pair[1])
            raise DataError(f"{data.name} has the class {theirs!r} where the network was trained with {ours!r}.")


def load_trained(folder: Path) -> Trained:
    """What a finished run left in its folder, verified against its card.

    Raises:
        WeightsError: the run is not finished, or a file is damaged.
    """
    return read_set(folder, CARD_NAME, lambda: _load(folder), WeightsError)


def _load(folder: Path) -> Trained:
    card, run = read_card(folder), Run(folder)
    if run.exists:
        try:
            run.check_belongs(card, folder / CARD_NAME)
        except CheckpointError as error:
            raise WeightsError(str(error)) from None
    try:
        spec = NetSpec.from_dict(card["net"])
        normalization = _read_normalization(folder, card["normalization"])
        classes = tuple(card["classes"])
    except (KeyError, TypeError) as error:
        raise WeightsError(f"the card in {folder} lacks {error}.") from None
    model = build(spec)
    load_weights(model, folder / WEIGHTS_NAME, replace_head=False)
    return Trained(model, normalization, classes, card["sha256"])


def _read_normalization(folder: Path, described: dict[str, Any]) -> Normalization:
    if described["kind"] == "per-channel":
        mean, std = described["mean"], described["std"]
        return Normalization.per_channel(tuple(mean), tuple(std), len(mean))
    path = folder / NORMALIZATION_NAME
    try:
        return Normalization.load(path)
    except DataError as error:
        raise WeightsError(f"{path} is missing or damaged: {error}.") from None
