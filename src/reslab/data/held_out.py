"""Which training images are held out for validation: so many, a share of them, or those of some names."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from reslab.data.dataset import ImageData
from reslab.data.photos import PhotoData, PhotoSplit
from reslab.errors import DataError
from reslab.texts import count

__all__ = ["NONE_HELD_OUT", "HeldOut", "hold_out_share"]

_SEED = 0  # the split belongs to the data, not to a run


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What a run held out of train, by which others find the same images.

    Args:
        num_images: as `DataSet.hold_out` takes it; 0 for none.
        names: of photos' files, where they were chosen by what they show.
    """

    num_images: int = 0
    names: tuple[str, ...] = ()

    @classmethod
    def read(cls, record: dict[str, Any]) -> Self:
        """What `to_dict` gave, from a record that holds it among other things."""
        return cls(num_images=int(record.get("val_images", 0)), names=tuple(record.get("val_names", ())))

    def to_dict(self) -> dict[str, Any]:
        """For a run's record, or a card."""
        return {"val_images": self.num_images, **({"val_names": list(self.names)} if self.names else {})}

    def of(self, data: ImageData | PhotoData) -> ImageData | PhotoData:
        """Data with these images as their val split.

        Raises:
            DataError: they have one of their own, or lack some of the images.
        """
        if not self.names:
            return data.hold_out(self.num_images)
        train = data.split("train")
        if not isinstance(data, PhotoData) or not isinstance(train, PhotoSplit) or "val" in data.splits:
            raise DataError(f"{data.name} has other splits than when {count(len(self.names), 'image')} were held out.")
        wanted = set(self.names)
        chosen = np.array([train.name(index) in wanted for index in range(len(train))])
        if int(chosen.sum()) != len(wanted):
            here = {train.name(index) for index in np.flatnonzero(chosen).tolist()}
            raise DataError(
                f"{data.name} lacks {count(len(wanted - here), 'image')} that the run held out for validation, as "
                f"{sorted(wanted - here)[0]!r}."
            )
        return data.parted(np.flatnonzero(~chosen), np.flatnonzero(chosen))


NONE_HELD_OUT = HeldOut()


def hold_out_share(
    data: ImageData | PhotoData, share: float, *, progress: bool = False
) -> tuple[ImageData | PhotoData, HeldOut]:
    """Holds out a share of train, about the same of every class; photos that are nearly the same stay together.

    A photo that was taken twice, or saved in two sizes, would else be learned in train and counted as right in val.

    Args:
        data: without a val split.
        share: of the training images, above 0 and at most 0.5.
        progress: whether to show that photos are compared.

    Returns:
        The data with a val split, and which images are in it.

    Raises:
        DataError: there are too few images of a class, or one cannot be read.
    """
    train = data.split("train")
    num_images = max(round(share * len(train)), data.num_classes if data.form.needs_every_class else 1)
    if not isinstance(data, PhotoData) or not isinstance(train, PhotoSplit):
        return data.hold_out(num_images), HeldOut(num_images=num_images)
    data.check_parts(num_images)
    from sklearn.model_selection import StratifiedGroupKFold  # half a second to import

    from reslab.console import counting  # with a library of progress bars, which a command's help does without
    from reslab.data.duplicates import fingerprint_images, group_numbers

    with counting("Comparing photos", len(train), enabled=progress) as advance:
        groups = group_numbers(fingerprint_images(train, advance=advance))
    num_folds = max(2, round(1 / share))
    if not data.form.needs_every_class and int(groups.max()) + 1 < num_folds:
        raise DataError(f"{data.name} has too few different photos to hold out some; put some into val yourself.")
    folds = StratifiedGroupKFold(num_folds, shuffle=True, random_state=_SEED)
    strata = data.form.strata(train.labels, least=num_folds, most=len(train) // num_folds)
    rest, held_out = next(folds.split(np.zeros(len(train)), strata, groups))
    for name, part in (("train", rest), ("val", held_out)):
        missing = np.flatnonzero(data.form.counts(train.labels[part], data.num_classes) == 0)
        if len(missing) and data.form.needs_every_class:
            raise DataError(
                f"cannot hold out of {data.name}: the class {data.classes[missing[0]]!r} has too few different photos "
                f"for both train and val, of which {name} would have none. Put some into a folder val/ yourself."
            )
    names = tuple(sorted(train.name(index) for index in held_out))
    return data.parted(np.sort(rest), np.sort(held_out)), HeldOut(names=names)
