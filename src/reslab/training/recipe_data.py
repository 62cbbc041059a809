"""What a recipe says of data: batches, their normalisation and augmentation. Importing this imports no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from reslab.errors import RecipeError
from reslab.fields import check, knob

__all__ = [
    "AnyImages",
    "Area",
    "ColorRecipe",
    "CropRecipe",
    "DataRecipe",
    "ImagesRecipe",
    "Jitter",
    "NoAugment",
    "NoColor",
    "Pca",
    "PhotoAugment",
    "Photos",
    "Rand",
    "ShorterSide",
    "SmallImages",
    "Trivial",
]

_LARGEST_SIDE = 4096
_INITIAL_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class SmallImages:
    """Images of one size, all in memory (Sec. 4.2)."""

    kind: ClassVar[str] = "small"
    pad: int = knob(4, "Pixels added on every side before the random crop; 0 for no crop.", least=0, most=64)
    pad_with: Literal["mean", "black"] = knob(
        "mean", "What the added pixels are: the mean (zero once normalised), or black."
    )

    def __post_init__(self) -> None:
        check(self, RecipeError, "data.images.")
        if self.pad == 0 and self.pad_with != "mean":
            raise RecipeError("data.images.pad_with = black does nothing where data.images.pad is 0: leave it out.")


@dataclass(frozen=True, kw_only=True)
class ShorterSide:
    """A crop of the photo resized to a random shorter side (the paper)."""

    kind: ClassVar[str] = "shorter-side"
    shorter_side: tuple[int, int] = knob(
        (256, 480), "Least and greatest shorter side, in pixels.", least=1, most=_LARGEST_SIDE
    )

    def __post_init__(self) -> None:
        check(self, RecipeError, "data.images.crop.")
        if self.shorter_side[0] > self.shorter_side[1]:
            raise RecipeError(
                f"data.images.crop.shorter_side must have the smaller one first, not {self.shorter_side}."
            )


@dataclass(frozen=True, kw_only=True)
class Area:
    """A random share of the photo's area and a random aspect ratio, resized (GoogLeNet, and nearly everyone since)."""

    kind: ClassVar[str] = "area"
    area: tuple[float, float] = knob((0.08, 1.0), "Least and greatest share of the area.", above=0, most=1)

    def __post_init__(self) -> None:
        check(self, RecipeError, "data.images.crop.")
        if self.area[0] > self.area[1]:
            raise RecipeError(f"data.images.crop.area must have the smaller one first, not {self.area}.")


CropRecipe: TypeAlias = ShorterSide | Area


@dataclass(frozen=True, kw_only=True)
class NoColor:
    """Colours stay."""

    kind: ClassVar[Literal["none"]] = "none"


@dataclass(frozen=True, kw_only=True)
class Pca:
    """AlexNet's shifts along the principal components of ImageNet's colours."""

    kind: ClassVar[Literal["pca"]] = "pca"
    strength: float = knob(0.1, "Standard deviation, in units of the components' (the paper: 0.1).", least=0, most=1)

    def __post_init__(self) -> None:
        check(self, RecipeError, "data.images.color.")


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """Random brightness, contrast and saturation."""

    kind: ClassVar[Literal["jitter"]] = "jitter"
    strength: float = knob(0.1, "Share by which the three are changed at most.", least=0, most=1)

    def __post_init__(self) -> None:
        check(self, RecipeError, "data.images.color.")


ColorRecipe: TypeAlias = NoColor | Pca | Jitter


@dataclass(frozen=True, kw_only=True)
class NoAugment:
    """Nothing else is done to photos."""

    kind: ClassVar[Literal["none"]] = "none"


@dataclass(frozen=True, kw_only=True)
class Trivial:
    """TrivialAugment (arXiv 2103.10158)."""

    kind: ClassVar[Literal["trivial"]] = "trivial"


@dataclass(frozen=True, kw_only=True)
class Rand:
    """RandAugment (arXiv 1909.13719)."""

    kind: ClassVar[Literal["rand"]] = "rand"
    operations: int = knob(2, "Operations an image.", least=0, most=10)
    magnitude: int = knob(7, "Strength, from 0 to 30.", least=0, most=30)

    def __post_init__(self) -> None:
        check(self, RecipeError, "data.images.auto_augment.")


PhotoAugment: TypeAlias = NoAugment | Trivial | Rand


@dataclass(frozen=True, kw_only=True)
class Photos:
    """Files of any size, decoded when a batch needs them (Sec. 3.4)."""

    kind: ClassVar[str] = "photos"
    train_size: int = knob(
        224,
        "Side of the random crop, in pixels; 0 for what the initial weights were made for.",
        least=0,
        most=_LARGEST_SIDE,
    )
    test_size: int = knob(224, "Side of the central crop in tests; 0 likewise.", least=0, most=_LARGEST_SIDE)
    test_resize: int = knob(
        256, "Shorter side to which photos are resized before that; 0 likewise.", least=0, most=_LARGEST_SIDE
    )
    interpolation: Literal["bilinear", "bicubic"] = knob("bilinear", "Filter of the resizing.")
    crop: CropRecipe = knob(ShorterSide(), "How the part that is seen in training is chosen.")
    color: ColorRecipe = knob(NoColor(), "How colours are changed.")
    auto_augment: PhotoAugment = knob(NoAugment(), "What else is done to them, by a policy.")
    reduced_decoding: bool = knob(
        False,
        "Decode large JPEGs at an eighth to half of their side where the crop keeps twice its pixels each way. That "
        "takes a fifth of the time for 12 megapixels, and changes pixels by less than two grey levels on average.",
    )
    repeats: int = knob(
        1,
        "Times that an epoch shows a photo, each with its own augmentation; the epoch keeps its length and so shows "
        "fewer photos (arXiv 1902.05509).",
        least=1,
        most=64,
    )

    def __post_init__(self) -> None:
        check(self, RecipeError, "data.images.")
        if self.test_resize < self.test_size:
            raise RecipeError(
                f"data.images.test_resize must be at least data.images.test_size, {self.test_size}, "
                f"not {self.test_resize}."
            )
        if isinstance(self.crop, ShorterSide) and self.crop.shorter_side[0] < self.train_size:
            raise RecipeError(
                f"photos with a shorter side of {self.crop.shorter_side[0]} pixels hold no crop of {self.train_size}; "
                "change data.images.crop.shorter_side or data.images.train_size."
            )


@dataclass(frozen=True, kw_only=True)
class AnyImages:
    """What the data are, small images or photos, with the usual fields of either; decided when a run starts."""

    kind: ClassVar[str] = "any"


ImagesRecipe: TypeAlias = SmallImages | Photos | AnyImages


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """Batches, and what is done to all kinds of images."""

    batch_size: int = knob(128, "Images an iteration; two at least, for batch norm.", least=2, most=1 << 20)
    val_images: int = knob(
        0, "Held out of train for validation, the same share of every class; 5,000 in the paper's 45k/5k.", least=0
    )
    val_share: float = knob(
        0.0,
        "Share of train that is held out where the data have no val images of their own; photos that are nearly the "
        "same stay on one side.",
        least=0,
        most=0.5,
    )
    sampling: Literal["shuffled", "balanced"] = knob(
        "shuffled",
        "Each image once an epoch; or balanced: all classes equally often, those of few images by showing these "
        "several times.",
    )
    normalization: Literal["per-pixel-mean", "per-channel", "imagenet", "weights"] = knob(
        "per-pixel-mean",
        "Subtract the mean of every pixel (the paper), or the mean of every channel and divide by its std; imagenet: "
        "the channels' mean and std that everyone uses for ImageNet, so that nothing has to be measured; weights: what "
        "the initial weights were trained with.",
    )
    flip: bool = knob(True, "Mirror every other image, at random.")
    erase: float = knob(0.0, "Share of the images that lose a random rectangle (arXiv 1708.04896).", least=0, most=1)
    initial_scale: float = knob(
        1.0,
        "Progressive resizing: training begins with images scaled to this share of their sides, to a multiple of 4 "
        "pixels, which takes less time; 1 for none.",
        above=0,
        most=1,
    )
    initial_share: float = knob(
        _INITIAL_SHARE, "Share of the iterations that progressive resizing lasts.", least=0, most=1
    )
    images: ImagesRecipe = knob(
        SmallImages(), "Kind of images. small: in memory; photos: in their files; any: as the data are."
    )

    def __post_init__(self) -> None:
        check(self, RecipeError, "data.")
        if self.val_images and self.val_share:
            raise RecipeError("data.val_images and data.val_share both say how much is held out: give one of them.")
        if self.initial_scale == 1 and self.initial_share != _INITIAL_SHARE:
            raise RecipeError(
                f"data.initial_share = {self.initial_share} does nothing where data.initial_scale is 1: leave it out, "
                "or choose a scale below 1."
            )
