"""`reslab paper`."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any

from reslab.cli.command import Command, argument
from reslab.cli.output import JSON_HELP, output_console, print_json, print_table
from reslab.fields import knob
from reslab.paper.experiments import EXPERIMENTS

INTRO = """The paper's experiments.

  reslab paper list                      what can be run
  reslab paper run fig1                  run one; interrupted, the same command goes on
  reslab paper report FOLDER             redo figure and report from the folder's results.json"""
_JSON = "Print the rows and verdicts as JSON."


@dataclass(frozen=True, kw_only=True)
class RunArguments:
    name: str = argument(help="Name of the experiment; `reslab paper list` lists them.")
    data: str = knob("digits", "Name of a data set, or a folder of class folders.")
    recipe: str | None = knob(
        None, "Recipe of all networks; by default digits-quick for digits and cifar-paper otherwise."
    )
    iterations: int | None = knob(None, "Length to which the recipe's whole schedule is rescaled.", least=20)
    seeds: int = knob(1, "Number of seeds, from 0.", least=1, most=1000)
    jobs: int | None = knob(
        None, "Trainings side by side; by default one a core, up to as many as there are networks.", least=1, most=1000
    )
    threads: int | None = knob(
        None, "Threads of each training; by default the cores divided by the jobs.", least=1, most=1000
    )
    out: Path | None = knob(None, "Folder of the results; by default paper/NAME-DATA-RECIPE-ITERATIONS.")
    data_dir: Path | None = knob(None, "Folder where named data sets are looked for first.")
    json: bool = knob(False, _JSON)


@dataclass(frozen=True, kw_only=True)
class ReportArguments:
    folder: Path = argument(help="Folder with a results.json.", metavar="FOLDER")
    json: bool = knob(False, _JSON)


@dataclass(frozen=True, kw_only=True)
class ListArguments:
    json: bool = knob(False, JSON_HELP)


def list_experiments(asked: ListArguments) -> int:
    """Lists the experiments."""
    if asked.json:
        keys = ("name", "title", "source", "models")
        print_json([{key: getattr(experiment, key) for key in keys} for experiment in EXPERIMENTS.values()])
        return 0
    rows = [(item.name, item.source, item.title, ", ".join(item.models)) for item in EXPERIMENTS.values()]
    print_table(("name", "in the paper", "what it shows", "networks"), rows)
    return 0


def run(asked: RunArguments) -> int:
    """Runs an experiment."""
    from reslab.paper.run import run_experiment

    done = run_experiment(
        asked.name,
        data=asked.data,
        recipe=asked.recipe,
        iterations=asked.iterations,
        seeds=asked.seeds,
        jobs=asked.jobs,
        threads=asked.threads,
        out=asked.out,
        data_dir=asked.data_dir,
    )
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
    _show_table(results, table_rows(results))
    for verdict in results["verdicts"]:
        print(f"{verdict['outcome'] + ':':<10} {verdict['claim']}\n           {verdict['explanation']}")
    print(f"\n{folder / 'results.json'}\n{figure_path(folder, results)}\n{report_path(folder)}")
    return 0


def _show_table(results: dict[str, Any], rows: list[dict[str, str]]) -> None:
    from rich.table import Table

    table = Table(title=f"{results['title']}; reduced: {results['reduced']}", title_justify="left", box=None)
    for heading in (
        "network",
        "paper: test error, CIFAR-10",
        "test error %",
        "training error %",
        "eval mode %",
        "seeds",
    ):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for row in rows:
        table.add_row(*(row[key] for key in _TABLE_KEYS))
    output_console().print(table)
    print()


_TABLE_KEYS = ("network", "paper", "test_error", "train_error", "train_error_clean", "seeds")

COMMANDS = {
    "list": Command(ListArguments, "the experiments that can be run", "  reslab paper list --json", list_experiments),
    "run": Command(
        RunArguments,
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
