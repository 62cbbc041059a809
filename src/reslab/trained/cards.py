"""What a card must say before a network is made of it."""

from pathlib import Path
from typing import Any

from reslab.data.targets import recorded_task
from reslab.errors import WeightsError
from reslab.files.reading import naming
from reslab.files.shapes import Shape, check_shape
from reslab.models.spec import NetSpec

__all__ = ["LARGEST_INPUT", "check_card"]

LARGEST_INPUT = 1 << 14
"""Side of an input, in pixels, at most."""
# What is read of a card, by its kinds (`reslab.files.shapes`); what version 0.1.0 did not write may be missing.
_CARD: Shape = {
    "net": dict,
    "task?": str,
    "classes": [str],
    "data": {"height": int, "width": int},
    "normalization": {"kind": str, "mean": [float], "std": [float]},
    "preprocessing?": ({"height": int, "width": int, "resize?": int, "interpolation?": str}, None),
    "pad_with?": str,
    "sha256?": str,
    "data_spec?": (str, None),
    "val_images?": int,
    "val_names?": [str],
    "calibration?": {"temperature": float},
}


def check_card(path: Path, card: Any) -> None:
    """Holds a card to the kinds of its entries, and its numbers to each other.

    Args:
        path: of the file that holds it, for messages.
        card: as JSON has it.

    Raises:
        WeightsError: an entry is missing or of another kind, or two contradict each other.
    """
    check_shape(path, card, _CARD, WeightsError)
    with naming(path, WeightsError):
        spec = NetSpec.from_dict(card["net"])
        recorded_task(card)
    if spec.num_classes and len(card["classes"]) != spec.num_classes:
        raise WeightsError(
            f"{path} is damaged: it names {len(card['classes'])} classes, and its network has {spec.num_classes}."
        )
    seen = card.get("preprocessing") or card["data"]
    if any(not 1 <= side <= LARGEST_INPUT for side in (seen["height"], seen["width"])):
        raise WeightsError(f"{path} is damaged: its images have {seen['height']} by {seen['width']} pixels.")
