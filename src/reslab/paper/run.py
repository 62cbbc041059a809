"""An experiment, run from the first training to its report. Importing this module imports no torch."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.data import absolute_spec
from reslab.environment import available_cores
from reslab.errors import ReslabError
from reslab.files.atomic import write_json
from reslab.files.records import read_record
from reslab.paper.engine import Training, run_trainings
from reslab.paper.experiments import Experiment, find_experiment
from reslab.runs import Run
from reslab.training.recipe_files import load_recipe

__all__ = ["ExperimentRun", "run_experiment"]

_LEAST_ITERATIONS = 20


@dataclass(frozen=True, kw_only=True)
class ExperimentRun:
    """How a call of `run_experiment` ended.

    Args:
        folder: of the results.
        stopped_by: the signal that asked to stop, with every training's state saved; None if it is finished.
        results: what results.json says; None if it is not finished.
    """

    folder: Path
    stopped_by: str | None
    results: dict[str, Any] | None


def run_experiment(
    name: str,
    *,
    data: str = "digits",
    recipe: str | None = None,
    iterations: int | None = None,
    seeds: int = 1,
    jobs: int | None = None,
    threads: int | None = None,
    out: Path | None = None,
    data_dir: Path | None = None,
) -> ExperimentRun:  # an experiment has as many settings
    """Trains an experiment's networks, and writes results.json, its figure and report.html.

    Interrupted, the same call goes on where it stopped.

    Args:
        name: name of the experiment; `reslab paper list` lists them.
        data: name of a data set, or a folder of class folders.
        recipe: recipe of all networks; by default digits-quick for digits and cifar-paper otherwise.
        iterations: length to which the recipe's whole schedule is rescaled.
        seeds: number of seeds, from 0.
        jobs: trainings side by side; by default one a core, up to as many as there are networks.
        threads: threads of each training; by default the cores divided by the jobs.
        out: folder of the results; by default paper/NAME-DATA-RECIPE-ITERATIONS.
        data_dir: folder where named data sets are looked for first.

    Raises:
        ReslabError: a bad argument, a folder with other settings, or a training that failed.
    """
    experiment = find_experiment(name)
    for word, value in (("seeds", seeds), ("jobs", jobs), ("threads", threads)):
        if value is not None and not 1 <= value <= 1000:
            raise ReslabError(f"--{word} must be between 1 and 1000, not {value}.")
    recipe_name = recipe or ("digits-quick" if data == "digits" else "cifar-paper")
    base = load_recipe(recipe_name)
    if iterations is None and base.schedule.length.unit != "iterations":
        raise ReslabError(
            f"the recipe {base.name} is {base.schedule.length} long, and all networks shall train equally long: give "
            "--iterations."
        )
    iterations = base.iterations if iterations is None else iterations
    if iterations < _LEAST_ITERATIONS:
        raise ReslabError(
            f"--iterations must be at least {_LEAST_ITERATIONS}, not {iterations}: the errors at the end are means."
        )
    folder = out or Path("paper", f"{experiment.name}-{Path(absolute_spec(data)).name}-{base.name}-{iterations}")
    jobs = jobs or min(available_cores(), len(experiment.models) * seeds)
    arguments = ["--data", absolute_spec(data), "--recipe", recipe_name, "--iterations", str(iterations)]
    arguments += ["--test-curve", "--hardware.threads", str(threads or max(1, available_cores() // jobs))]
    if data_dir:
        arguments += ["--data-dir", str(data_dir)]
    trainings = _trainings(experiment, folder, arguments, iterations, seeds)
    _check_plan(folder, {"experiment": experiment.name, "arguments": arguments})
    stopped_by = run_trainings([training for _, training in trainings], jobs)
    if stopped_by is not None:
        return ExperimentRun(folder=folder, stopped_by=stopped_by, results=None)

    from reslab.paper.report import write_report
    from reslab.paper.results import collect_results, read_results, write_results

    write_results(folder, collect_results(experiment, [(network, training.run) for network, training in trainings]))
    write_report(folder)
    return ExperimentRun(folder=folder, stopped_by=None, results=read_results(folder))


def _trainings(
    experiment: Experiment, folder: Path, arguments: list[str], iterations: int, seeds: int
) -> list[tuple[str, Training]]:
    """The trainings, the deepest networks first, so that none of them is left to run alone at the end."""
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
        for seed in range(seeds)
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
