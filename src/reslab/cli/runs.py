"""`reslab runs`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from reslab.cli.arguments import output_console, parse, print_json
from reslab.errors import CheckpointError
from reslab.runs import Run, find_runs
from reslab.training.recipe_files import recipe_from_dict


@dataclass(frozen=True)
class Arguments:
    folder: Annotated[Path, tyro.conf.Positional] = Path("runs")
    """Where to look, at any depth."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def main(arguments: Sequence[str]) -> int:
    """Lists runs."""
    asked = parse(Arguments, arguments, "runs", "List the runs under a folder, with their last figures.")
    rows = [_row(run) for run in find_runs(asked.folder)]
    if not rows:
        raise CheckpointError(f"there are no runs under {asked.folder}.")
    if asked.json:
        print_json(rows)
        return 0
    table = Table("run", "model", "data", "recipe", "seed", "iterations", "train %", "val %", "test %", box=None)
    for row in rows:
        errors = [f"{row[name]:.2f}" if row.get(name) is not None else "-" for name in _ERRORS]
        done = f"{row['iteration']:,}/{row['iterations']:,}"
        table.add_row(row["run"], row["model"], row["data"], row["recipe"], str(row["seed"]), done, *errors)
    output_console().print(table)
    return 0


_ERRORS = ("train_error", "val_error", "test_error")


def _row(run: Run) -> dict[str, Any]:
    record, rows = run.record, run.rows()
    last: dict[str, Any] = {}
    for row in rows:
        last |= row
    if run.finished:
        last |= run.result()
    return {
        "run": str(run.folder),
        "model": record["model"],
        "data": record["data"]["name"],
        "recipe": record["recipe"]["name"],
        "seed": record["seed"],
        "iteration": rows[-1]["iteration"] if rows else 0,
        "iterations": recipe_from_dict(record["recipe"]).iterations,
        "finished": run.finished,
        **{name: last.get(name) for name in _ERRORS},
    }
