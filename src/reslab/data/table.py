"""Images whose classes stand in a table: a CSV file beside them, as contests and labelling programs give it."""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from reslab.data.dataset import Role
from reslab.data.listing import Listing
from reslab.data.names import is_image_name, walk
from reslab.data.roles import role_of
from reslab.errors import DataError
from reslab.texts import count, show_name

__all__ = ["TABLE_SUFFIXES", "is_table", "list_table", "split_column"]

TABLE_SUFFIXES = (".csv", ".tsv")
_MOST_BYTES = 1 << 28  # ten times the largest table of ImageNet's 14 million images' names would need
_LABELS = ("label", "labels", "class", "classes", "class_name", "category", "target", "species", "breed", "tag", "y")
_ROLES = ("split", "role", "set", "subset", "phase", "partition", "fold")
_DELIMITERS = ",;\t|"
_TRIED = 200  # rows by which it is found out which column names the images
_FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


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

    Args:
        spec: the table, as `is_table` knows it.
        roles: that are wanted; all by default.

    Raises:
        DataError: the table cannot be read, it is not clear which column is which, or an image has two classes.
    """
    path, column = split_column(spec)
    header, rows = _read(path)
    files = _Files(path.parent)
    names = _image_column(path, header, rows, files)
    role_column = next((name for name in header if name.lower() in _ROLES and _are_roles(rows, name)), None)
    others = [name for name in header if name not in (names, role_column)]
    class_of = _classes(path, column, others, rows)
    found: dict[str, tuple[Role, str]] = {}
    notes: list[str] = []
    missing: list[str] = []
    unlabelled = 0
    for row, label in zip(rows, class_of, strict=True):
        file = files.find(row[names])
        role: Role = role_of(row[role_column]) or "train" if role_column else "train"
        if file is None:
            missing.append(row[names])
        elif not label:
            unlabelled += 1
        elif found.setdefault(file, (role, label)) != (role, label):
            raise DataError(
                f"{show_name(path)} has the image {show_name(file)} twice, as {found[file][1]!r} in {found[file][0]} "
                f"and as {label!r} in {role}; keep one of the rows."
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
    return _listing(path, found, roles, notes)


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


def _classes(path: Path, column: str, others: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The class of every row; empty where it has none."""
    if column:
        if column not in others:
            raise DataError(f"{show_name(path)} has no column {column!r} of classes; it has {', '.join(others)}.")
        return [row[column].strip() for row in rows]
    named = [name for name in others if name.lower() in _LABELS]
    if not named and len(others) > 1 and all(row[name].strip().lower() in _FLAGS for row in rows for name in others):
        flags = [[name for name in others if _FLAGS[row[name].strip().lower()]] for row in rows]
        if several := next((number for number, names in enumerate(flags, start=2) if len(names) > 1), None):
            raise DataError(f"{show_name(path)} has several classes in row {several}; images have one class here.")
        return [names[0] if names else "" for names in flags]
    chosen = named[0] if named else others[0] if len(others) == 1 else None
    if chosen is None:
        raise DataError(
            f"which column of {show_name(path)} has the classes: {', '.join(map(show_name, others))}? Write it as in "
            f"{show_name(path)}#{show_name(others[0])}."
        )
    return [row[chosen].strip() for row in rows]


def _listing(
    path: Path, found: Mapping[str, tuple[Role, str]], roles: Collection[Role] | None, notes: Sequence[str]
) -> Listing:
    names = {label for _, label in found.values()}
    if len(names) > 20 and 2 * len(names) > len(found):
        raise DataError(
            f"{show_name(path)} has {len(names):,} classes for {count(len(found), 'image')}: is that the column of "
            f"the classes? Write another one as in {show_name(path)}#COLUMN."
        )
    if not names:
        raise DataError(f"{show_name(path)} names no image that has a class.")
    numbers = all(re.fullmatch(r"-?\d{1,18}", name) for name in names)
    classes = tuple(sorted(names, key=lambda name: (int(name), name)) if numbers else sorted(names))
    have = {role for role, _ in found.values()}
    wanted = [role for role in get_args(Role) if role in have and (roles is None or role in roles)]
    if not wanted:
        raise DataError(f"{show_name(path)} has no {' or '.join(roles or ())} images; it has {' and '.join(have)}.")
    places = {name: number for number, name in enumerate(classes)}
    files: dict[Role, list[list[str]]] = {role: [[] for _ in classes] for role in wanted}
    for file, (role, label) in sorted(found.items()):
        if role in files:
            files[role][places[label]].append(file)
    return Listing(show_name(path.parent.resolve().name), classes, files, tuple(notes))
