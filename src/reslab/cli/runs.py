"""`reslab runs`."""

import sys
from dataclasses import dataclass
from pathlib import Path

from reslab.cli.command import Command, argument
from reslab.cli.output import JsonArguments, print_json, print_table
from reslab.errors import ReslabError
from reslab.runs import describe_run, find_runs

_DESCRIPTION = """\
  reslab runs
  reslab runs experiments/ --json

Errors are the last ones that were recorded, in %."""
_ERRORS = ("train_error", "val_error", "test_error")


@dataclass(frozen=True, kw_only=True)
class Arguments(JsonArguments):
    folder: Path = argument(Path("runs"), "Folder to look in, at any depth; runs/ by default.", metavar="FOLDER")


def run(asked: Arguments) -> int:
    """Lists runs; one that is damaged is named, and the others are listed all the same."""
    if not asked.folder.is_dir() and asked.folder != Path("runs"):
        raise ReslabError(f"there is no folder {asked.folder}.")
    rows, num_damaged = [], 0
    for found in find_runs(asked.folder):
        try:
            rows.append(describe_run(found))
        except ReslabError as error:
            num_damaged += 1
            print(f"reslab: {error}", file=sys.stderr)
    if asked.json:
        print_json(rows)
    elif rows:
        texts = []
        for row in rows:
            errors = (f"{row[name]:.2f}" if row.get(name) is not None else "-" for name in _ERRORS)
            done = f"{row['iteration']:,}/{row['iterations']:,}"
            texts.append((row["run"], row["model"], row["data"], row["recipe"], str(row["seed"]), done, *errors))
        numbers = ("seed", "iterations", "train %", "val %", "test %")
        print_table(("run", "model", "data", "recipe", *numbers), texts, right=numbers)
    elif not num_damaged:
        print(f"There are no runs under {asked.folder}; `reslab train resnet20 --data digits` makes one.")
    return 1 if num_damaged else 0


COMMANDS = {"": Command(Arguments, "list the runs under a folder", _DESCRIPTION, run)}
