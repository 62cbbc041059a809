"""`reslab paper`."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any

from reslab.cli.command import Command, argument
from reslab.cli.forms import form_of
from reslab.cli.output import JsonArguments, print_json, print_table
from reslab.fields import knob
from reslab.paper.experiments import EXPERIMENTS
from reslab.paper.run import run_experiment

INTRO = """The paper's experiments.

  reslab paper list                      what can be run
  reslab paper run fig1                  run one; interrupted, the same command goes on
  reslab paper report FOLDER             redo figure and report from the folder's results.json"""


@dataclass(frozen=True, kw_only=True)
class RowsArguments:
    json: bool = knob(False, "Print the rows and verdicts as JSON.")


@dataclass(frozen=True, kw_only=True)
class ReportArguments(RowsArguments):
    folder: Path = argument(help="Folder with a results.json.", metavar="FOLDER")


def list_experiments(asked: JsonArguments) -> int:
    """Lists the experiments."""
    if asked.json:
        keys = ("name", "title", "source", "models")
        print_json([{key: getattr(experiment, key) for key in keys} for experiment in EXPERIMENTS.values()])
        return 0
    rows = [(item.name, item.source, item.title, ", ".join(item.models)) for item in EXPERIMENTS.values()]
    print_table(("name", "in the paper", "what it shows", "networks"), rows)
    return 0


def run(asked: Any) -> int:
    """Runs an experiment."""
    done = run_experiment(**{name: value for name, value in vars(asked).items() if name != "json"})
    if done.stopped_by is not None:
        command = shlex.join(["reslab", *sys.argv[1:]])
        print(f"Stopped by {done.stopped_by}, and saved; go on with: {command}", file=sys.stderr)
        return 128 + Signals[done.stopped_by]
    return _show(done.folder, asked.json)


def report(asked: ReportArguments) -> int:
    """Redoes an experiment's figure and report."""
    from reslab.paper.report import write_report

    write_report(asked.folder)
    return _show(asked.folder, asked.json)


def _show(folder: Path, json: bool) -> int:
    from reslab.paper.report import figure_path, report_path, table_rows
    from reslab.paper.results import read_results

    results = read_results(folder)
    if json:
        print_json({key: results[key] for key in ("experiment", "reduced", "rows", "verdicts")})
        return 0
    print(f"{results['title']}; reduced: {results['reduced']}\n")
    rows = [[row[key] for key in _TABLE] for row in table_rows(results)]
    print_table(tuple(_TABLE.values()), rows, right=tuple(_TABLE.values())[1:])
    print()
    for verdict in results["verdicts"]:
        print(f"{verdict['outcome'] + ':':<10} {verdict['claim']}\n           {verdict['explanation']}")
    print(f"\n{folder / 'results.json'}\n{figure_path(folder, results)}\n{report_path(folder)}")
    return 0


_TABLE = {
    "network": "network",
    "paper": "paper: test error, CIFAR-10",
    "test_error": "test error %",
    "train_error": "training error %",
    "train_error_clean": "eval mode %",
    "seeds": "seeds",
}

COMMANDS = {
    "list": Command(JsonArguments, "the experiments that can be run", "  reslab paper list --json", list_experiments),
    "run": Command(
        form_of(run_experiment, RowsArguments, name="NAME"),
        "run an experiment and write results.json, its figure and report.html",
        """\
  reslab paper run fig1                                           two minutes on two cores
  reslab paper run fig1 --data fashion-mnist --iterations 1000    real images

Interrupted, the same command goes on where it stopped.""",
        run,
    ),
    "report": Command(
        ReportArguments,
        "redo an experiment's figure and report.html from its results.json",
        "  reslab paper report paper/fig1-digits-digits-quick-720",
        report,
    ),
}
