"""The arguments that say how a network is tested, and what they come to for a network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from reslab.cli.arguments import OptionalCount, OptionalText
from reslab.errors import DataError, ReslabError

if TYPE_CHECKING:
    from reslab.cli.members import Member
    from reslab.data.preprocessing import Preprocessing
    from reslab.evaluation.protocols import EvaluationProtocol

__all__ = ["ProtocolArguments", "choose_protocol", "describe_protocol"]

_FIELDS = {
    "one-crop": ("resize", "crop"),
    "ten-crop": ("resize", "crop", "average"),
    "shifted": ("shift", "border", "average", "flips"),
    "dense": ("scales", "pool", "average", "flips"),
}


@dataclass(frozen=True, kw_only=True)
class ProtocolArguments:
    """How a network is tested."""

    protocol: Literal["one-crop", "ten-crop", "shifted", "dense"] = "one-crop"
    """one-crop: the middle of a photo, or a small image whole; ten-crop: corners, middle and their mirror images
    (Tables 2 and 3); shifted: a small image at several places; dense: fully convolutional at several scales (Tables 4
    and 5)."""
    resize: OptionalCount = None
    """Of one-crop and ten-crop: shorter side of the image; the network's own, mostly 256, by default, and for small
    images no resizing."""
    crop: OptionalCount = None
    """Of one-crop and ten-crop: side of the crop; the network's own, mostly 224, by default."""
    shift: OptionalCount = None
    """Of shifted: the farthest, in pixels, in all directions; 1 by default, which makes 9 views."""
    border: Literal["black", "mean"] | None = None
    """Of shifted: what comes into view; as the run was trained by default, and black for a weight file."""
    scales: OptionalText = None
    """Of dense: shorter sides, as in 224,256,384,480,640, which is the default, in proportion to the training size."""
    pool: Literal["sliding", "global"] | None = None
    """Of dense: average the last map in sliding windows of its size in training (default), or as a whole."""
    average: Literal["probabilities", "logits"] | None = None
    """Of all but one-crop: average the softmax (default; the paper) or the logits."""
    flips: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Of shifted and dense: mirror images count as well."""

    def given(self) -> list[str]:
        """The fields that were given, the protocol among them if it is not one-crop."""
        named = ("resize", "crop", "shift", "border", "scales", "pool", "average")
        fields = [name for name in named if getattr(self, name) is not None]
        return ["protocol"] * (self.protocol != "one-crop") + fields + ["flips"] * self.flips

    def check(self) -> None:
        """Raises ReslabError where a field is another protocol's."""
        for name in self.given():
            if name != "protocol" and name not in _FIELDS[self.protocol]:
                *others, last = (owner for owner, fields in _FIELDS.items() if name in fields)
                owners = f"{', '.join(others)} and {last}" if others else last
                raise ReslabError(f"--{name} is for {owners}, not for {self.protocol}.")


def choose_protocol(asked: ProtocolArguments, member: "Member") -> "EvaluationProtocol":
    """The protocol for a network: what was asked for, and its own sizes for the rest.

    Raises:
        DataError: sizes that do not fit.
    """
    from reslab.evaluation.protocols import DENSE_SCALES, Dense, OneCrop, Shifted, TenCrop, dense_window

    asked.check()
    seen = member.preprocessing
    height, width, _ = member.data.image_shape if seen is None else seen.shape
    interpolation = seen.interpolation if seen else "bilinear"
    average = asked.average or "probabilities"
    side = min(height, width)
    if asked.protocol == "dense":
        scales = tuple(round(scale * side / DENSE_SCALES[0]) for scale in DENSE_SCALES)
        return Dense(
            scales=_parse_scales(asked.scales) if asked.scales is not None else scales,
            pool=asked.pool or "sliding",
            average=average,
            flips=asked.flips,
            window=dense_window(member.model.spec, (height, width)),
            interpolation=interpolation,
        )
    if asked.protocol == "shifted":
        if seen is not None:
            raise DataError("shifted is for small images; photos have room for --protocol ten-crop.")
        member.normalization.check(*member.data.image_shape)
        border = member.normalization.mean_colour if (asked.border or member.pad_with) == "mean" else (0,)
        return Shifted(
            shift=1 if asked.shift is None else asked.shift, border=border, flips=asked.flips, average=average
        )
    if asked.resize is None and asked.crop is None and (asked.protocol == "one-crop" or seen is None):
        if asked.protocol == "ten-crop":
            raise DataError(
                f"{member.data.name} has images of {height}x{width} pixels, all of which one view shows; for ten crops "
                f"give --crop or --resize, as in --crop {round(side * 7 / 8)}, or take --protocol shifted."
            )
        if seen is None:
            member.normalization.check(*member.data.image_shape)
        return OneCrop(seen)
    crop = side if asked.crop is None else asked.crop
    if asked.resize is not None:
        resize = asked.resize
    elif seen is None:
        resize = side
    else:
        resize = seen.resize if asked.crop is None else round(crop * seen.resize / side)
    if asked.protocol == "ten-crop":
        return TenCrop(resize=resize, crop=crop, interpolation=interpolation, average=average)
    return OneCrop(_square(crop, resize, member.model.spec.in_channels, seen))


def _square(crop: int, resize: int, channels: int, seen: "Preprocessing | None") -> "Preprocessing":
    from reslab.data.preprocessing import Preprocessing

    interpolation = seen.interpolation if seen else "bilinear"
    return Preprocessing(height=crop, width=crop, channels=channels, resize=resize, interpolation=interpolation)


def _parse_scales(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ReslabError(
            f"cannot read --scales {text!r}: write whole numbers joined by commas, as in 224,256,384."
        ) from None


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
