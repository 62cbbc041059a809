"""Images whose labels stand in a table: a CSV file beside them, as contests and labelling programs give it."""

import csv
import io
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from reslab.data.dataset import Role
from reslab.data.listing import Listing
from reslab.data.names import is_image_name, walk
from reslab.data.roles import role_of
from reslab.data.table_labels import SEPARATOR, RowLabels, check_number, read_labels, sorted_classes
from reslab.data.targets import ONE_LABEL, SEVERAL_LABELS, Targets
from reslab.errors import DataError
from reslab.texts import count, show_name

__all__ = ["TABLE_SUFFIXES", "is_table", "list_table", "split_column"]

TABLE_SUFFIXES = (".csv", ".tsv")
_MOST_BYTES = 1 << 28  # ten times the largest table of ImageNet's 14 million images' names would need
_ROLES = ("split", "role", "set", "subset", "phase", "partition", "fold")
_DELIMITERS = ",;\t|"
_TRIED = 200  # rows by which it is found out which column names the images
_MOST_CELLS = 1 << 31  # bytes of the labels of all images


def is_table(spec: str | Path) -> bool:
    """Whether data are named by a table: `labels.csv`, or `labels.csv#breed` with the column of the classes."""
    file, _ = split_column(spec)
    return file.suffix.lower() in TABLE_SUFFIXES and file.is_file()


def split_column(spec: str | Path) -> tuple[Path, str]:
    """FILE#COLUMN in two; the column is empty where none is named."""
    text = str(spec)
    file, number_sign, column = text.rpartition("#")
    if number_sign and Path(file).suffix.lower() in TABLE_SUFFIXES:
        return Path(file), column
    return Path(text), ""


def list_table(spec: str | Path, roles: Collection[Role] | None = None) -> Listing:
    """Lists the images that a table names, below the table's folder.

    One column names the images: by their path below the folder, their name, or their name without its suffix. Another
    has the class: the one that is named behind FILE#, the one that is called label, class or the like, or the only one
    that is left; or there is a column of 0 and 1 for each class. A column called split, set or the like says which role
    an image has; without it all are train's. Classes are sorted, by number where all of them are numbers.

    Images have several labels, or none of them, where a cell holds several, as in `cat|dog`, or a row has several 1.

    Args:
        spec: the table, as `is_table` knows it.
        roles: that are wanted; all by default.

    Raises:
        DataError: the table cannot be read, it is not clear which column is which, or two rows of an image differ.
    """
    path, column = split_column(spec)
    header, rows = _read(path)
    files = _Files(path.parent)
    names = _image_column(path, header, rows, files)
    role_column = next((name for name in header if name.lower() in _ROLES and _are_roles(rows, name)), None)
    others = [name for name in header if name not in (names, role_column)]
    labels_of = read_labels(path, column, others, rows)
    found: dict[str, _Entry] = {}
    notes: list[str] = []
    missing: list[str] = []
    unlabelled = 0
    for row, labels in zip(rows, labels_of.of_rows, strict=True):
        file = files.find(row[names])
        role: Role = role_of(row[role_column]) or "train" if role_column else "train"
        if file is None:
            missing.append(row[names])
        elif not labels and not labels_of.several:
            unlabelled += 1
        elif found.setdefault(file, (role, labels)) != (role, labels):
            before = found[file]
            raise DataError(
                f"{show_name(path)} has the image {show_name(file)} twice, as {SEPARATOR.join(before[1])!r} in "
                f"{before[0]} and as {SEPARATOR.join(labels)!r} in {role}; keep one of the rows, with all of the "
                "image's labels, as in cat|dog."
            )
    if missing:
        notes.append(
            f"{show_name(path)} has {count(len(missing), 'row')} without an image below {show_name(path.parent)}, as "
            f"{show_name(missing[0])!r}, passed over."
        )
    if unlabelled:
        notes.append(f"{show_name(path)} has {count(unlabelled, 'row')} without a class, passed over.")
    if left := len(files) - len(found):
        notes.append(f"{show_name(path)} has no class for {count(left, 'image')} below {show_name(path.parent)}.")
    return _listing(path, found, labels_of, roles, notes)


_Entry = tuple[Role, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class _Files:
    """The image files below a folder, by what a table may call them."""

    folder: Path

    def __post_init__(self) -> None:
        below: dict[str, str] = {}
        by_name: dict[str, list[str]] = {}
        for parent, names in walk(self.folder):
            for name in names:
                if is_image_name(name):
                    path = os.path.join(parent, name)
                    below[Path(os.path.relpath(path, self.folder)).as_posix()] = path
                    by_name.setdefault(name, []).append(path)
                    by_name.setdefault(os.path.splitext(name)[0], []).append(path)
        object.__setattr__(self, "_below", below)
        object.__setattr__(self, "_by_name", by_name)

    def __len__(self) -> int:
        return len(self._below)  # type: ignore[attr-defined]

    def find(self, text: str) -> str | None:
        """The file that is meant; None where there is none.

        Raises:
            DataError: there are several.
        """
        wanted = text.strip().replace("\\", "/")
        while wanted.startswith("./"):
            wanted = wanted[2:]
        below: Mapping[str, str] = self._below  # type: ignore[attr-defined]
        if wanted in below:
            return below[wanted]
        by_name: Mapping[str, list[str]] = self._by_name  # type: ignore[attr-defined]
        found = by_name.get(wanted.rpartition("/")[2], [])
        if len(found) > 1:
            raise DataError(
                f"{show_name(self.folder)} has several images that {show_name(text)!r} may mean: "
                f"{show_name(found[0])} and {show_name(found[1])}; write their paths below the folder into the table."
            )
        return found[0] if found else None


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    shown = show_name(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{shown} has more than {_MOST_BYTES:,} bytes, and is no table of images.")
        text = path.read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = max(_DELIMITERS, key=first.count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = header
        rows = list(reader)
    except UnicodeDecodeError:
        raise DataError(f"{shown} is no text in UTF-8; save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise DataError(f"{shown} is no table: {error}.") from None
    except OSError as error:
        raise DataError(f"cannot read {shown}: {error.strerror}.") from None
    doubles = [name for name, times in Counter(header).items() if times > 1]
    if len(header) < 2 or "" in header[1:] or doubles:
        raise DataError(f"{shown} needs a first line with the names of its columns, two at least and all different.")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise DataError(
                f"{shown} has {'more' if None in row else 'fewer'} columns in row {number} than in its first line."
            )
    if not rows:
        raise DataError(f"{shown} has no rows.")
    return header, rows


def _image_column(path: Path, header: Sequence[str], rows: Sequence[Mapping[str, str]], files: _Files) -> str:
    tried = rows[:: max(1, len(rows) // _TRIED)]
    hits = {name: sum(files.find(row[name]) is not None for row in tried if row[name].strip()) for name in header}
    best = max(header, key=lambda name: hits[name])
    if not hits[best]:
        raise DataError(
            f"no column of {show_name(path)} names images below {show_name(path.parent)}; put it into their folder, or "
            "the one above."
        )
    return best


def _are_roles(rows: Iterable[Mapping[str, str]], column: str) -> bool:
    return all(role_of(row[column]) for row in rows)


def _listing(
    path: Path,
    found: Mapping[str, _Entry],
    labels_of: RowLabels,
    roles: Collection[Role] | None,
    notes: Sequence[str],
) -> Listing:
    classes = sorted_classes({*labels_of.known, *(label for _, labels in found.values() for label in labels)})
    if not labels_of.known:
        check_number(path, len(classes), len(found))
    if not classes:
        raise DataError(f"{show_name(path)} names no image that has a class.")
    have = {role for role, _ in found.values()}
    wanted = [role for role in get_args(Role) if role in have and (roles is None or role in roles)]
    if not wanted:
        raise DataError(f"{show_name(path)} has no {' or '.join(roles or ())} images; it has {' and '.join(have)}.")
    places = {name: number for number, name in enumerate(classes)}
    name = show_name(path.parent.resolve().name)
    if labels_of.several:
        if len(found) * len(classes) > _MOST_CELLS:
            raise DataError(
                f"{show_name(path)} has {len(classes):,} labels for {len(found):,} images, which do not fit into "
                "memory together."
            )
        entries = {role: sorted(file for file, entry in found.items() if entry[0] == role) for role in wanted}
        targets = {role: _marked([found[file][1] for file in own], places) for role, own in entries.items()}
        groups = {role: [own] for role, own in entries.items()}
        return Listing(name, classes, groups, tuple(notes), SEVERAL_LABELS.task, targets)
    files: dict[Role, list[list[str]]] = {role: [[] for _ in classes] for role in wanted}
    for file, (role, labels) in sorted(found.items()):
        if role in files:
            files[role][places[labels[0]]].append(file)
    return Listing(name, classes, files, tuple(notes), ONE_LABEL.task)


def _marked(labels: Sequence[tuple[str, ...]], places: Mapping[str, int]) -> Targets:
    """(N, classes) uint8, 1 for the labels of each image."""
    marks = np.zeros((len(labels), len(places)), np.uint8)
    for row, names in zip(marks, labels, strict=True):
        row[[places[name] for name in names]] = 1
    return marks
