"""What the figures of a training are called. Importing this module imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ONE_LABEL_WORDS", "SEVERAL_LABELS_WORDS", "Words"]


@dataclass(frozen=True, kw_only=True)
class Words:
    """Names of figures.

    Args:
        wrong: what the training error counts, on axes and in lines.
        error: what tests count.
        loss: its name.
        figures: of a finished run, by their keys, all in %.
    """

    wrong: str
    error: str
    loss: str
    figures: Mapping[str, str]


ONE_LABEL_WORDS = Words(
    wrong="error",
    error="error",
    loss="cross-entropy",
    figures={
        "train_error": "training error",
        "train_error_clean": "not augmented, in eval mode",
        "val_error": "val error",
        "test_error": "test error",
    },
)

SEVERAL_LABELS_WORDS = Words(
    wrong="wrong labels",
    error="100 - mAP",
    loss="binary cross-entropy",
    figures={
        "train_error": "wrong labels in training",
        "train_error_clean": "not augmented, in eval mode",
        "val_mean_average_precision": "val mAP",
        "val_label_error": "wrong labels on val",
        "test_mean_average_precision": "test mAP",
        "test_label_error": "wrong labels on test",
    },
)
