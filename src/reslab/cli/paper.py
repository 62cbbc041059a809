"""`reslab paper`."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

from reslab.cli.command import Command, argument
from reslab.cli.forms import form_of
from reslab.cli.output import JsonArguments, print_json, print_report, print_table
from reslab.fields import knob
from reslab.paper.listing import catalogue_table, describe, listing, quoted_tables
from reslab.paper.recording import record_results
from reslab.paper.run import run_experiment
from reslab.paper.verifying import verify_record

if TYPE_CHECKING:
    from reslab.paper.tables import Table

INTRO = """The paper's figures, tables and claims, and what goes beyond it.

  reslab paper list                      what there is, and what it takes
  reslab paper list table8               one of them: what it claims, and the numbers that are quoted
  reslab paper run fig6 --budget 10m     run one; interrupted or killed, the same command goes on
  reslab paper report FOLDER...          redo its report, or build a site of several"""


@dataclass(frozen=True, kw_only=True)
class ListArguments(JsonArguments):
    name: str | None = argument(None, "Name of an experiment.", metavar="NAME")


@dataclass(frozen=True, kw_only=True)
class RowsArguments:
    json: bool = knob(False, "Print the rows and verdicts as JSON.")


@dataclass(frozen=True, kw_only=True)
class ReportArguments(RowsArguments):
    folders: tuple[Path, ...] = argument(
        (), "Folders of records, or one with such folders in it; results/ by default.", metavar="FOLDER"
    )
    out: Path | None = knob(None, "Folder of a site of all records; by default one folder's own report is redone.")


def list_experiments(asked: ListArguments) -> int:
    """Lists the experiments, or shows one."""
    if asked.json:
        print_json(listing() if asked.name is None else describe(asked.name))
    elif asked.name is None:
        _print(catalogue_table())
    else:
        print(*describe(asked.name)["lines"], sep="\n")
        for table in quoted_tables(asked.name):
            print()
            _print(table)
    return 0


def run(asked: Any) -> int:
    """Runs an experiment."""
    done = run_experiment(**{name: value for name, value in vars(asked).items() if name != "json"})
    if done.stopped_by is not None:
        command = shlex.join(["reslab", *sys.argv[1:]])
        print(f"Stopped by {done.stopped_by}, and saved; go on with: {command}", file=sys.stderr)
        return 128 + Signals[done.stopped_by]
    return _show(done.folder, asked.json)


def record(asked: Any) -> int:
    """Writes a finished experiment into a folder of records."""
    return print_report(record_results(asked.folder, out=asked.out, name=asked.name), asked.json)


def verify(asked: Any) -> int:
    """Does a part of a record's training again."""
    found = verify_record(**{name: value for name, value in vars(asked).items() if name != "json"})
    print_report(found, asked.json)
    return 0 if found.agrees else 1


def report(asked: ReportArguments) -> int:
    """Redoes an experiment's figures and report, or builds a site of several."""
    from reslab.paper.report import write_report
    from reslab.paper.site import find_records, write_site

    if len(asked.folders) == 1 and asked.out is None:
        write_report(asked.folders[0])
        return _show(asked.folders[0], asked.json)
    folders = find_records(asked.folders or [Path("results")])
    return print_report(write_site(folders, asked.out or Path("paper", "report")), asked.json)


def _show(folder: Path, json: bool) -> int:
    from reslab.paper.record import RESULTS_NAME, Record
    from reslab.paper.report import report_path
    from reslab.paper.tables import main_table, verdict_lines

    record = Record.read(folder)
    if json:
        print_json(record.summary())
        return 0
    print(f"{record.heading}\n")
    _print(main_table(record))
    print("", *verdict_lines(record), "", folder / RESULTS_NAME, report_path(folder), sep="\n")
    return 0


def _print(table: "Table") -> None:
    print_table(table.headings, table.rows, right=tuple(table.headings[place] for place in table.right))
    if table.note:
        print(table.note)


COMMANDS = {
    "list": Command(
        ListArguments, "what can be run, and what is quoted", "  reslab paper list table3", list_experiments
    ),
    "run": Command(
        form_of(run_experiment, RowsArguments, name="NAME"),
        "run an experiment and write results.json, its figures and report.html",
        """\
  reslab paper run fig1                                             two minutes on two cores
  reslab paper run fig6 --depths 20,32,44,56 --budget 10m           as long as there is time
  reslab paper run fig7 --nets runs/a runs/b                        of networks that are there

Interrupted, the same command goes on where it stopped.""",
        run,
    ),
    "record": Command(
        form_of(record_results, JsonArguments, folder="FOLDER"),
        "write a finished experiment into a folder of records",
        "  reslab paper record paper/fig1-digits-full",
        record,
    ),
    "verify": Command(
        form_of(verify_record, JsonArguments, folder="RECORD"),
        "do a random part of a record's training again, and compare its losses",
        "  reslab paper verify results/fig1-digits",
        verify,
    ),
    "report": Command(
        ReportArguments,
        "redo an experiment's report, or build a site of several",
        "  reslab paper report results --out site              a site of many, which needs no network",
        report,
    ),
}
