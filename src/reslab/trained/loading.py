"""Trained networks of PyTorch, by their names."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch

from reslab.checkpoints import BEST_NAME, check_asked, load_checkpoint, newest_whole_checkpoint
from reslab.data.imagenet import imagenet_names
from reslab.data.normalization import Normalization
from reslab.data.preprocessing import Preprocessing
from reslab.data.targets import recorded_task
from reslab.errors import CheckpointError, DataError, ReslabError, WeightsError
from reslab.files.hashing import file_digest, hash_arrays
from reslab.files.reading import naming, reading
from reslab.files.sets import read_set
from reslab.models.build import build
from reslab.models.devices import device_exists
from reslab.models.features import FeatureNetwork
from reslab.models.released import locate_weights
from reslab.models.spec import NetSpec
from reslab.models.weight_files import split_choice
from reslab.models.weights import (
    CARD_NAME,
    NORMALIZATION_NAME,
    WEIGHTS_NAME,
    HeadReplacedWarning,
    build_loaded,
    load_weights,
    read_card,
)
from reslab.models.zoo import base_name, parse_model, spell
from reslab.runs import Run
from reslab.trained.cards import LARGEST_INPUT, check_card
from reslab.trained.description import LARGEST_WHOLE_SIDE, Description, usual_view
from reslab.trained.published import view_of_card
from reslab.trained.reference import Reference

__all__ = ["LARGEST_INPUT", "Trained", "load_trained"]

_FRESH_SEED = 0
_LARGEST_PIXEL = 255
_RGB = 3


@dataclass(frozen=True, eq=False)
class Trained:
    """A network of PyTorch with its weights and what is known of it.

    Args:
        model: the network, in evaluation mode.
        about: how it sees images, what it answers, where it comes from.
    """

    model: FeatureNetwork
    about: Description

    @property
    def normalization(self) -> Normalization:
        """Of its inputs; raises WeightsError where nobody knows it."""
        return self.about.known_normalization()

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names, in the order of its outputs; None where nobody wrote them down."""
        return self.about.classes

    @property
    def sha256(self) -> str | None:
        """Of its weights, as they were loaded."""
        return self.about.sha256

    def to(self, device: str | None) -> Self:
        """The same with the network on a device; `auto` or None is a GPU where there is one.

        Raises:
            ReslabError: there is no such device here.
        """
        self.model.to(choose_device(device))
        return self


def choose_device(name: str | None) -> str:
    """A device of this machine, as torch calls it; a GPU for `auto` or None, where there is one.

    Raises:
        ReslabError: there is no such device here.
    """
    if name in (None, "auto"):
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not device_exists(name):
        raise ReslabError(f"--device {name} is not on this machine; use auto or cpu.")
    return str(name)


def load_trained(
    name: str | Path | Reference,
    *,
    weights: str | Path | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    input_size: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    classes: tuple[str, ...] | None = None,
) -> Trained:  # each is something that a file of weights does not say
    """Loads a trained network.

    Args:
        name: the folder of a run, or of weights with their card, or such weights; a model's name or spelling, with
            weights behind an equals sign (`resnet50=torchvision:V2`) or fresh ones without.
        weights: of a model's name: a file, its address, or the name of released ones.
        mean: of each channel of its inputs, pixels in [0, 1]; where there is a card, it says so itself.
        std: likewise; 1 where only a mean is given.
        input_size: side of the images; those of the run's data, or what the network was made for, by default.
        overrides: fields of a named network that differ from the spelling's.
        defaults: fields of a named network where neither gives them.
        classes: names of its outputs, in their order; where there is a card, it says so itself.

    Raises:
        ReslabError: there is no such network, its files are damaged or do not fit, or what is given contradicts what a
            card says.
    """
    reference = name if isinstance(name, Reference) else Reference.parse(name, weights)
    if input_size is not None and not 1 <= input_size <= LARGEST_INPUT:
        raise ReslabError(f"the size of the input must be between 1 and {LARGEST_INPUT:,} pixels, not {input_size}.")
    if reference.exported:
        raise WeightsError(f"{reference.name} is an exported file, which PyTorch does not run.")
    if reference.folder is not None:
        given = {"mean": mean, "std": std, **(overrides or {})}
        if wrong := [key for key, value in given.items() if value is not None]:
            flag = f"--{wrong[0].replace('_', '-')}"
            raise WeightsError(f"{flag} is for weight files without a card; {reference.name} says it itself.")
        found = _from_folder(reference, input_size)
    else:
        defaults = {**(defaults or {}), **({"num_classes": len(classes)} if classes else {})}
        spec = parse_model(reference.model, overrides, defaults)
        found = _from_weights(reference, spec, _given_normalization(mean, std, spec.in_channels), input_size)
    return Trained(found.model, found.about.named(classes)) if classes else found


def _given_normalization(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None, channels: int
) -> Normalization | None:
    if std and not mean:
        raise WeightsError("--std needs --mean too.")
    if not mean:
        return None
    _refuse_bytes(mean, std or ())
    had = max(len(mean), len(std or ()))
    own = had if had == _RGB else channels  # of weights for colours, on other channels: as their filters are adapted
    return Normalization.per_channel(mean, std or (1.0,), own).with_channels(channels)


def _refuse_bytes(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Refuses statistics of pixels from 0 to 255, with those that are meant: all pixels here are in [0, 1]."""
    for values, other in ((mean, std), (std, mean)):
        if all(0 <= value <= 1 for value in values):
            continue
        name, otherwise = ("--mean", "--std") if values is mean else ("--std", "--mean")
        meant = ",".join(f"{value / _LARGEST_PIXEL:.4g}" for value in values)
        hint = ""
        if all(0 <= value <= _LARGEST_PIXEL for value in values):
            hint = f"; of pixels from 0 to 255 it is {meant}"
            if other and any(value > 1 for value in other):
                hint += f", and {otherwise} {','.join(f'{value / _LARGEST_PIXEL:.4g}' for value in other)}"
        given = ",".join(f"{value:g}" for value in values)
        raise WeightsError(f"{name} {given} is not of inputs in [0, 1], which it must be{hint}.")


def _from_folder(reference: Reference, input_size: int | None) -> Trained:
    """What a finished run, or `reslab precise-bn`, has left in a folder, verified against its card."""
    folder = reference.folder
    assert folder is not None
    if reference.run and not reference.run.finished and not (folder / CARD_NAME).exists():
        return _from_checkpoint(reference, reference.run, input_size)
    return read_set(folder, CARD_NAME, lambda: _read_folder(reference, folder, input_size), WeightsError)


def _read_folder(reference: Reference, folder: Path, input_size: int | None) -> Trained:
    card = read_card(folder)
    if reference.run:
        try:
            reference.run.check_belongs(card, folder / CARD_NAME)
        except CheckpointError as error:
            raise WeightsError(str(error)) from None
    check_card(folder / CARD_NAME, card)
    normalization = _normalization_of(card, folder)
    spec, about = _described(card, reference, normalization, input_size, folder / CARD_NAME)
    model, _ = build_loaded(spec, folder / WEIGHTS_NAME)
    return Trained(model.eval(), about)


def _from_checkpoint(reference: Reference, run: Run, input_size: int | None) -> Trained:
    """What a run that was stopped has learned so far: its checkpoint that is best on val, if it is asked for that, or
    its newest one.
    """
    monitoring = run.record.get("recipe", {}).get("monitoring", {})
    best = run.checkpoints / BEST_NAME
    try:
        if monitoring.get("weights") == "best-on-val" and best.is_file():
            path, state = best, load_checkpoint(best, unsealed_too=not run.has_checksums)
            check_asked(state, path, run.asked)
        else:
            found = newest_whole_checkpoint(run.checkpoints, asked=run.asked, unsealed_too=not run.has_checksums)
            if found is None:
                raise WeightsError(f"{run.folder} is not finished, and has no checkpoint yet.")
            path, state = found
    except CheckpointError as error:
        raise WeightsError(str(error)) from None
    if "card" not in state:
        raise WeightsError(
            f"{run.folder} is a run of version 0.1.0 that is not finished; end it with `reslab train --finish "
            f"--run-dir {run.folder}`, or go on with --resume."
        )
    with reading(path, WeightsError):
        check_card(path, state["card"])
        normalization = Normalization(state["seen"]["mean"].numpy(), state["seen"]["std"].numpy())
        spec, about = _described(state["card"], reference, normalization, input_size, path)
        model = build(spec)
        average = {key.removeprefix("module."): value for key, value in state["average"].items() if key != "n_averaged"}
        with naming(path, WeightsError):
            load_weights(model, average or state["model"], replace_head=False)
    tensors = (tensor.numpy() for tensor in model.state_dict().values())
    note = f"{reference.name} is not finished: its state after iteration {state['iteration']:,} is used ({path.name})."
    return Trained(model.eval(), replace(about, sha256=hash_arrays(*tensors), note=note))


def _described(
    card: Mapping[str, Any],
    reference: Reference,
    normalization: Normalization,
    input_size: int | None,
    path: Path,
) -> tuple[NetSpec, Description]:
    """The network of a card, and how it sees images."""
    with naming(path, WeightsError), reading(path, WeightsError):
        spec = NetSpec.from_dict(card["net"])
        view = _view_of(card, spec.in_channels, input_size)
        about = Description(
            name=reference.name,
            model=spell(spec),
            preprocessing=view,
            sees_whole=not card.get("preprocessing") and min(view.height, view.width) <= LARGEST_WHOLE_SIDE,
            num_classes=spec.num_classes,
            classes=tuple(card["classes"]),
            normalization=normalization,
            sha256=card.get("sha256"),
            pad_with=_pad_with(card, reference),
            data=reference.data,
            held_out=reference.held_out,
            temperature=float(card.get("calibration", {}).get("temperature", 1.0)),
            task=recorded_task(card),
        )
    return spec, about


def _normalization_of(card: Mapping[str, Any], folder: Path) -> Normalization:
    described = card["normalization"]
    if described["kind"] == "per-channel":
        with naming(folder / CARD_NAME, WeightsError):
            channels = NetSpec.from_dict(card["net"]).in_channels
            return Normalization.per_channel(tuple(described["mean"]), tuple(described["std"]), channels)
    if described["kind"] != "per-pixel-mean":
        raise WeightsError(f"{folder / CARD_NAME} is damaged: there is no normalisation {described['kind']!r}.")
    try:
        return Normalization.load(folder / NORMALIZATION_NAME)
    except DataError as error:
        raise WeightsError(f"{folder / NORMALIZATION_NAME} is missing or damaged: {error}.") from None


def _view_of(card: Mapping[str, Any], channels: int, input_size: int | None) -> Preprocessing:
    """As the card says of photos, or as its data are of small images; at another size in proportion."""
    seen = card.get("preprocessing") or {}
    height, width = (seen[key] if seen else card["data"][key] for key in ("height", "width"))
    resize, interpolation = seen.get("resize", min(height, width)), seen.get("interpolation", "bilinear")
    if input_size is not None:
        resize = round(resize * input_size / min(height, width))
        height = width = input_size
    return usual_view(height, width, channels, resize=resize, interpolation=interpolation)


def _pad_with(card: Mapping[str, Any], reference: Reference) -> str:
    if "pad_with" in card:
        return str(card["pad_with"])
    recipe = reference.run.record.get("recipe") if reference.run else None  # cards of 0.1.0 do not say it
    return str(recipe["data"].get("pad_with", "mean")) if isinstance(recipe, dict) else "black"


def _from_weights(
    reference: Reference, spec: NetSpec, normalization: Normalization | None, input_size: int | None
) -> Trained:
    card, sha256 = None, None
    if reference.weights is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_FRESH_SEED)  # the same command gives the same scores
            network = build(spec)
        note = f"{reference.name} gets fresh, random weights, which have learned nothing; give --weights, or a run."
    else:
        path, card = locate_weights(spec, base_name(reference.model), reference.weights)
        network, note = _load_whole(spec, path), ""
        file, table = split_choice(str(path))
        sha256 = None if table else file_digest(Path(file))  # a file of several tables has several networks
    if card and normalization is None:
        normalization = Normalization.per_channel(card.mean, card.std, _RGB).with_channels(spec.in_channels)
    of_photos = card is not None and card.input_size > LARGEST_WHOLE_SIDE
    names = tuple(imagenet_names().values())
    view = view_of_card(card, input_size or spec.usual_input_size, spec.in_channels)
    about = Description(
        name=reference.weights or spell(spec),
        model=spell(spec),
        preprocessing=view,
        sees_whole=min(view.height, view.width) <= LARGEST_WHOLE_SIDE,
        num_classes=spec.num_classes,
        classes=names if of_photos and len(names) == spec.num_classes else None,
        normalization=normalization,
        sha256=sha256 or hash_arrays(*(tensor.numpy() for tensor in network.state_dict().values())),
        note=note,
    )
    return Trained(network.eval(), about)


def _load_whole(spec: NetSpec, path: Path) -> FeatureNetwork:
    """Loads a file whose classifier must fit, too, and says how to make it so where only that does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", HeadReplacedWarning)
        try:
            network, _ = build_loaded(spec, path, replace_head=True)
        except HeadReplacedWarning as warning:
            raise WeightsError(
                f"{path} does not fit {spell(spec)}: {warning} Give --num-classes as in the file."
            ) from None
    return network
