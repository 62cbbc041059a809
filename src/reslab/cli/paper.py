"""`reslab paper`."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Annotated, Any

import tyro
from rich.table import Table

from reslab.cli.arguments import OptionalCount, OptionalPath, OptionalText, output_console, parse, print_json
from reslab.data import absolute_spec
from reslab.environment import available_cores
from reslab.errors import ReslabError
from reslab.files.atomic import write_json
from reslab.files.records import read_record
from reslab.paper.engine import Training, run_trainings
from reslab.paper.experiments import EXPERIMENTS, Experiment, find_experiment
from reslab.runs import Run
from reslab.training.recipe_default import default_recipe
from reslab.training.recipe_files import load_recipe

_HELP = """The paper's experiments.

  reslab paper list                      what can be run
  reslab paper run fig1                  run one; interrupted, the same command goes on
  reslab paper report FOLDER             redo figure and report from the folder's results.json
"""


@dataclass(frozen=True, kw_only=True)
class RunArguments:
    name: Annotated[str, tyro.conf.Positional]
    """Of the experiment; `reslab paper list` lists them."""
    data: str = "digits"
    """digits, fashion-mnist, cifar10, cifar100, or a folder of class folders."""
    recipe: OptionalText = None
    """Under which all networks are trained; digits-quick for digits and cifar-paper otherwise by default."""
    iterations: OptionalCount = None
    """Rescale the recipe's whole schedule to so many iterations."""
    seeds: int = 1
    """How many seeds, from 0."""
    jobs: OptionalCount = None
    """Trainings side by side; one a core by default, up to as many as there are networks."""
    threads: OptionalCount = None
    """Of each training; the cores divided by the jobs by default."""
    out: OptionalPath = None
    """Folder of the results; paper/NAME-DATA-RECIPE-ITERATIONS by default."""
    data_dir: OptionalPath = None
    """Where named data sets are looked for first."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the rows and verdicts as JSON."""


@dataclass(frozen=True)
class ReportArguments:
    folder: Annotated[Path, tyro.conf.Positional]
    """With a results.json."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the rows and verdicts as JSON."""


@dataclass(frozen=True)
class ListArguments:
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def main(arguments: Sequence[str]) -> int:
    """Lists, runs and reports experiments."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_HELP)
        return 0
    commands = {"list": _list, "run": _run, "report": _report}
    if arguments[0] not in commands:
        raise ReslabError(f"there is no command `reslab paper {arguments[0]}`; there are {', '.join(commands)}.")
    return commands[arguments[0]](arguments[1:])


def _list(arguments: Sequence[str]) -> int:
    asked = parse(ListArguments, arguments, "paper list", "List the experiments that can be run.")
    if asked.json:
        keys = ("name", "title", "source", "models")
        print_json([{key: getattr(experiment, key) for key in keys} for experiment in EXPERIMENTS.values()])
        return 0
    table = Table("name", "in the paper", "what it shows", "networks", box=None)
    for experiment in EXPERIMENTS.values():
        table.add_row(experiment.name, experiment.source, experiment.title, ", ".join(experiment.models))
    output_console().print(table)
    return 0


def _run(arguments: Sequence[str]) -> int:
    description = """Run an experiment and write results.json, its figure and report.html.

Interrupted, the same command goes on where it stopped. The defaults take two minutes on two cores."""
    asked = parse(RunArguments, arguments, "paper run", description)
    experiment = find_experiment(asked.name)
    for name in ("seeds", "jobs", "threads"):
        value = getattr(asked, name)
        if value is not None and not 1 <= value <= 1000:
            raise ReslabError(f"--{name} must be between 1 and 1000, not {value}.")
    trainings = _plan(experiment, asked)
    folder = trainings[0][1].run.folder.parent.parent
    _check_plan(folder, {"experiment": experiment.name, "arguments": list(trainings[0][1].arguments[1:-2])})
    jobs = asked.jobs or min(available_cores(), len(trainings))
    stopped_by = run_trainings([training for _, training in trainings], jobs)
    if stopped_by is not None:
        command = shlex.join(["reslab", "paper", "run", *arguments])
        print(f"Stopped by {stopped_by}, and saved; go on with: {command}", file=sys.stderr)
        return 128 + Signals[stopped_by]

    from reslab.paper.results import collect_results, write_results

    write_results(folder, collect_results(experiment, [(network, training.run) for network, training in trainings]))
    return _show(folder, asked.json)


def _plan(experiment: Experiment, asked: RunArguments) -> list[tuple[str, Training]]:
    """The trainings, the deepest networks first, so that none of them is left to run alone at the end."""
    usual = default_recipe(asked.data)
    recipe_name = asked.recipe or (
        usual if usual == "digits-quick" else "cifar-paper"
    )  # the experiments' images are small
    recipe = load_recipe(recipe_name)
    length = recipe.schedule.length
    if not asked.iterations and length.unit != "iterations":
        raise ReslabError(
            f"the recipe {recipe.name} is {length} long; give --iterations: the paper's curves are in them."
        )
    iterations = asked.iterations or int(length)
    if iterations < 20:
        raise ReslabError(f"--iterations must be at least 20, not {iterations}: the errors at the end need some rows.")
    data_name = Path(absolute_spec(asked.data)).name
    folder = asked.out or Path("paper", f"{experiment.name}-{data_name}-{recipe.name}-{iterations}")
    cores = available_cores()
    jobs = asked.jobs or min(cores, len(experiment.models) * asked.seeds)
    arguments = [
        "--data",
        absolute_spec(asked.data),
        "--recipe",
        recipe_name,
        "--iterations",
        str(iterations),
        "--test-curve",
    ]
    arguments += ["--hardware.threads", str(asked.threads or max(1, cores // jobs))]
    if asked.data_dir:
        arguments += ["--data-dir", str(asked.data_dir)]
    depths = sorted(experiment.models, key=lambda name: -int("".join(filter(str.isdigit, name))))
    return [
        (
            network,
            Training(
                name=f"{network} seed {seed}",
                arguments=(network, *arguments, "--seed", str(seed)),
                run=Run(folder / "runs" / f"{network}-seed{seed}"),
                iterations=iterations,
            ),
        )
        for seed in range(asked.seeds)
        for network in depths
    ]


def _check_plan(folder: Path, plan: dict[str, Any]) -> None:
    """Refuses to mix trainings of two settings in one folder; more seeds are no other setting."""
    path = folder / "plan.json"
    if path.exists():
        recorded = read_record(path, schema_version=None, error=ReslabError, if_missing="")
        if recorded != plan:
            settings = shlex.join(map(str, recorded.get("arguments", [])))
            raise ReslabError(f"{folder} holds other settings ({settings}); choose another --out, or remove it.")
    write_json(path, plan)


def _report(arguments: Sequence[str]) -> int:
    description = "Redo an experiment's figure and report.html from its results.json."
    asked = parse(ReportArguments, arguments, "paper report", description)
    return _show(asked.folder, asked.json)


def _show(folder: Path, json: bool) -> int:
    from reslab.paper.report import figure_path, table_rows, write_report
    from reslab.paper.results import read_results

    report = write_report(folder)
    results = read_results(folder)
    if json:
        print_json({key: results[key] for key in ("experiment", "reduced", "rows", "verdicts")})
        return 0
    console = output_console()
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
    for row in table_rows(results):
        table.add_row(*(row[key] for key in _TABLE_KEYS))
    console.print(table)
    print()
    for verdict in results["verdicts"]:
        print(f"{verdict['outcome'] + ':':<10} {verdict['claim']}\n           {verdict['explanation']}")
    print(f"\n{folder / 'results.json'}\n{figure_path(folder, results)}\n{report}")
    return 0


_TABLE_KEYS = ("network", "paper", "test_error", "train_error", "train_error_clean", "seeds")
