"""What is evaluated: networks, each with the images that it is tested on, as asked for or the runs' own."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reslab.data import AnyData, ImageData, Role, available_roles, load_data
from reslab.data.held_out import NONE_HELD_OUT, HeldOut
from reslab.data.imagenet import imagenet_names
from reslab.data.loading import DataKind
from reslab.data.normalization import Normalization
from reslab.errors import DataError, WeightsError
from reslab.models.released import find_card, is_file_of_weights
from reslab.models.zoo import base_name, parse_model
from reslab.trained import Description, Reference, Trained, load_trained
from reslab.trained.description import LARGEST_WHOLE_SIDE

__all__ = ["EvaluationImages", "Subject", "choose_images", "load_subject"]


@dataclass(frozen=True)
class EvaluationImages:
    """Labelled images of a role.

    Args:
        spec: of the data set, as `load_data` takes it.
        role: of the images.
        held_out: of train, where the data have no val split.
        data_dir: where named data sets are looked for first.
        progress: whether reading shows a progress bar.
    """

    spec: str
    role: Role
    held_out: HeldOut = NONE_HELD_OUT
    data_dir: Path | None = None
    progress: bool = True
    _loaded: dict[DataKind, AnyData] = field(default_factory=dict, repr=False, compare=False)

    def load(self, kind: DataKind, *, training: bool = False) -> AnyData:
        """The data set, of the given kind: what the role needs, or what a training sees, which is train and val."""
        if kind not in self._loaded:
            have = available_roles(self.spec, self.data_dir)
            whole = training or (self.role == "val" and "val" not in have)  # held-out images are train's
            data = load_data(
                self.spec,
                data_dir=self.data_dir,
                roles=["train", "val"] if whole else [self.role],
                kind=kind,
                progress=self.progress,
            )
            parted = whole and "val" not in data.splits
            self._loaded[kind] = self.held_out.of(data) if parted else data
        data = self._loaded[kind]
        data.split(self.role)
        return data


@dataclass(frozen=True, eq=False)
class Subject:
    """A network, and the images that it is tested on.

    Args:
        name: of the network, as it was given.
        trained: the network.
        data: as it takes them.
        role: of the images.
        data_sha256: of the split, as labelled in the data set itself.
    """

    name: str
    trained: Trained
    data: AnyData
    role: Role
    data_sha256: str

    @property
    def about(self) -> Description:
        """What is known of the network."""
        return self.trained.about

    @property
    def sees_whole(self) -> bool:
        """Whether the images are small ones, and seen as they are."""
        return isinstance(self.data, ImageData) and self.about.sees_whole


def choose_images(
    references: Sequence[Reference],
    *,
    data: str | Path | None = None,
    split: Role | None = None,
    data_dir: Path | None = None,
    progress: bool = True,
) -> EvaluationImages:
    """The images that networks are tested on.

    Args:
        references: the networks.
        data: a data set's name or place; the runs' own by default.
        split: of the data; test where there is one, and val otherwise, by default.
        data_dir: where named data sets are looked for first.
        progress: whether reading shows a progress bar.

    Raises:
        DataError: no data are given and the runs' differ, or there is no such split.
    """
    if data is None:
        specs = {reference.data for reference in references if reference.data}
        if len(specs) != 1:
            raise DataError("on which images? Give --data." if not specs else "the runs' data differ; give --data.")
        (data,) = specs
    found = {reference.held_out for reference in references if reference.run}
    if len(found) > 1:
        raise DataError("the runs held out different val images; evaluate them one by one, or on --split test.")
    held_out = found.pop() if found else NONE_HELD_OUT
    have = available_roles(data, data_dir)
    if split is None:
        split = "test" if "test" in have else "val"
        if split not in have and held_out == NONE_HELD_OUT:
            raise DataError(f"{data} has neither test nor val images; give --split train to test on those of train.")
    return EvaluationImages(str(data), split, held_out, data_dir, progress)


def load_subject(reference: Reference, images: EvaluationImages, *, training: bool = False, **options: Any) -> Subject:
    """A network of PyTorch with its images; a named one gets as many classes and channels as they have.

    Args:
        reference: the network.
        images: that it is tested on.
        training: load train and val, whichever the role is; test images are not looked at.
        **options: of `load_trained`.

    Raises:
        ReslabError: something is not there, or does not fit together.
    """
    if reference.folder is None:
        return _named_subject(reference, images, training, options)
    trained = load_trained(reference, **options)
    data = images.load(trained.about.data_kind, training=training)
    digest = data.split(images.role).digest
    return Subject(reference.name, trained, trained.about.fit(data), images.role, digest)


def _named_subject(reference: Reference, images: EvaluationImages, training: bool, options: dict[str, Any]) -> Subject:
    overrides = options.get("overrides")
    spec = parse_model(reference.model, overrides)
    whole = spec.usual_input_size <= LARGEST_WHOLE_SIDE
    data = images.load("auto" if whole else "photos", training=training)
    defaults = {"in_channels": data.image_shape[2]} if whole else {}
    synonyms = {*imagenet_names(), *imagenet_names().values()}
    of_imagenet = spec.num_classes == len(imagenet_names()) and set(data.classes) <= synonyms
    released = reference.weights is not None and _is_released(reference)
    if reference.weights is not None and not released and options.get("mean") is None:
        raise WeightsError("a weight file does not say how its inputs were normalised; give --mean (and --std).")
    if not of_imagenet and not (released and not whole):
        defaults["num_classes"] = data.num_classes
    trained = load_trained(reference, defaults=defaults, **options)
    about = trained.about
    if about.normalization is None:
        about = _with_imagenets(about)
    if about.classes is None and of_imagenet:
        about = about.named(tuple(imagenet_names()))
    trained = Trained(trained.model, about)
    return Subject(reference.name, trained, about.fit(data), images.role, data.split(images.role).digest)


def _is_released(reference: Reference) -> bool:
    """Whether weights are known by a name, so that a card describes them."""
    text = str(reference.weights)
    if is_file_of_weights(text):
        return False
    find_card(base_name(reference.model), text)
    return True


def _with_imagenets(about: Description) -> Description:
    """With everyone's mean and std, for weights that have learned nothing."""
    return replace(about, normalization=Normalization.imagenet().with_channels(about.channels))
