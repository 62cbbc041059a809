"""Which columns of a table have the labels of its rows, and what they say: one label a row, or several."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reslab.errors import DataError
from reslab.texts import count, show_name

__all__ = ["SEPARATOR", "RowLabels", "check_number", "read_labels", "sorted_classes"]

SEPARATOR = "|"
"""Between the labels of a cell, as in `cat|dog`."""
_LABELS = (
    *("label", "labels", "class", "classes", "class_name", "category", "target", "species", "breed", "tag", "tags"),
    "y",
)
_FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
_MOSTLY = 0.5  # share of a column's cells that are 0 or 1, from which on the others are mistakes

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class RowLabels:
    """What a table says of its rows.

    Args:
        of_rows: each row's labels; none where it has none.
        several: whether a row may have several labels, or none of them; else each has one, or is not labelled.
        known: labels that a table has columns for, whether a row has them or not.
    """

    of_rows: Sequence[tuple[str, ...]]
    several: bool
    known: Collection[str] = ()


def read_labels(path: Path, column: str, others: Sequence[str], rows: Rows) -> RowLabels:
    """The labels of a table's rows.

    Args:
        path: of the table, for messages.
        column: that has them; empty where nobody named one.
        others: the columns that name neither images nor roles.
        rows: by the columns' names.

    Raises:
        DataError: it is not clear which column it is, or a cell is neither a label nor several.
    """
    if column and column not in others:
        raise DataError(f"{show_name(path)} has no column {column!r} of classes; it has {', '.join(others)}.")
    named = [name for name in others if name.lower() in _LABELS]
    if not column and not named and len(others) > 1 and _are_flags(path, others, rows):
        return _of_flags(path, others, rows)
    chosen = column or (named[0] if named else others[0] if len(others) == 1 else None)
    if chosen is None:
        raise DataError(
            f"which column of {show_name(path)} has the classes: {', '.join(map(show_name, others))}? Write it as in "
            f"{show_name(path)}#{show_name(others[0])}."
        )
    cells = [row[chosen].strip() for row in rows]
    if not any(SEPARATOR in cell for cell in cells):
        return RowLabels([(cell,) if cell else () for cell in cells], several=False)
    return RowLabels([_parted(path, number, cell) for number, cell in enumerate(cells, start=2)], several=True)


def sorted_classes(names: Collection[str]) -> tuple[str, ...]:
    """By number where all of them are numbers, and else by text."""
    numbers = all(re.fullmatch(r"-?\d{1,18}", name) for name in names)
    return tuple(sorted(names, key=lambda name: (int(name), name)) if numbers else sorted(names))


def check_number(path: Path, num_classes: int, num_images: int) -> None:
    """Raises DataError where a column has so many different labels that it is hardly one of labels."""
    if num_classes > 20 and 2 * num_classes > num_images:
        raise DataError(
            f"{show_name(path)} has {num_classes:,} classes for {count(num_images, 'image')}: is that the column of "
            f"the classes? Write another one as in {show_name(path)}#COLUMN."
        )


def _are_flags(path: Path, columns: Sequence[str], rows: Rows) -> bool:
    """Whether columns are of 0 and 1; a cell of theirs that is neither is a mistake."""
    wrong = [(number, name) for name in columns for number, row in enumerate(rows) if not _is_flag(row[name])]
    if not wrong:
        return True
    if max(Counter(name for _, name in wrong).values()) > (1 - _MOSTLY) * len(rows):
        return False
    number, name = min(wrong)
    raise DataError(
        f"{show_name(path)} has {show_name(rows[number][name].strip())!r} in row {number + 2} of the column "
        f"{show_name(name)!r}, whose other cells are 0 and 1; write 1 where the image has that label, and else 0. If "
        f"it is no label, name the column of the classes, as in {show_name(path)}#{show_name(name)}."
    )


def _is_flag(cell: str) -> bool:
    return cell.strip().lower() in _FLAGS


def _of_flags(path: Path, columns: Sequence[str], rows: Rows) -> RowLabels:
    found = [tuple(name for name in columns if _FLAGS[row[name].strip().lower()]) for row in rows]
    if all(len(labels) <= 1 for labels in found):
        return RowLabels(found, several=False)
    if wrong := next((name for name in columns if SEPARATOR in name), None):
        raise DataError(
            f"{show_name(path)} has the label {show_name(wrong)!r}, and {SEPARATOR!r} stands between labels; rename "
            "the column."
        )
    return RowLabels(found, several=True, known=columns)


def _parted(path: Path, number: int, cell: str) -> tuple[str, ...]:
    """The labels of a cell."""
    labels = [label.strip() for label in cell.split(SEPARATOR)] if cell else []
    if "" in labels:
        raise DataError(
            f"{show_name(path)} has an empty label in row {number}, {show_name(cell)!r}; write labels as in cat|dog, "
            "and nothing at all for none of them."
        )
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise DataError(f"{show_name(path)} has the label {show_name(twice)!r} twice in row {number}; keep one.")
    return tuple(sorted(labels))
