"""How published weights see images, by their cards. Nothing is loaded."""

from reslab.data.normalization import Normalization
from reslab.data.preprocessing import Preprocessing
from reslab.models.released import WeightCard
from reslab.models.zoo import parse_model
from reslab.trained.description import LARGEST_WHOLE_SIDE, Description, usual_view

__all__ = ["describe_card", "view_of_card"]


def describe_card(card: WeightCard) -> Description:
    """How published weights see images."""
    spec = parse_model(card.model)
    view = view_of_card(card, card.input_size, spec.in_channels)
    return Description(
        name=card.name,
        model=card.model,
        preprocessing=view,
        sees_whole=min(view.height, view.width) <= LARGEST_WHOLE_SIDE,
        num_classes=spec.num_classes,
        classes=None,
        normalization=Normalization.per_channel(card.mean, card.std, spec.in_channels),
    )


def view_of_card(card: WeightCard | None, side: int, channels: int) -> Preprocessing:
    """The view that published weights were tested with, for another size in proportion; the usual one for others.

    Args:
        card: of the weights.
        side: of the network's input, in pixels.
        channels: likewise.
    """
    if card is None:
        return usual_view(side, side, channels)
    resize = round(side * card.resize / card.input_size)
    return usual_view(side, side, channels, resize=resize, interpolation=card.interpolation)
