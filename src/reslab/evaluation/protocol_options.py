"""What may be chosen of a test protocol, and the protocol that it comes to for a network.

A protocol is added here: its options as fields, which become flags and arguments, and what makes it of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from reslab.data.preprocessing import LARGEST_SIDE, Preprocessing
from reslab.errors import DataError
from reslab.fields import KIND, Leaf, build, check, knob, knobs
from reslab.models.spec import NetSpec
from reslab.trained.description import Description

if TYPE_CHECKING:
    from reslab.evaluation.protocols import EvaluationProtocol

__all__ = ["PROTOCOLS", "ProtocolOptions", "choose_protocol", "describe_protocol", "protocol_leaves", "read_options"]

Average = Literal["probabilities", "logits"]
_LARGEST_SHIFT = 8


@dataclass(frozen=True)
class Target:
    """What a protocol is made for.

    Args:
        about: the network.
        spec: its description.
        image_shape: height, width and channels of the images as their data give them.
        whole: whether they are seen as they are: small images, by a network for such.
    """

    about: Description
    spec: NetSpec
    image_shape: tuple[int, int, int]
    whole: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a view."""
        seen = self.image_shape if self.whole else self.about.preprocessing.shape
        return seen[0], seen[1]

    def square(self, crop: int, resize: int) -> Preprocessing:
        """A square view of another size."""
        seen = self.about.preprocessing
        return Preprocessing(
            height=crop, width=crop, channels=seen.channels, resize=resize, interpolation=seen.interpolation
        )


_AVERAGE = "Average the softmax (the paper), or the logits before it."
_RESIZE = "Shorter side to which images are resized; by default the network's own, mostly 256, and none of small ones."
_CROP = "Side of the crop; by default the network's own, mostly 224."
_FLIPS = "Count mirror images as well."


@dataclass(frozen=True, kw_only=True)
class OneCropOptions:
    """The middle of a photo (Fig. 4), or a small image whole (Sec. 4.2)."""

    kind: ClassVar[str] = "one-crop"
    resize: int | None = knob(None, _RESIZE, least=1, most=LARGEST_SIDE)
    crop: int | None = knob(None, _CROP, least=1, most=LARGEST_SIDE)

    def __post_init__(self) -> None:
        check(self, DataError)

    def protocol(self, target: Target) -> "EvaluationProtocol":
        """One view each."""
        from reslab.evaluation.protocols import OneCrop

        if self.resize is not None or self.crop is not None:
            return OneCrop(target.square(*_crop_and_resize(self, target)))
        return OneCrop(None if target.whole else target.about.preprocessing)


@dataclass(frozen=True, kw_only=True)
class TenCropOptions:
    """Corners, middle, and their mirror images (Tables 2 and 3)."""

    kind: ClassVar[str] = "ten-crop"
    resize: int | None = knob(None, _RESIZE, least=1, most=LARGEST_SIDE)
    crop: int | None = knob(None, _CROP, least=1, most=LARGEST_SIDE)
    average: Average = knob("probabilities", _AVERAGE)

    def __post_init__(self) -> None:
        check(self, DataError)

    def protocol(self, target: Target) -> "EvaluationProtocol":
        """Ten views each."""
        from reslab.evaluation.protocols import TenCrop

        if target.whole and self.resize is None and self.crop is None:
            height, width = target.size
            raise DataError(
                f"the images have {height}x{width} pixels, all of which one view shows; for ten crops give --crop or "
                f"--resize, as in --crop {round(min(height, width) * 7 / 8)}, or take --protocol shifted."
            )
        crop, resize = _crop_and_resize(self, target)
        interpolation = target.about.preprocessing.interpolation
        return TenCrop(resize=resize, crop=crop, interpolation=interpolation, average=self.average)


@dataclass(frozen=True, kw_only=True)
class ShiftedOptions:
    """A small image at several places."""

    kind: ClassVar[str] = "shifted"
    shift: int = knob(1, "Farthest shift in pixels, in all directions; 1 makes 9 views.", least=0, most=_LARGEST_SHIFT)
    border: Literal["black", "mean"] | None = knob(
        None, "What comes into view; by default as the run was trained, and black for a weight file."
    )
    average: Average = knob("probabilities", _AVERAGE)
    flips: bool = knob(False, _FLIPS)

    def __post_init__(self) -> None:
        check(self, DataError)

    def protocol(self, target: Target) -> "EvaluationProtocol":
        """Nine views each, or more."""
        from reslab.evaluation.protocols import Shifted

        if not target.whole:
            raise DataError("shifted is for small images; photos have room for --protocol ten-crop.")
        mean = (self.border or target.about.pad_with) == "mean"
        border = target.about.known_normalization().mean_colour if mean else (0,)
        return Shifted(shift=self.shift, border=border, flips=self.flips, average=self.average)


@dataclass(frozen=True, kw_only=True)
class DenseOptions:
    """Fully convolutional, on whole images at several scales (Tables 4 and 5)."""

    kind: ClassVar[str] = "dense"
    scales: tuple[int, ...] = knob(
        (),
        "Shorter sides of the images; by default 224,256,384,480,640, in proportion to the training size.",
        least=1,
        most=LARGEST_SIDE,
    )
    pool: Literal["sliding", "global"] = knob(
        "sliding", "Average the last map in windows of its size in training, or as a whole."
    )
    average: Average = knob("probabilities", _AVERAGE)
    flips: bool = knob(False, _FLIPS)

    def __post_init__(self) -> None:
        check(self, DataError)

    def protocol(self, target: Target) -> "EvaluationProtocol":
        """A view for each scale."""
        from reslab.evaluation.dense import DENSE_SCALES, Dense, dense_window

        side = min(target.size)
        return Dense(
            scales=self.scales or tuple(round(scale * side / DENSE_SCALES[0]) for scale in DENSE_SCALES),
            pool=self.pool,
            average=self.average,
            flips=self.flips,
            window=dense_window(target.spec, target.size),
            interpolation=target.about.preprocessing.interpolation,
        )


ProtocolOptions: TypeAlias = OneCropOptions | TenCropOptions | ShiftedOptions | DenseOptions
PROTOCOLS: dict[str, type] = {
    form.kind: form for form in (OneCropOptions, TenCropOptions, ShiftedOptions, DenseOptions)
}


def protocol_leaves() -> Iterator[Leaf]:
    """The options of all protocols, each with those that have it."""
    owners: dict[str, tuple[Any, list[str]]] = {}
    for name, form in PROTOCOLS.items():
        for item in knobs(form):
            owners.setdefault(item.name, (item, []))[1].append(name)
    for name, (item, kinds) in owners.items():
        yield Leaf(name, item, ((KIND, tuple(kinds)),))


def read_options(protocol: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """The values of options that were given as texts.

    Raises:
        DataError: an option is another protocol's, or cannot be read.
    """
    own = {item.name: item for item in knobs(PROTOCOLS[protocol])}
    found = {}
    for name, text in texts.items():
        if name not in own:
            *others, last = (kind for kind, form in PROTOCOLS.items() if name in {item.name for item in knobs(form)})
            owners = f"{', '.join(others)} and {last}" if others else last
            raise DataError(f"--{name} is for {owners}, not for {protocol}.")
        try:
            found[name] = own[name].parse(text)
        except ValueError as takes:
            raise DataError(f"--{name} must be {takes}, not {text}.") from None
    return found


def choose_protocol(
    name: str, given: dict[str, Any], about: Description, spec: NetSpec, image_shape: tuple[int, int, int], whole: bool
) -> "EvaluationProtocol":
    """The protocol for a network: what was asked for, and its own sizes for the rest.

    Args:
        name: of the protocol.
        given: its options, by name.
        about: the network.
        spec: its description.
        image_shape: height, width and channels of the images.
        whole: whether they are small ones, seen as they are.

    Raises:
        DataError: an unknown protocol, an option of another one, or sizes that do not fit.
    """
    options: ProtocolOptions = build(
        ProtocolOptions, {"kind": name, **given}, DataError, name="protocol", where="a protocol"
    )
    return options.protocol(Target(about, spec, image_shape, whole))


def _crop_and_resize(asked: OneCropOptions | TenCropOptions, target: Target) -> tuple[int, int]:
    side = min(target.size)
    crop = side if asked.crop is None else asked.crop
    if asked.resize is not None:
        return crop, asked.resize
    if target.whole:
        return crop, side
    resize = target.about.preprocessing.resize
    return crop, resize if asked.crop is None else round(crop * resize / side)


def describe_protocol(protocol: "EvaluationProtocol") -> str:
    """In words, for the end of a sentence on an error."""
    fields = protocol.to_dict()
    if fields["name"] == "one-crop":
        return "one view each"
    if fields["name"] == "ten-crop":
        return f"ten crops of {fields['crop'][0]} at {fields['resize']} each, {fields['average']} averaged"
    flips = " with mirror images" if fields["flips"] else ""
    if fields["name"] == "shifted":
        border = "black" if not any(fields["border"]) else "the colour " + ", ".join(map(str, fields["border"]))
        return f"shifted by up to {fields['shift']} over {border}{flips}, {fields['average']} averaged"
    scales = ", ".join(map(str, fields["scales"]))
    return f"dense at {scales}{flips}, {fields['pool']} pooling, {fields['average']} averaged"
