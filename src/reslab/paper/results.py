"""From finished runs to one record, results.json, of which every table, figure and report is made.

Importing this module imports no torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reslab.errors import ReslabError
from reslab.files.atomic import write_json
from reslab.files.records import read_record
from reslab.paper.experiments import Experiment, find_experiment
from reslab.paper.reference import CIFAR_ITERATIONS
from reslab.paper.verdicts import judge
from reslab.runs import Run
from reslab.training.recipe_files import recipe_from_dict
from reslab.training.recipes import RECIPES
from reslab.training.schedule import LAST_SHARE

__all__ = ["collect_results", "read_results", "write_results"]

RESULTS_NAME = "results.json"
_SCHEMA = 1
_CIFAR_IMAGES = 50_000
_COMPARED = ("optimizer.", "schedule.", "data.", "regularization.")


def collect_results(experiment: Experiment, runs: Sequence[tuple[str, Run]]) -> dict[str, Any]:
    """The record of an experiment.

    Args:
        experiment: that was run.
        runs: finished ones, each with the name of its network in the experiment.
    """
    record = runs[0][1].record
    runs = sorted(runs, key=lambda pair: (experiment.models.index(pair[0]), pair[1].record["seed"]))
    rows = [_row(network, run) for network, run in runs]
    return {
        "schema_version": _SCHEMA,
        "experiment": experiment.name,
        "title": experiment.title,
        "source": experiment.source,
        "data": record["data"],
        "recipe": record["recipe"],
        "environment": record["environment"],
        "reduced": _reduction(record),
        "deviations": _deviations(record),
        "rows": rows,
        "verdicts": [judge(claim, rows).to_dict() for claim in experiment.claims],
        "curves": [_curve(network, run) for network, run in runs],
    }


def write_results(folder: Path, results: dict[str, Any]) -> None:
    """Writes results.json."""
    write_json(folder / RESULTS_NAME, results)


def read_results(folder: Path) -> dict[str, Any]:
    """Reads results.json.

    Raises:
        ReslabError: there is none, or it is damaged.
    """
    path = folder / RESULTS_NAME
    missing = f"there is no {path}: run the experiment first, with `reslab paper run`."
    results = read_record(path, schema_version=_SCHEMA, error=ReslabError, if_missing=missing)
    find_experiment(str(results.get("experiment")))
    return results


def _row(network: str, run: Run) -> dict[str, Any]:
    record = run.record
    recipe = recipe_from_dict(record["recipe"])
    return {
        "network": network,
        **run.figures(),
        **{name: record["execution"][name] for name in ("device", "threads", "compiled", "channels_last")},
        "num_last_images": max(1, round(recipe.iterations * LAST_SHARE)) * recipe.data.batch_size,
    }


def _curve(network: str, run: Run) -> dict[str, Any]:
    rows = run.rows()
    tests = [row for row in rows if "test_error" in row]
    return {
        "network": network,
        "seed": run.record["seed"],
        "iteration": [row["iteration"] for row in rows],
        "train_error": [round(row["train_error"], 4) for row in rows],
        "test_iteration": [row["iteration"] for row in tests],
        "test_error": [round(row["test_error"], 4) for row in tests],
    }


def _reduction(record: dict[str, Any]) -> str:
    """By how much the experiment was reduced, for the title of its figure."""
    recipe = recipe_from_dict(record["recipe"])
    iterations, batch_size = recipe.iterations, recipe.data.batch_size
    data = record["data"]
    parts = [data["name"] if data["name"] == "cifar10" else f"{data['name']} instead of CIFAR-10"]
    if iterations != CIFAR_ITERATIONS:
        parts.append(f"{iterations:,} iterations instead of {CIFAR_ITERATIONS:,}")
    if batch_size != 128:
        parts.append(f"batches of {batch_size} instead of 128")
    return ", ".join(parts)


def _deviations(record: dict[str, Any]) -> list[dict[str, str]]:
    """Every setting that differs from the paper's, as rows of a table."""
    recipe, paper = recipe_from_dict(record["recipe"]), RECIPES["cifar-paper"].resolved(_CIFAR_IMAGES)
    data = record["data"]
    train = data["splits"]["train"]["num_images"]
    epochs = recipe.iterations * recipe.data.batch_size / train
    shape = f"{data['height']}x{data['width']}x{data['channels']}"
    table = []
    if (data["name"], train) != ("cifar10", _CIFAR_IMAGES):
        note = f"; {data['note']}" if data["note"] else ""
        table.append(("data", "CIFAR-10, 50,000 of 32x32x3", f"{data['name']}, {train:,} of {shape}{note}"))
        table.append(("epochs", "163.84", f"{epochs:.2f}"))
    ours, theirs = _flat(recipe.to_dict()), _flat(paper.to_dict())
    for name in dict.fromkeys([*theirs, *ours]):
        compared = name.startswith(_COMPARED) or name == "monitoring.precise_bn_images"
        if compared and ours.get(name) != theirs.get(name):
            table.append((name, _words(theirs.get(name, "-")), _words(ours.get(name, "-"))))
    return [{"setting": setting, "paper": theirs, "here": here} for setting, theirs, here in table]


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Fields of tables within tables, by their paths."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
