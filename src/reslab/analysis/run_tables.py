"""Runs in a table, and in what their settings differ. Importing this module imports neither torch nor matplotlib."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from reslab.errors import DataError, ReslabError
from reslab.runs import Run, describe_run, find_runs

__all__ = ["SORT_KEYS", "Difference", "Wanted", "differences", "list_runs", "short_names", "sort_rows"]

Row = dict[str, Any]
SortKey = Literal["run", "model", "data", "recipe", "seed", "iteration", "train_error", "val_error", "test_error"]
SORT_KEYS: tuple[SortKey, ...] = (
    *("run", "model", "data", "recipe", "seed", "iteration", "train_error", "val_error", "test_error"),
)
_NO_SETTING = ("reasons", "digest", "name")  # of a recipe or an execution: what explains it, or calls it


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which runs are listed.

    Args:
        model: pattern of the network's name or spelling, as `resnet*`; all where it is None.
        data: pattern of the data's name.
        recipe: pattern of the recipe's name.
        finished: only those that came to their end.
    """

    model: str | None = None
    data: str | None = None
    recipe: str | None = None
    finished: bool = False

    def admits(self, row: Row) -> bool:
        """Whether a run is one of them; a damaged one is, since nobody knows what it was."""
        if row["error"] is not None:
            return True
        names = {name: (row[name], row[name].partition("[")[0]) for name in ("model", "data", "recipe")}
        fits = all(
            pattern is None or any(pattern == name or fnmatchcase(name, pattern) for name in names[key])
            for key, pattern in (("model", self.model), ("data", self.data), ("recipe", self.recipe))
        )
        return fits and (row["finished"] or not self.finished)


@dataclass(frozen=True)
class Difference:
    """A setting in which runs differ.

    Args:
        name: of the setting, by tables joined by dots, as `recipe.optimizer.learning_rate`.
        values: of the runs, in their order; None where a run has none.
    """

    name: str
    values: tuple[Any, ...]


def list_runs(folders: Iterable[Path], wanted: Wanted | None = None) -> list[Row]:
    """The runs under some folders, each once, in a row as `describe_run` gives it, with `error`.

    A damaged run has its path, and in `error` what is wrong with it; the others go on.

    Args:
        folders: to look in at any depth; runs' own folders, too.
        wanted: which of them; all by default.

    Raises:
        DataError: there is no such folder.
    """
    rows, seen = [], set()
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}.")
        for run in find_runs(folder):
            place = os.path.realpath(run.folder)
            if place in seen:
                continue
            seen.add(place)
            row = _row(run)
            if wanted is None or wanted.admits(row):
                rows.append(row)
    return rows


def sort_rows(rows: Iterable[Row], key: SortKey, *, descending: bool = False) -> list[Row]:
    """Rows by one of their entries; those that have none come last.

    Args:
        rows: as `list_runs` gives them.
        key: name of the entry.
        descending: the largest first.
    """
    known = [row for row in rows if row.get(key) is not None]
    others = [row for row in rows if row.get(key) is None]
    return [*sorted(known, key=lambda row: row[key], reverse=descending), *others]


def differences(runs: Sequence[Run]) -> list[Difference]:
    """In which settings runs differ, in the order of their records.

    Args:
        runs: that can be read.

    Raises:
        CheckpointError: the record of one is damaged.
    """
    settings = [dict(_settings(run.record)) for run in runs]
    names = list(dict.fromkeys(name for found in settings for name in found))
    found = (Difference(name, tuple(values.get(name) for values in settings)) for name in names)
    return [setting for setting in found if any(value != setting.values[0] for value in setting.values[1:])]


def short_names(folders: Sequence[str]) -> list[str]:
    """What tells folders apart: their paths below the deepest folder that all are in."""
    if len(folders) < 2:
        return [Path(folder).name or folder for folder in folders]
    shared = os.path.commonpath([os.path.abspath(folder) for folder in folders])
    return [os.path.relpath(os.path.abspath(folder), shared) for folder in folders]


def _row(run: Run) -> Row:
    try:
        return {**describe_run(run), "error": None}
    except ReslabError as error:
        return {"run": str(run.folder), "finished": False, "error": str(error)}


def _settings(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from (("model", record["model"]), ("data", record["data"]["name"]), ("recipe", record["recipe"]["name"]))
    for name in ("seed", "weights", "iterations", "recipe", "execution"):
        value = record.get(name)
        yield from _flat(name, value) if isinstance(value, Mapping) else [(name, value)]


def _flat(name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if key in _NO_SETTING:
            continue
        yield from _flat(f"{name}.{key}", value) if isinstance(value, Mapping) else [(f"{name}.{key}", value)]
