"""The record of an experiment, results.json: of it alone every table, figure and verdict is made.

Importing this module imports no torch.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reslab.errors import ReslabError
from reslab.files.atomic import write_text
from reslab.files.hashing import hash_json
from reslab.files.records import CHECKSUM, read_record
from reslab.paper.catalogue import Column, Experiment
from reslab.paper.experiments import find_experiment
from reslab.paper.packing import unpacked
from reslab.paper.reference import Quoted, find_table, others_values
from reslab.paper.samples import Sample

__all__ = ["RESULTS_NAME", "SCHEMA", "Record"]

RESULTS_NAME = "results.json"
SCHEMA = 2
_LISTS: dict[str, dict[str, type]] = {
    "arms": {"name": str, "net": str, "fields": dict, "options": dict, "quoted": str},
    "rows": {"arm": str, "seed": int, "iterations": int, "net": str, "run": str, "values": dict, "counts": dict},
    "series": {"arm": str, "seed": int, "measure": str},
    "verdicts": {"claim": str, "source": str, "outcome": str, "explanation": str, "basis": str},
    "deviations": {"setting": str, "paper": str, "here": str},
}
"""What the entries of each list have at least."""
_OTHERS: dict[str, Any] = {
    "title": str,
    "source": str,
    "reduced": str,
    "exact": bool,
    "data": dict,
    "environment": dict,
    "choices": dict,
    "iterations": int,
    "hours": int | float,
}


@dataclass(frozen=True, eq=False)
class Record:
    """What was found in an experiment.

    Args:
        content: as results.json has it: `rows` with the `values` of every arm and seed and the `counts` of images of
            those that are error rates, `series`, `verdicts`, and what was run, on what, and where.
    """

    content: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """Reads results.json.

        Raises:
            ReslabError: there is none, or it is damaged.
        """
        path = folder / RESULTS_NAME
        missing = f"there is no {path}: run the experiment first, with `reslab paper run`."
        content = read_record(path, schema_version=SCHEMA, error=ReslabError, if_missing=missing)
        find_experiment(str(content.get("experiment")))
        _check_form(path, content)
        return cls(content)

    def summary(self) -> dict[str, Any]:
        """What programs want to know of it first."""
        return {name: self.content[name] for name in ("experiment", "reduced", "iterations", "rows", "verdicts")}

    def write(self, folder: Path) -> None:
        """Writes results.json with a checksum, an arm, a row or a series a line."""
        parts = []
        content = {name: value for name, value in self.content.items() if name != CHECKSUM}
        for name, value in {**content, CHECKSUM: hash_json(content)}.items():
            lines = [_line(item) for item in value] if name in _LISTS else []
            text = "[\n" + ",\n".join(lines) + "\n]" if lines else _line(value)
            parts.append(f"{_line(name)}: {text}")
        write_text(folder / RESULTS_NAME, "{\n" + ",\n".join(parts) + "\n}\n")

    @property
    def experiment(self) -> Experiment:
        """What it is a record of."""
        return find_experiment(self.content["experiment"])

    @property
    def title(self) -> str:
        """What it shows."""
        return str(self.content["title"])

    @property
    def heading(self) -> str:
        """Title and source, how far it is reduced, and the seeds; of figures."""
        lines = [f"{self.title} ({self.content['source']})"]
        seeds = self.num_seeds
        spoken = "" if self.content["exact"] else "1 seed" if seeds == 1 else f"{seeds} seeds: mean, lowest to highest"
        second = "; ".join(part for part in (self._reduction, spoken) if part)
        return "\n".join([*lines, second] if second else lines)

    @property
    def _reduction(self) -> str:
        reduced = self.content["reduced"]
        return f"reduced: {reduced}" if reduced else ""

    @property
    def num_seeds(self) -> int:
        """The most of any arm."""
        return max((len(self.rows(name)) for name in self.arm_names), default=0)

    @property
    def recipe(self) -> dict[str, Any]:
        """Of the first arm's training, all lengths in iterations; empty where nothing was trained."""
        return next((dict(arm["recipe"]) for arm in self.content["arms"] if arm.get("recipe")), {})

    @property
    def data(self) -> dict[str, Any]:
        """What is known of the images; empty where there were none."""
        return dict(self.content["data"])

    @cached_property
    def arm_names(self) -> list[str]:
        """In the experiment's order, with ensembles at the end."""
        return list(
            dict.fromkeys([arm["name"] for arm in self.content["arms"]] + [row["arm"] for row in self.all_rows])
        )

    @property
    def all_rows(self) -> list[dict[str, Any]]:
        """One for each arm and seed."""
        return list(self.content["rows"])

    @property
    def figure_files(self) -> list[str]:
        """Names of the files of its figures, beside it."""
        return list(self.content.get("figures", ()))

    def rows(self, arm: str) -> list[dict[str, Any]]:
        """Those of an arm, seed by seed."""
        return [row for row in self.content["rows"] if row["arm"] == arm]

    def arm(self, name: str) -> dict[str, Any]:
        """An arm's description."""
        empty = {"name": name, "net": "", "options": {}, "fields": {}, "quoted": ""}
        return next((arm for arm in self.content["arms"] if arm["name"] == name), empty)

    def depth(self, arm: str) -> int:
        """Number of layers, from the network's name; 0 where it has none."""
        found = re.search(r"\d+", self.arm(arm)["net"])
        return int(found[0]) if found else 0

    def series(self, measure: str, arm: str | None = None) -> list[dict[str, Any]]:
        """What a measure kept, of every arm and seed or of one arm."""
        found = [item for item in self.content["series"] if item["measure"] == measure]
        return found if arm is None else [item for item in found if item["arm"] == arm]

    def values(self, arm: str, value: str) -> list[float]:
        """A value of an arm, seed by seed, nan where it is not finite; empty where it was not measured."""
        found = [row["values"][value] for row in self.rows(arm) if value in row["values"]]
        return [float("nan") if number is None else number for number in found]

    def sample(self, arm: str, value: str) -> Sample:
        """The same, with the images that it was counted on."""
        counts = [row["counts"][value] for row in self.rows(arm) if value in row["counts"]]
        wrong = self._wrong(arm) if value == "test_error" else None
        # Images are told right or wrong after the training; on another device than its own it may be one more or less.
        values = self.values(arm, value) if wrong is None else [100 * float(own.mean()) for own in wrong]
        return Sample(
            values=tuple(values),
            num_images=min(counts) if counts else None,
            wrong=wrong,
            exact=bool(self.content["exact"]),
        )

    def _wrong(self, arm: str) -> NDArray[np.bool_] | None:
        found = self.series("predictions", arm)
        if len(found) != len(self.values(arm, "test_error")) or len({item["num_images"] for item in found}) != 1:
            return None
        return np.stack([unpacked(item["wrong"], item["num_images"]) for item in found])

    def others_values(self, arm: str, column: Column) -> list[float]:
        """What others published of an arm's network."""
        described = self.arm(arm)
        net = described["quoted"] or described["net"]
        return [item.quoted.value for item in others_values(net, column.others)] if column.others and net else []

    def paper_value(self, arm: str, column: Column) -> Quoted | None:
        """What the paper has for an arm in a column of the table; None where it has nothing."""
        described = self.arm(arm)
        for name in column.tables:
            table = find_table(name)
            for row in table.rows:
                if (described["quoted"] or described["net"]) in (row.label, row.net):
                    return table.value(row.label, column.paper)
        return None


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _check_form(path: Path, content: Mapping[str, Any]) -> None:
    """Raises ReslabError if a record lacks something that tables, figures and pages take for granted."""
    for name, kind in (*_OTHERS.items(), *dict.fromkeys(_LISTS, list).items()):
        if not isinstance(content.get(name), kind):
            raise ReslabError(f"{path} is damaged: it lacks {name}.")
    for name, entries in _LISTS.items():
        for item in content[name]:
            for key, kind in entries.items():
                if not isinstance(item, dict) or not isinstance(item.get(key), kind):
                    raise ReslabError(f"{path} is damaged: one of its {name} lacks {key}.")
