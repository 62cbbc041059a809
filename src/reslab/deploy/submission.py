"""Predictions as a competition wants them: the head and the ids of a sample file, with what the network says."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self
from urllib.parse import urlsplit

from reslab.data.targets import ONE_LABEL
from reslab.deploy.prediction import NamedImage, Prediction
from reslab.errors import DataError
from reslab.files.atomic import write_text
from reslab.files.regular import read_regular
from reslab.texts import count, show_name
from reslab.trained import Description

__all__ = ["Submission"]

_LARGEST_SAMPLE = 1 << 30  # bytes


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A sample of a submission, and what it wants to know.

    Args:
        path: of the sample.
        header: its columns; the first is that of the ids.
        rows: its cells, an id each; what stands behind the ids is what an image that cannot be read keeps.
        classes: the network's, in the order of its outputs.
        of_labels: whether the second column takes the label; else there is a column a class, for its probability.
        threshold: from which on a column takes 1, and 0 below; None for probabilities.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    of_labels: bool
    threshold: float | None = None

    @classmethod
    def of(cls, path: Path, about: Description, threshold: float | None = None) -> Self:
        """Reads a sample for a network.

        Args:
            path: of the sample.
            about: the network.
            threshold: as for `read`; of a network with several labels an image alone.

        Raises:
            DataError: as in `read`, or there is a threshold where each image has one label.
        """
        several = about.task != ONE_LABEL.task
        if threshold is not None and not several:
            raise DataError("a submission has a label for each id; leave --threshold out.")
        return cls.read(path, about.class_names, several=several, threshold=threshold)

    @classmethod
    def read(cls, path: Path, classes: Sequence[str], *, several: bool = False, threshold: float | None = None) -> Self:
        """Reads a sample: an id and a label a row, or an id and a probability for each class.

        Args:
            path: of the sample.
            classes: the network's, in the order of its outputs.
            several: whether an image may have several of them, for which a column of labels has no usual form.
            threshold: from which on a column takes 1, and 0 below; None for probabilities.

        Raises:
            DataError: it cannot be read, an id stands twice, or its columns are neither.
        """
        shown = show_name(path)
        header, *rows = _table(path)
        repeated = [column for column, times in Counter(header).items() if times > 1]
        if repeated:
            raise DataError(f"{shown} has the column {show_name(repeated[0])} twice.")
        if not rows:
            raise DataError(f"{shown} has a head and no ids.")
        twice = [name for name, times in Counter(row[0] for row in rows).items() if times > 1]
        if twice:
            raise DataError(f"{shown} has the id {show_name(twice[0])} twice; an id stands for one image.")
        if several and len(header) == 2:
            raise DataError(
                f"{shown} has one column for labels, and the network gives several an image; it takes a sample with an "
                "id and a column for each label."
            )
        found = cls(
            path=path,
            header=header,
            rows=tuple(rows),
            classes=tuple(classes),
            of_labels=len(header) == 2,
            threshold=threshold,
        )
        found._check_columns()
        return found

    def _check_columns(self) -> None:
        shown, columns = show_name(self.path), self.header[1:]
        if self.of_labels:
            foreign = [row[1] for row in self.rows if row[1] and row[1] not in self.classes]
            if foreign:
                raise DataError(
                    f"the column {show_name(columns[0])} of {shown} holds {show_name(foreign[0])!r}, which is no class "
                    f"of the network ({_some(self.classes)}); it takes a class's name, or a column for each class."
                )
            return
        unknown = [column for column in columns if column not in self.classes]
        missing = [name for name in self.classes if name not in columns]
        if unknown or missing or not columns:
            what = f"the column {show_name(unknown[0])!r}" if unknown else f"no column {show_name(missing[0])!r}"
            raise DataError(
                f"{shown} has {what}; a submission has an id and a label, or an id and a column for each of the "
                f"network's classes ({_some(self.classes)})."
            )

    def find(self, images: Iterable[Path | NamedImage]) -> tuple[list[Path | NamedImage], int]:
        """The images of the ids, in their order, and how many others there are.

        An id is a file's name, with or without its suffix, and may have folders before it.

        Raises:
            DataError: an id has no image, or several.
        """
        places: dict[str, dict[str, Path | NamedImage]] = {}
        names = set()
        for image in images:
            place = _place(image)
            names.add(str(place))
            for key in {place.name, place.stem}:
                places.setdefault(key, {})[str(place)] = image
        chosen: list[Path | NamedImage] = []
        missing: list[str] = []
        for name, *_ in self.rows:
            found = {place: image for place, image in places.get(_last(name), {}).items() if _ends(place, name)}
            exact = {place: image for place, image in found.items() if PurePosixPath(place).name == _last(name)}
            found = exact or found
            if len(found) > 1:
                raise DataError(
                    f"the id {show_name(name)} could be {' or '.join(map(show_name, sorted(found)[:2]))}; give the "
                    "images of one folder."
                )
            if found:
                chosen.extend(found.values())
            else:
                missing.append(name)
        if missing:
            raise DataError(
                f"{count(len(missing), 'id')} of {len(self.rows):,} in {show_name(self.path)} "
                f"{'has' if len(missing) == 1 else 'have'} no image among those given, as {show_name(missing[0])!r}; "
                "give the folder that has them."
            )
        return chosen, len(names) - len({str(_place(image)) for image in chosen})

    def write(self, predictions: Iterable[Prediction], out: Path) -> list[Prediction]:
        """Writes the submission; the file is there when it is whole.

        Args:
            predictions: of the images that `find` gave, in their order, with all labels.
            out: file to write.

        Returns:
            Those that failed, which keep what the sample has.
        """
        failed: list[Prediction] = []
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(self._filled(predictions, failed))
        write_text(out, text.getvalue())
        return failed

    def _filled(self, predictions: Iterable[Prediction], failed: list[Prediction]) -> Iterator[Sequence[str]]:
        for row, prediction in zip(self.rows, predictions, strict=True):
            if prediction.error is not None:
                failed.append(prediction)
                yield row
            elif self.of_labels:
                yield row[0], prediction.labels[0]
            else:
                shares = dict(zip(prediction.ranked, prediction.probabilities, strict=True))
                yield [row[0], *(self._cell(shares[column]) for column in self.header[1:])]

    def _cell(self, probability: float) -> str:
        return f"{probability:.8g}" if self.threshold is None else str(int(probability >= self.threshold))


def _table(path: Path) -> list[tuple[str, ...]]:
    """A CSV file's rows, all of as many cells as its head."""
    shown = show_name(path)
    try:
        text = read_regular(path, _LARGEST_SAMPLE).decode("utf-8-sig")
        rows = [tuple(row) for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except DataError as error:
        raise DataError(f"cannot read {shown}: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {shown}: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise DataError(f"{shown} is no text in UTF-8; a sample of a submission is a CSV file.") from None
    except csv.Error as error:
        raise DataError(f"{shown} is no CSV file: {error}.") from None
    if not rows or len(rows[0]) < 2:
        raise DataError(f"{shown} is no sample of a submission, whose head names an id and a label, or the classes.")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise DataError(f"row {number} of {shown} has {count(len(row), 'cell')} where its head has {len(rows[0])}.")
    return rows


def _place(image: Path | NamedImage) -> PurePosixPath:
    return PurePosixPath(image.as_posix() if isinstance(image, Path) else urlsplit(image.name).path or image.name)


def _last(name: str) -> str:
    return PurePosixPath(name).name or name


def _ends(place: str, name: str) -> bool:
    """Whether the folders of an id are those before the file's name."""
    folders = PurePosixPath(name).parts[:-1]
    return not folders or PurePosixPath(place).parts[:-1][-len(folders) :] == folders


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(map(show_name, names[:most])) + (" and others" if len(names) > most else "")
