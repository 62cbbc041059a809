"""How good a network is after how many minutes: the errors of finished runs, and the time that they take here.

    reslab train resnet20 --data fashion-mnist --recipe fast --test-curve --seed 0 --run-dir runs/seed0     (1, 2, ...)
    python benchmarks/time_to_accuracy.py runs/seed0 runs/seed1 runs/seed2

The runs differ in their seeds and, as a whole schedule, in their length (--iterations). Each length is a row of
results/fashion-mnist-fast/results.json, which keeps the rows of other lengths, and front.png shows them all.
--test-curve has the test images read, and --monitoring.eval-every puts that off to the end.

The minutes are those of training alone, all iterations at the rate of the last two hundred of the first three hundred,
measured now on all cores: the runs themselves may have shared the machine with others.

Accuracy is that of the single view (Sec. 4.2), and beside it that of `reslab eval --protocol shifted`, in nine views.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from reslab.analysis.plots import save_figure
from reslab.bench.records import make_record, read_benchmark
from reslab.bench.tables import make_table
from reslab.files.atomic import write_json
from reslab.runs import Run
from reslab.training.recipe_files import recipe_from_dict

FOLDER = Path(__file__).resolve().parents[1] / "results" / "fashion-mnist-fast"
MEASURED, LOGGED = 300, 50


def rates_now(run: Run) -> list[float]:
    """Images a second in steady state, of the same run started anew on all cores."""
    record = run.record
    iterations = str(record["recipe"]["schedule"]["iterations"])
    with tempfile.TemporaryDirectory() as folder:
        # fmt: off
        command = [
            sys.executable, "-m", "reslab", "train", record["model"], "--data", record["data_spec"],
            "--recipe", record["recipe"]["name"], "--iterations", iterations, "--run-dir", f"{folder}/run", "--quiet",
            "--stop-after", str(MEASURED), "--monitoring.log-every", str(LOGGED),
        ]
        # fmt: on
        subprocess.run(command, check=True)
        rows = Run(Path(folder, "run")).rows()
    return [row["images_per_second"] for row in rows if row["iteration"] > MEASURED - 200]


def eval_shifted(run: Run) -> dict[str, Any]:
    """What `eval` says of a run under the protocol `shifted`."""
    command = [sys.executable, "-m", "reslab", "eval", str(run.folder), "--protocol", "shifted", "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found


def setting_of(run: Run) -> dict[str, Any]:
    """What must be the same for all runs: everything but length, seed, threads and how often something is written."""
    setting = {key: run.record[key] for key in ("model", "data")}
    recipe = recipe_from_dict(run.record["recipe"]).to_dict()  # with fields that came after the run
    return {**setting, "recipe": {**recipe, "schedule": None, "hardware": None, "monitoring": None}}


def rows_of(runs: Sequence[Run], rates: list[float], shifted: dict[Path, float]) -> list[dict[str, Any]]:
    """A row for each length, shortest first; `shifted` has the runs' errors under that protocol."""
    by_length: dict[int, list[Run]] = {}
    for run in runs:
        by_length.setdefault(run.result()["iterations"], []).append(run)
    rows = []
    for iterations, alike in sorted(by_length.items()):
        recipe, results = alike[0].record["recipe"], [run.result() for run in alike]
        images = iterations * recipe["data"]["batch_size"]
        rows.append(
            {
                "iterations": iterations,
                "minutes": round(images / median(rates) / 60, 2),
                "images_per_second": rates,
                "schedule": recipe["schedule"],
                "threads_of_the_runs": [run.record["execution"]["threads"] for run in alike],
                **{
                    key: [result[key] for result in results]
                    for key in ("seed", "train_error", "train_error_clean", "test_error")
                },
                "test_error_shifted": [shifted[run.folder] for run in alike],
            }
        )
    return rows


def plot(record: dict[str, Any], path: Path) -> None:
    """The front: a point for each run, and a line through the means."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    rows = record["rows"]
    for color, key, label in (("C0", "test_error", "one view"), ("C1", "test_error_shifted", "nine views, shifted")):
        axes.plot([row["minutes"] for row in rows], [mean(row[key]) for row in rows], "-", color=color, label=label)
        for row in rows:
            axes.plot([row["minutes"]] * len(row[key]), row[key], ".", color=color, alpha=0.6)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    settings = record["settings"]
    title = f"{settings['model']} on {settings['data']['name']}, recipe {settings['recipe']['name']}"
    axes.set(xlabel="minutes of training", ylabel="test error (%)", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs")
    asked = parser.parse_args()
    runs = [Run(folder) for folder in asked.runs]
    for run in runs:
        if not run.finished:
            parser.error(f"{run.folder} is no finished run")
        if setting_of(run) != setting_of(runs[0]):
            parser.error(f"{run.folder} and {runs[0].folder} differ in more than seed and length")
    path = FOLDER / "results.json"
    rates = rates_now(runs[0])
    tests = {run.folder: eval_shifted(run) for run in runs}
    settings = {**setting_of(runs[0]), "shifted": tests[runs[0].folder]["protocol_fields"]}
    before = read_benchmark(path) if path.exists() else None
    rows = rows_of(runs, rates, {folder: test["top1_error"] for folder, test in tests.items()})
    if before and before["settings"] == settings:
        lengths = {row["iterations"] for row in rows}
        rows += [row for row in before["rows"] if row["iterations"] not in lengths]
    record = make_record("time-to-accuracy", settings, sorted(rows, key=lambda row: row["iterations"]))
    write_json(path, record)
    plot(record, FOLDER / "front.png")
    made = make_table(record)
    table = Table(*made.headings, box=None)
    for cells in made.rows:
        table.add_row(*cells)
    Console().print(table, made.note)


if __name__ == "__main__":
    main()
