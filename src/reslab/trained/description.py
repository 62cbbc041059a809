"""What is known of a trained network wherever it runs: how it sees images, what it answers, where it comes from."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self, overload

from reslab.data.class_names import order_doubt
from reslab.data.dataset import ImageData
from reslab.data.held_out import NONE_HELD_OUT, HeldOut
from reslab.data.listing import DataWarning
from reslab.data.loading import AnyData, DataKind
from reslab.data.normalization import Normalization
from reslab.data.photos import PhotoData
from reslab.data.preprocessing import PHOTO_CROP_SHARE, Interpolation, Preprocessing
from reslab.data.targets import ONE_LABEL, form_of
from reslab.errors import DataError, WeightsError

__all__ = ["LARGEST_WHOLE_SIDE", "Description", "usual_view"]

LARGEST_WHOLE_SIDE = 128
"""Pixels: networks for smaller images see them whole, and those for larger ones a crop of a resized photo."""

_PREPROCESSING, _CLASSES, _WHOLE = "reslab.preprocessing", "reslab.classes", "reslab.sees_whole"
_TEMPERATURE, _TASK = "reslab.temperature", "reslab.task"


@dataclass(frozen=True, kw_only=True, eq=False)
class Description:
    """How a trained network sees images, and what it answers.

    Args:
        name: of the run, the weights or the file, for messages.
        model: spelling of the network; empty where a file does not say.
        preprocessing: that makes its input of an image file of any size.
        sees_whole: whether it was made for small images of one size, which it sees as they are.
        num_classes: outputs.
        classes: their names; None where nobody wrote them down.
        normalization: of its inputs; None where nobody knows, or where a file does it itself.
        sha256: of the weights; None where nobody knows.
        pad_with: what its training images were padded with, `mean` or `black`; black where nobody wrote it down, as
            torchvision's transforms do.
        data: on which it was trained, as `load_data` finds it; None where nobody knows.
        held_out: of train, for validation.
        note: what a user must know of the weights, a sentence; or empty.
        temperature: by which the logits were divided after training; 1 where they were not.
        task: what it is asked of an image, `classification` or `multi-label`.
    """

    name: str
    model: str
    preprocessing: Preprocessing
    sees_whole: bool
    num_classes: int
    classes: tuple[str, ...] | None
    normalization: Normalization | None = None
    sha256: str | None = None
    pad_with: str = "black"
    data: str | None = None
    held_out: HeldOut = NONE_HELD_OUT
    note: str = ""
    temperature: float = 1.0
    task: str = ONE_LABEL.task

    @property
    def channels(self) -> int:
        """Of the images: 3 for RGB, 1 for grey."""
        return self.preprocessing.channels

    @property
    def data_kind(self) -> DataKind:
        """Of the images that it is tested on: photos, or whatever the images themselves decide."""
        return "auto" if self.sees_whole else "photos"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of its outputs; their numbers where nobody wrote names down."""
        return tuple(map(str, range(self.num_classes))) if self.classes is None else self.classes

    def known_normalization(self) -> Normalization:
        """The normalisation.

        Raises:
            WeightsError: nobody knows it.
        """
        if self.normalization is None:
            raise WeightsError(f"{self.name} does not say how its inputs were normalised; give --mean (and --std).")
        return self.normalization

    @overload
    def fit(self, data: ImageData) -> ImageData: ...
    @overload
    def fit(self, data: PhotoData) -> PhotoData: ...
    @overload
    def fit(self, data: AnyData) -> AnyData: ...

    def fit(self, data: AnyData) -> AnyData:
        """Data as the network takes them: with its channels, seen in its way, labelled with the indices of its outputs.

        Classes are found by name, so that neither their order nor classes that the data lack matter.

        Raises:
            DataError: the network does not know a class, or the images cannot be its inputs.
        """
        if self.task != data.task:
            kinds = {True: "one label an image", False: "several labels an image"}
            raise DataError(
                f"{data.name} has {kinds[data.task == ONE_LABEL.task]}, and {self.name} was trained with "
                f"{kinds[self.task == ONE_LABEL.task]}."
            )
        fitting: AnyData
        if isinstance(data, PhotoData):
            fitting = data.seen_by(self.preprocessing)
        else:
            fitting = data.with_channels(self.channels)
            if self.normalization is not None:
                self.normalization.check(*fitting.image_shape)
        if self.classes is None:
            if self.num_classes != data.num_classes:
                raise DataError(
                    f"{self.name} is for {self.num_classes} classes, and {data.name} has {data.num_classes}; its "
                    "classes have no names, so that these cannot be found among them."
                )
            if doubt := order_doubt(data.classes):
                warnings.warn(DataWarning(f"{self.name} does not name its classes: {doubt}"), stacklevel=1)
            return fitting
        try:
            return fitting.with_classes(self.classes)
        except DataError as error:
            differing = [pair for pair in zip(self.classes, data.classes, strict=False) if pair[0] != pair[1]]
            ours, theirs = differing[0] if differing else ("", "")
            shifted = any(name in self.classes for _, name in differing)  # known, and only in another place
            if len(self.classes) != data.num_classes or not theirs or shifted:
                raise DataError(f"{error} {self.name} knows {_some(self.classes)}.") from None
            raise DataError(
                f"{data.name} has the class {theirs!r} where {self.name} was trained with {ours!r}."
            ) from None

    def named(self, classes: tuple[str, ...]) -> Self:
        """The same with names for its classes.

        Args:
            classes: in the order of its outputs.

        Raises:
            DataError: there are more or fewer, or it has other names or another order for them itself.
        """
        if len(classes) != self.num_classes:
            raise DataError(
                f"{self.name} answers {self.num_classes} classes, and the list of classes has {len(classes)}."
            )
        if self.classes not in (None, classes):
            differing = next(pair for pair in zip(self.classes or (), classes, strict=True) if pair[0] != pair[1])
            raise DataError(
                f"{self.name} has the class {differing[0]!r} where the list of classes has {differing[1]!r}; it "
                "names its classes itself, so leave --classes out."
            )
        return replace(self, classes=classes)

    def metadata(self) -> dict[str, str]:
        """What an exported file says of the network, by key."""
        texts = {
            "reslab.model": self.model,
            _PREPROCESSING: self.preprocessing.to_json(),
            _WHOLE: json.dumps(self.sees_whole),
            _TASK: self.task,
        }
        if self.classes is not None:
            texts[_CLASSES] = json.dumps(self.classes, ensure_ascii=False)
        if self.normalization is not None:
            texts["reslab.normalization"] = json.dumps(self.normalization.to_dict())
        if self.sha256 is not None:
            texts["reslab.weights_sha256"] = self.sha256
        if self.temperature != 1:
            texts[_TEMPERATURE] = json.dumps(self.temperature)
        return texts

    @classmethod
    def from_metadata(cls, name: str, texts: Mapping[str, str], num_classes: int) -> Self:
        """What `metadata` gave, for a file that takes pixels and normalises them itself.

        Args:
            name: of the file, for messages.
            texts: that it holds, by key.
            num_classes: that it answers.

        Raises:
            DataError: the texts are missing or damaged.
        """
        if _PREPROCESSING not in texts:
            raise DataError(
                f"{name} does not say how its input is made of an image; write it with `reslab export` and "
                "--input uint8."
            )
        preprocessing = Preprocessing.from_json(texts[_PREPROCESSING])
        side = min(preprocessing.height, preprocessing.width)
        whole = side <= LARGEST_WHOLE_SIDE and preprocessing.resize == side  # what files of 0.1.0 mean
        try:
            classes = tuple(json.loads(texts[_CLASSES])) if _CLASSES in texts else None
            whole = bool(json.loads(texts.get(_WHOLE, json.dumps(whole))))
            temperature = float(json.loads(texts.get(_TEMPERATURE, "1")))
        except (ValueError, TypeError, RecursionError):
            classes, temperature = (), 1.0
        if classes is not None and (len(classes) != num_classes or not all(isinstance(item, str) for item in classes)):
            raise DataError(f"{name} does not say which {num_classes} classes it knows; export it again.")
        return cls(
            name=name,
            model=texts.get("reslab.model", ""),
            preprocessing=preprocessing,
            sees_whole=whole,
            num_classes=num_classes,
            classes=classes,
            sha256=texts.get("reslab.weights_sha256"),
            temperature=temperature,
            task=form_of(texts.get(_TASK, ONE_LABEL.task)).task,  # files of before had one label an image
        )


def usual_view(
    height: int, width: int, channels: int, *, resize: int | None = None, interpolation: str = "bilinear"
) -> Preprocessing:
    """How a network for images of this size sees them: small ones whole, and of photos the middle.

    Args:
        height: in pixels.
        width: in pixels.
        channels: 3 for RGB, 1 for grey.
        resize: shorter side that photos are resized to before; in the usual proportion of 256 to 224 by default.
        interpolation: of the resizing; whatever is not bicubic counts as bilinear.
    """
    side = min(height, width)
    if resize is None:
        resize = side if side <= LARGEST_WHOLE_SIDE else round(side / PHOTO_CROP_SHARE)
    filtering: Interpolation = "bicubic" if interpolation == "bicubic" else "bilinear"
    return Preprocessing(height=height, width=width, channels=channels, resize=resize, interpolation=filtering)


def _some(names: tuple[str, ...], most: int = 5) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
