"""A data set by its name or place: the one way in, whatever it is."""

import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Literal, TypeAlias, overload

from reslab.data.dataset import ImageData, Role
from reslab.data.listing import DataWarning, Listing, list_folder
from reslab.data.photos import PhotoData, list_photos
from reslab.data.preprocessing import Preprocessing
from reslab.data.roles import role_folders
from reslab.data.search_path import find_first
from reslab.data.shards import INDEX_NAME, is_url, load_shards, shard_roles
from reslab.data.table import is_table, list_table, split_column
from reslab.errors import DataError, suggestion

__all__ = ["NAMED_DATA", "AnyData", "DataKind", "absolute_spec", "available_roles", "kind_and_classes", "load_data"]

AnyData: TypeAlias = ImageData | PhotoData
DataKind = Literal["auto", "small", "photos"]

NAMED_DATA = ("digits", "fashion-mnist", "cifar10", "cifar100")
"""Data sets of small images that are known by a name. `imagenet` is a folder's, and has photos."""

_ROLES: dict[str, tuple[Role, ...]] = {"digits": ("train", "val", "test")}
_TWO_ROLES: tuple[Role, ...] = ("train", "test")
_USUAL_VIEW = Preprocessing(height=224, width=224, channels=3, resize=256)


@overload
def load_data(
    spec: str | Path,
    *,
    kind: Literal["small"],
    data_dir: Path | None = None,
    roles: Collection[Role] | None = None,
    channels: int | None = None,
    progress: bool = False,
) -> ImageData: ...


@overload
def load_data(
    spec: str | Path,
    *,
    kind: Literal["photos"],
    data_dir: Path | None = None,
    roles: Collection[Role] | None = None,
    view: Preprocessing | None = None,
    progress: bool = False,
) -> PhotoData: ...


@overload
def load_data(
    spec: str | Path,
    *,
    data_dir: Path | None = None,
    roles: Collection[Role] | None = None,
    kind: DataKind = "auto",
    view: Preprocessing | None = None,
    channels: int | None = None,
    progress: bool = False,
) -> AnyData: ...


def load_data(
    spec: str | Path,
    *,
    data_dir: Path | None = None,
    roles: Collection[Role] | None = None,
    kind: DataKind = "auto",
    view: Preprocessing | None = None,
    channels: int | None = None,
    progress: bool = False,
) -> AnyData:
    """Loads a data set: small images into memory, and of photos the list of their files.

    Args:
        spec: `digits`, `fashion-mnist`, `cifar10`, `cifar100`, `imagenet`; the path of a folder of class folders, or
            of train/ and, where they exist, val/ and test/ that hold them; of a table of images and their classes
            (`reslab.data.table`); or of what `reslab data pack` made of a folder, also its address on a server.
        data_dir: where a named data set is looked for first, and downloaded to; by default `$RESLAB_DATA`, the
            system's places, then the user's cache.
        roles: that are wanted, of which the data set must have one; all it has by default. Files of the others are not
            read.
        kind: of a folder, whether its images are small ones, all of one size, which are kept in memory, or photos of
            any size; by default they decide themselves (`reslab.data.folder.are_small`).
        view: how photos are seen when a network is tested; the central 224 pixels of 256 by default.
        channels: of small images in a folder, 1 for grey and 3 for RGB; by default those of train and val decide.
        progress: whether long reading and downloads show a progress bar.

    Raises:
        DataError: no such data set, a damaged file, or a download that failed; the message names it.
    """
    spec = _checked(spec)
    if spec in NAMED_DATA:
        if kind == "photos":
            raise DataError(f"{spec} has small images and no photos; give a folder, or another recipe.")
        if Path(str(spec)).is_dir():
            note = f"{spec} is the data set of that name; for the folder {spec} that is here, write ./{spec}."
            warnings.warn(note, DataWarning, stacklevel=1)
        return _only(_load_named(str(spec), data_dir, roles, progress), roles)
    view = view or _USUAL_VIEW
    place = _place(spec, data_dir)
    if _are_shards(place):
        if kind == "small":
            raise DataError(f"{spec} is shards of photos; give a folder of small images, or a recipe for photos.")
        return load_shards(place, view, roles=roles)
    folder, listing = Path(place), _list(place, roles)
    if is_table(place):
        folder = split_column(place)[0].parent
    for note in listing.notes:
        warnings.warn(note, DataWarning, stacklevel=1)  # from here always, so that each is shown once
    from reslab.data.folder import are_small, read_folder

    if kind == "small" or (kind == "auto" and are_small(listing)):
        return read_folder(listing, progress, channels)
    return list_photos(folder, listing, view)


def kind_and_classes(
    spec: str | Path, data_dir: Path | None = None
) -> tuple[Literal["small", "photos"], tuple[str, ...]]:
    """Whether a folder's images are small ones or photos, as `load_data` finds, and the names of its classes.

    Args:
        spec: a folder, shards, or `imagenet`.
        data_dir: where `imagenet` is looked for first.

    Raises:
        DataError: no such data.
    """
    place = _place(_checked(spec), data_dir)
    if _are_shards(place):
        return "photos", load_shards(place, _USUAL_VIEW).classes
    from reslab.data.folder import are_small

    have = _roles_of(place)
    listing = _list(place, [role for role in have if role != "test"] or None)
    return "small" if are_small(listing) else "photos", listing.classes


def available_roles(spec: str | Path, data_dir: Path | None = None) -> tuple[Role, ...]:
    """The roles that a data set has images for; no image is read.

    Raises:
        DataError: no such data set.
    """
    spec = _checked(spec)
    if spec in NAMED_DATA:
        return _ROLES.get(str(spec), _TWO_ROLES)
    place = _place(spec, data_dir)
    if _are_shards(place):
        return shard_roles(place)
    return _roles_of(place)


def absolute_spec(spec: str | Path) -> str:
    """A data set's name or address as it is, and a folder's path from the root, so that it is found from anywhere."""
    named = spec in NAMED_DATA or (spec == "imagenet" and not os.path.isdir(spec)) or is_url(spec)
    return str(spec) if named else str(Path(spec).resolve())


def _checked(spec: str | Path) -> str | Path:
    if not str(spec):
        raise DataError("the name of the data is empty; give a data set's name or a folder.")
    return spec


def _place(spec: str | Path, data_dir: Path | None) -> str | Path:
    """A folder or an address."""
    if is_url(spec):
        return str(spec)
    if spec == "imagenet" and not os.path.isdir(spec):
        found = find_first(data_dir, ("imagenet",))
        if found is None:
            raise DataError(
                "there is no folder imagenet in --data-dir or $RESLAB_DATA; ImageNet cannot be downloaded without an "
                "account: get it from image-net.org, and put its class folders into imagenet/train and imagenet/val."
            )
        return found
    if is_table(spec):
        return spec
    if not os.path.isdir(spec):  # Path.is_dir raises where a name is too long or a folder is closed
        near = suggestion(str(spec), NAMED_DATA)
        raise DataError(
            f"no data at {str(spec)!r}: it is neither {', '.join(NAMED_DATA)} nor the path of a folder{near}"
        )
    return spec


def _list(place: str | Path, roles: Collection[Role] | None) -> Listing:
    """The images of a folder or a table."""
    return list_table(place, roles) if is_table(place) else list_folder(Path(place), roles)


def _roles_of(place: str | Path) -> tuple[Role, ...]:
    return tuple(list_table(place).files) if is_table(place) else tuple(role_folders(Path(place)))


def _are_shards(place: str | Path) -> bool:
    return is_url(place) or os.path.isfile(os.path.join(place, INDEX_NAME))


def _load_named(name: str, data_dir: Path | None, roles: Collection[Role] | None, progress: bool) -> ImageData:
    if name == "digits":
        from reslab.data.digits import load_digits

        return load_digits()
    if name == "fashion-mnist":
        from reslab.data.fashion_mnist import load_fashion_mnist

        return load_fashion_mnist(data_dir, progress, _wanted(_TWO_ROLES, roles))
    from reslab.data.cifar import load_cifar

    return load_cifar(name, data_dir, progress, _wanted(_TWO_ROLES, roles))


def _wanted(available: tuple[Role, ...], roles: Collection[Role] | None) -> tuple[Role, ...]:
    chosen = tuple(role for role in available if roles is None or role in roles)
    return chosen or available[:1]  # `_only` says that it is another


def _only(data: ImageData, roles: Collection[Role] | None) -> ImageData:
    if roles is None:
        return data
    splits = {role: split for role, split in data.splits.items() if role in roles}
    if not splits:
        has = " and ".join(_ROLES.get(data.name, _TWO_ROLES))
        raise DataError(f"{data.name} has no {' or '.join(roles)} images; it has {has}.")
    return ImageData(data.name, data.classes, splits, data.note, data.task)
