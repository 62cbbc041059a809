"""`reslab runs`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.analysis.run_tables import SORT_KEYS, Wanted, differences, list_runs, short_names, sort_rows
from reslab.cli.command import Command, argument
from reslab.cli.output import JsonArguments, print_json, print_table
from reslab.errors import ReslabError
from reslab.fields import knob
from reslab.runs import Run
from reslab.texts import show_name

_DESCRIPTION = """\
  reslab runs
  reslab runs experiments/ --model 'resnet*' --finished --sort val_error
  reslab runs --data digits --compare
  reslab runs runs/first runs/second --compare --plot curves.svg
  reslab runs experiments/ --json

Errors are the last ones that were recorded, in %. Where images have several labels, "train %" counts wrong labels, and
"val %" and "test %" are 100 less the mean average precision. A damaged run is a row that says so, and the exit code is
1."""
_ERRORS = ("train_error", "val_error", "test_error")
_USUAL = Path("runs")


@dataclass(frozen=True, kw_only=True)
class Arguments(JsonArguments):
    folders: tuple[Path, ...] = argument(
        (), "Folders to look in, at any depth, or runs; runs/ by default.", metavar="FOLDER"
    )
    model: str | None = knob(None, "Only networks of this name or spelling; a pattern, as in 'resnet*'.")
    data: str | None = knob(None, "Only data of this name, likewise.")
    recipe: str | None = knob(None, "Only recipes of this name, likewise.")
    finished: bool = knob(False, "Only runs that came to their end.")
    sort: str = knob("run", "Order of the rows; what has no value comes last.", choices=SORT_KEYS)
    descending: bool = knob(False, "The largest first.")
    compare: bool = knob(False, "Show in which settings the runs differ.")
    plot: Path | None = knob(None, "Picture of all their curves (.svg, .png).")


def run(asked: Arguments) -> int:
    """Lists runs; one that is damaged is named, and the others are listed all the same."""
    folders = asked.folders or ((_USUAL,) if _USUAL.is_dir() else ())
    wanted = Wanted(model=asked.model, data=asked.data, recipe=asked.recipe, finished=asked.finished)
    rows = sort_rows(list_runs(folders, wanted), asked.sort, descending=asked.descending)  # type: ignore[arg-type]
    damaged = [row for row in rows if row["error"] is not None]
    for row in damaged:
        print(f"reslab: {row['error']}", file=sys.stderr)
    whole = [row for row in rows if row["error"] is None]
    compared = differences([Run(Path(row["run"])) for row in whole]) if asked.compare else []
    if asked.plot:
        from reslab.analysis.run_plots import plot_runs

        names = short_names([row["run"] for row in whole])
        curves = [(name, Run(Path(row["run"])).rows()) for name, row in zip(names, whole, strict=True)]
        plot_runs(curves, asked.plot)
    if asked.json:
        settings = {setting.name: list(setting.values) for setting in compared}
        print_json({"runs": rows, "differences": settings} if asked.compare else rows)
    elif rows:
        _print_rows(rows)
        if asked.compare:
            names = short_names([row["run"] for row in whole])
            print()
            _print_differences(names, [(setting.name, setting.values) for setting in compared])
    else:
        where = " or ".join(map(show_name, folders or [_USUAL]))
        chosen = any((asked.model, asked.data, asked.recipe, asked.finished))
        print(
            f"No run under {where} is as asked for; `reslab runs {where}` lists all."
            if chosen
            else f"There are no runs under {where}; `reslab train resnet20 --data digits` makes one."
        )
    if asked.plot and not asked.json:
        print(asked.plot)
    return 1 if damaged else 0


def _print_rows(rows: Sequence[dict[str, Any]]) -> None:
    texts = []
    for row in rows:
        if row["error"] is not None:
            texts.append((show_name(row["run"]), "(damaged)", *[""] * 7))
            continue
        errors = (f"{row[name]:.2f}" if row.get(name) is not None else "-" for name in _ERRORS)
        done = f"{row['iteration']:,}/{row['iterations']:,}"
        names = (show_name(row[name]) for name in ("run", "model", "data", "recipe"))
        texts.append((*names, str(row["seed"]), done, *errors))
    numbers = ("seed", "iterations", "train %", "val %", "test %")
    print_table(("run", "model", "data", "recipe", *numbers), texts, right=numbers)


def _print_differences(names: Sequence[str], compared: Sequence[tuple[str, Sequence[Any]]]) -> None:
    if len(names) < 2:
        raise ReslabError("it takes two runs that can be read to compare.")
    if not compared:
        print("The runs have the same settings.")
        return
    texts = [(name, *("-" if value is None else show_name(value) for value in values)) for name, values in compared]
    print_table(("setting", *map(show_name, names)), texts)


COMMANDS = {"": Command(Arguments, "list, filter and compare the runs under a folder", _DESCRIPTION, run)}
