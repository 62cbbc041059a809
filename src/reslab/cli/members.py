"""What `eval` evaluates: networks from runs, weight files and names, each with the images as it sees them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reslab.cli.arguments import NetFlags, parse_numbers
from reslab.data.dataset import Role
from reslab.errors import DataError, ModelError, ReslabError, WeightsError
from reslab.models.zoo import base_name, parse_model
from reslab.runs import Run
from reslab.training.recipe import Photos, SmallImages
from reslab.training.recipe_files import recipe_from_dict

if TYPE_CHECKING:
    from reslab.data import ImageData
    from reslab.data.normalization import Normalization
    from reslab.data.photos import PhotoData
    from reslab.data.preprocessing import Preprocessing
    from reslab.evaluation.trained import Trained
    from reslab.models.features import FeatureNetwork

__all__ = ["Member", "MemberArguments", "check_same_images", "choose_device", "find_members"]

_PHOTO_SIDE = 128  # networks for smaller images see them whole
_FRESH_SEED = 0


@dataclass(frozen=True, kw_only=True)
class MemberArguments:
    """What the command line says of the networks.

    Args:
        names: of the networks: folders of runs, spellings, or `MODEL=WEIGHTS`.
        weights: of a single network.
        mean: of its channels, as text.
        std: likewise.
        net: fields of a named network.
        data: name or folder; the runs' own by default.
        split: of the images; test where there is one, and val otherwise, by default.
        data_dir: where named data sets are looked for first.
        all_splits: load the other splits as well.
    """

    names: Sequence[str]
    weights: str | None
    mean: str | None
    std: str | None
    net: NetFlags
    data: str | None
    split: Role | None
    data_dir: Path | None
    all_splits: bool = False


@dataclass(frozen=True, eq=False)
class Member:
    """A network, and the images that it is evaluated on.

    Args:
        name: as it was given.
        model: with its weights.
        normalization: of its inputs.
        sha256: of its weights: of the file, or of fresh tensors.
        preprocessing: how it sees a photo; None where it sees small images whole.
        pad_with: what its training images were padded with, `mean` or `black`; black where nobody wrote it down, as
            torchvision's transforms do.
        data: labelled with the indices of the network's outputs, whose names are the classes.
        data_sha256: of the split, as labelled in the data set itself.
        split: of the data.
    """

    name: str
    model: "FeatureNetwork"
    normalization: "Normalization"
    sha256: str
    preprocessing: "Preprocessing | None"
    pad_with: str
    data: "ImageData | PhotoData"
    data_sha256: str
    split: Role


@dataclass(frozen=True)
class _Named:
    """What a name on the command line stands for: a folder with weights, or a spelling with or without weights."""

    name: str
    folder: Path | None = None
    model: str = ""
    weights: str | None = None

    @property
    def run(self) -> Run | None:
        return Run(self.folder) if self.folder and Run(self.folder).exists else None


def find_members(asked: MemberArguments) -> list[Member]:
    """The networks of a command line, in its order, with their images.

    Raises:
        ReslabError: something is not there, or does not fit together.
    """
    if asked.weights is not None and len(asked.names) != 1:
        raise WeightsError("--weights is for a single network; of several write each as MODEL=WEIGHTS.")
    named = [_named(name, asked) for name in asked.names]
    if all(item.folder for item in named):
        given = [name for name in ("mean", "std") if getattr(asked, name) is not None] + sorted(asked.net.overrides())
        if given:
            raise WeightsError(f"--{given[0].replace('_', '-')} is for weight files; a run has it in its card.")
    spec = _data_spec(asked, named)
    held_out = _held_out(named)

    @cache
    def load(view: "Preprocessing | None") -> "tuple[ImageData | PhotoData, Role]":
        return _load_data(spec, asked, view, held_out)

    return [_run_member(item, load) if item.folder else _model_member(item, asked, spec, load) for item in named]


def _named(name: str, asked: MemberArguments) -> _Named:
    folder = Path(name)
    if asked.weights is not None:
        return _Named(name, model=name, weights=asked.weights)
    if Run(folder).exists or (folder / "card.json").is_file():
        return _Named(name, folder=folder)
    if folder.is_dir():
        raise WeightsError(f"{name} is not the folder of a run.")
    model, weights = _parted(name)
    try:
        parse_model(model)
    except ModelError as error:
        if weights is not None or "[" in name:
            raise
        raise WeightsError(f"{name} is not the folder of a run, and {error}") from None
    return _Named(name, model=model, weights=weights)


def _parted(name: str) -> tuple[str, str | None]:
    """`MODEL=WEIGHTS` in two; the equals signs within brackets are the model's."""
    depth = 0
    for place, character in enumerate(name):
        depth += (character == "[") - (character == "]")
        if character == "=" and depth == 0:
            return name[:place], name[place + 1 :]
    return name, None


def _data_spec(asked: MemberArguments, named: Sequence[_Named]) -> str:
    if asked.data is not None:
        return asked.data
    specs = {item.run.record["data_spec"] for item in named if item.run}
    if len(specs) != 1:
        raise DataError("on which images? Give --data." if not specs else "the runs' data differ; give --data.")
    return str(specs.pop())


def _held_out(named: Sequence[_Named]) -> int:
    """Images that the runs held out of train for validation."""
    numbers = {recipe_from_dict(item.run.record["recipe"]).data.val_images for item in named if item.run}
    if len(numbers) > 1:
        raise DataError("the runs held out different val images; evaluate them one by one, or on --split test.")
    return int(numbers.pop()) if numbers else 0


def _load_data(
    spec: str, asked: MemberArguments, view: "Preprocessing | None", held_out: int
) -> "tuple[ImageData | PhotoData, Role]":
    """The data set, and which of its splits is meant."""
    from reslab.data import load_data
    from reslab.data.photos import load_photos

    wanted = asked.split
    if wanted is None and spec and Path(spec, "val").is_dir() and not Path(spec, "test").is_dir():
        wanted = "val"
    # Held-out images are train's, so that train is needed for them.
    only = wanted or "test"
    role = None if asked.all_splits or (held_out and only != "test") else only
    data: ImageData | PhotoData
    if view is None:
        data = load_data(spec, data_dir=asked.data_dir, role=role, progress=True)
    else:
        data = load_photos(spec, view, role=role)
    if role is None or (wanted is None and "test" not in data.splits):
        data = data.hold_out(held_out)
    if wanted is None:
        wanted = "val" if "val" in data.splits and "test" not in data.splits else "test"
    data.split(wanted)
    return data, wanted


def _run_member(named: _Named, load: Any) -> Member:
    from reslab.evaluation.trained import load_trained
    from reslab.models.weights import read_card

    assert named.folder is not None
    trained = load_trained(named.folder)
    record = named.run.record if named.run else read_card(named.folder, verify=False)
    view = _view_of_run(record, trained.model.spec.in_channels)
    data, split = load(view)
    recipe = record.get("recipe")
    images = recipe_from_dict(recipe).data.images if isinstance(recipe, dict) else None  # of a card it is a name
    pad_with = "black" if images is None else images.pad_with if isinstance(images, SmallImages) else "mean"
    return _member(named.name, trained, view, pad_with, data, split)


def _view_of_run(record: dict[str, Any], channels: int) -> "Preprocessing | None":
    """How a run's network sees photos; None if it was trained on small images."""
    from reslab.data.preprocessing import Preprocessing

    recipe = record.get("recipe")
    photos = recipe_from_dict(recipe).data.images if isinstance(recipe, dict) else None
    if isinstance(photos, Photos):
        side = photos.test_size
        return Preprocessing(
            height=side,
            width=side,
            channels=channels,
            resize=photos.test_resize,
            interpolation=photos.interpolation,
        )
    if isinstance(seen := record.get("preprocessing"), dict):
        return Preprocessing(**seen)
    height, width = record["data"]["height"], record["data"]["width"]
    if min(height, width) <= _PHOTO_SIDE:
        return None
    return Preprocessing(height=height, width=width, channels=channels, resize=min(height, width))


def _model_member(named: _Named, asked: MemberArguments, spec: str, load: Any) -> Member:
    import torch

    from reslab.data import NAMED_DATA
    from reslab.data.imagenet import imagenet_names
    from reslab.data.normalization import Normalization
    from reslab.data.preprocessing import PHOTO_CROP_SHARE, Preprocessing
    from reslab.deploy.source import source_of_weights
    from reslab.evaluation.trained import Trained
    from reslab.models.released import locate_weights

    overrides = asked.net.overrides()
    net = parse_model(named.model, overrides)
    side = net.usual_input_size
    view = None
    if side > _PHOTO_SIDE and spec not in NAMED_DATA:
        resize = round(side / PHOTO_CROP_SHARE)
        view = Preprocessing(height=side, width=side, channels=net.in_channels, resize=resize)
    data, split = load(view)
    defaults = {} if view else {"in_channels": data.image_shape[2]}
    synonyms = {*imagenet_names(), *imagenet_names().values()}
    of_imagenet = net.num_classes == len(imagenet_names()) and set(data.classes) <= synonyms
    card = None
    if named.weights is not None:
        given = parse_model(named.model, overrides, {**defaults, "num_classes": data.num_classes})
        _, card = locate_weights(net if of_imagenet else given, base_name(named.model), named.weights)
        if card is None and asked.mean is None:
            raise WeightsError("a weight file does not say how its inputs were normalised; give --mean (and --std).")
    if not of_imagenet and not (card and view):
        defaults["num_classes"] = data.num_classes
    if named.weights is None:
        torch.manual_seed(_FRESH_SEED)  # the same command gives the same scores
    source = source_of_weights(
        named.model,
        named.weights,
        overrides=overrides,
        defaults=defaults,
        mean=None if asked.mean is None else parse_numbers(asked.mean, "--mean"),
        std=None if asked.std is None else parse_numbers(asked.std, "--std"),
    )
    normalization = source.normalization
    if named.weights is None:
        print(
            f"{named.name} gets fresh, random weights, which have learned nothing; give --weights, or a run's folder.",
            file=sys.stderr,
        )
    if normalization is None:
        normalization = Normalization.imagenet()
        if source.model.spec.in_channels != len(normalization.mean):
            mean, std = float(normalization.mean.mean()), float(normalization.std.mean())
            normalization = Normalization.per_channel((mean,), (std,), source.model.spec.in_channels)
    classes = source.classes or (tuple(imagenet_names()) if of_imagenet else None)
    sha256 = source.sha256 or _tensors_digest(source.model)
    trained = Trained(source.model, normalization, classes, sha256)
    return _member(named.name, trained, view and source.preprocessing, "black", data, split)


def _tensors_digest(model: "FeatureNetwork") -> str:
    from reslab.files.hashing import hash_arrays

    return hash_arrays(*(tensor.numpy() for tensor in model.state_dict().values()))


def _member(
    name: str,
    trained: "Trained",
    view: "Preprocessing | None",
    pad_with: str,
    data: "ImageData | PhotoData",
    split: Role,
) -> Member:
    from reslab.data import ImageData

    spec = trained.model.spec
    if isinstance(data, ImageData) and spec.in_channels == 3:
        data = data.as_rgb()
    channels = data.image_shape[2]
    expected = data.num_classes if trained.classes is None else spec.num_classes
    if (spec.num_classes, spec.in_channels) != (expected, channels):
        raise DataError(
            f"the network is for {spec.num_classes} classes and {spec.in_channels} channels, but {data.name} has "
            f"{data.num_classes} and {channels}."
        )
    digest = data.split(split).digest
    if trained.classes is not None:
        try:
            data = data.with_classes(trained.classes)
        except DataError:
            if len(trained.classes) != data.num_classes:
                raise
            pairs = zip(trained.classes, data.classes, strict=True)
            ours, theirs = next(pair for pair in pairs if pair[0] != pair[1])
            raise DataError(
                f"{data.name} has the class {theirs!r} where the network was trained with {ours!r}."
            ) from None
    return Member(name, trained.model, trained.normalization, trained.sha256, view, pad_with, data, digest, split)


def check_same_images(members: Sequence[Member]) -> None:
    """Raises ReslabError unless all members see the same images of the same number of classes."""
    first = members[0]
    for member in members[1:]:
        if len(member.data.split(member.split)) != len(first.data.split(first.split)):
            raise ReslabError(f"{first.name} and {member.name} are for different images.")
        if member.data.num_classes != first.data.num_classes:
            raise ReslabError(
                f"{first.name} is for {first.data.num_classes} classes and {member.name} for "
                f"{member.data.num_classes}; an ensemble's members must be for the same ones."
            )


def choose_device(name: str | None) -> str:
    """A device of this machine, as torch calls it; a GPU for `auto` or None, where there is one.

    Raises:
        ReslabError: there is no such device here.
    """
    import torch

    if name in (None, "auto"):
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, ImportError):  # torch's ways to say no, by version and device
        raise ReslabError(f"--device {name} is not on this machine; use auto or cpu.") from None
    return str(name)
