"""What a recipe has against overfitting: the loss, mixing, averaging. Importing this imports no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from reslab.errors import RecipeError
from reslab.fields import check, knob

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "LossRecipe", "RegularizationRecipe"]


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Loss over all classes at once."""

    kind: ClassVar[str] = "cross-entropy"


@dataclass(frozen=True, kw_only=True)
class BinaryCrossEntropy:
    """Of each class against the rest (arXiv 2110.00476)."""

    kind: ClassVar[str] = "binary-cross-entropy"
    target_threshold: float = knob(
        0.0,
        "A class whose share of a mixed image is above this is wholly there, and any other not at all; 0 keeps the "
        "shares.",
        least=0,
        below=1,
    )

    def __post_init__(self) -> None:
        check(self, RecipeError, "regularization.loss.")


LossRecipe: TypeAlias = CrossEntropy | BinaryCrossEntropy


@dataclass(frozen=True, kw_only=True)
class RegularizationRecipe:
    """What keeps a network from being too sure, besides weight decay; the paper has none of it."""

    label_smoothing: float = knob(
        0.0, "Share of each label that is spread evenly over all classes (arXiv 1512.00567).", least=0, below=1
    )
    mixup: float = knob(
        0.0,
        "Alpha of the mixing of pairs of images (arXiv 1710.09412); 0 for none. With cutmix, each takes half the "
        "batches.",
        least=0,
        most=100,
    )
    cutmix: float = knob(
        0.0,
        "Alpha of the pasting of one image's rectangle into another (arXiv 1905.04899); 0 for none.",
        least=0,
        most=100,
    )
    loss: LossRecipe = knob(CrossEntropy(), "Loss over all classes at once, or of each class against the rest.")
    class_weights: Literal["none", "balanced"] = knob(
        "none",
        "All images count alike in the loss; or balanced: all classes do, however many images each has.",
    )
    ema_decay: float = knob(
        0.0,
        "The weights that a run leaves are an average in which each iteration's weigh so much less than the next "
        "one's; 0 for no averaging.",
        least=0,
        below=1,
    )
    ghost_batch: int = knob(
        0,
        "Batch norm takes its statistics over so many images instead of the whole batch (arXiv 1705.08741): 32 are "
        "those of one of the paper's 8 GPUs. 0 for the whole.",
        least=0,
    )

    def __post_init__(self) -> None:
        check(self, RecipeError, "regularization.")
        if self.class_weights != "none" and (self.mixup or self.cutmix or isinstance(self.loss, BinaryCrossEntropy)):
            raise RecipeError(
                "regularization.class_weights is for cross-entropy of images that are not mixed: leave out mixup and "
                "cutmix, or choose data.sampling = balanced."
            )
        if self.ghost_batch == 1:
            raise RecipeError(
                "regularization.ghost_batch must be 0 or at least 2: batch norm has no use for one image."
            )
