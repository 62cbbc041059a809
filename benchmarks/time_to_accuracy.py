"""How good a network is after how many minutes: the errors of finished runs, and the time that they take here.

    reslab train resnet20 --data fashion-mnist --recipe fast --test-curve --seed 0 --run-dir runs/seed0     (1, 2, ...)
    python benchmarks/time_to_accuracy.py runs/seed0 runs/seed1 runs/seed2

The runs differ in their seeds and, as a whole schedule, in their length (--iterations) and progressive resizing
(--data.initial-scale). Each schedule is a row of results.json in the folder --out, which keeps the rows of others, and
front.png shows them all; rows of another processor belong into another folder. --test-curve has the test images read,
and --monitoring.eval-every puts that off to the end.

The minutes are those of training alone, all iterations of a size of images at the rate of the last two hundred of three
hundred, measured now on all cores, three times by turns: the runs themselves may have shared the machine with others.

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

from reslab.analysis.plots import save_figure
from reslab.bench.records import make_record, read_benchmark
from reslab.bench.tables import make_table
from reslab.cli.output import print_table
from reslab.files.atomic import write_json
from reslab.runs import Run
from reslab.training.recipe import Recipe
from reslab.training.recipe_files import recipe_from_dict
from reslab.training.resizing import initial_iterations

FOLDER = Path(__file__).resolve().parents[1] / "results" / "fashion-mnist-fast"
MEASURED, LOGGED, TURNS = 300, 50, 3
RESIZING = ("initial_scale", "initial_share")


def rates_now(run: Run, *flags: str) -> list[float]:
    """Images a second in steady state, of the same run started anew on all cores with other flags."""
    record = run.record
    iterations = str(recipe_of(run).iterations)
    with tempfile.TemporaryDirectory() as folder:
        # fmt: off
        command = [
            sys.executable, "-m", "reslab", "train", record["model"], "--data", record["data_spec"],
            "--recipe", record["recipe"]["name"], "--iterations", iterations, "--run-dir", f"{folder}/run", "--quiet",
            "--stop-after", str(MEASURED), "--monitoring.log-every", str(LOGGED), *flags,
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
    """What must be the same for all runs: everything but schedule, seed, threads and how often something is written."""
    setting = {key: run.record[key] for key in ("model", "data")}
    recipe = recipe_of(run).to_dict()
    for name in RESIZING:
        del recipe["data"][name]
    return {**setting, "recipe": {**recipe, "schedule": None, "hardware": None, "monitoring": None}}


def recipe_of(run: Run) -> Recipe:
    """A run's recipe, with fields that came after the run."""
    return recipe_from_dict(run.record["recipe"])


def schedule_of(row: dict[str, Any]) -> tuple[int, int, float]:
    """By which rows differ."""
    return row["iterations"], row["initial_iterations"], row["initial_scale"]


def rows_of(runs: Sequence[Run], shifted: dict[Path, float]) -> list[dict[str, Any]]:
    """A row for each schedule.

    Args:
        runs: finished ones.
        shifted: the runs' errors under that protocol.
    """
    by_schedule: dict[tuple[int, float, int], list[Run]] = {}
    for run in runs:
        recipe = recipe_of(run)
        initial = initial_iterations(recipe)
        scale = recipe.data.initial_scale if initial else 1.0
        by_schedule.setdefault((initial, scale, recipe.iterations), []).append(run)
    full: list[float] = []
    small: dict[float, list[float]] = {scale: [] for initial, scale, _ in by_schedule if initial}
    for _ in range(TURNS):
        full += rates_now(runs[0], "--data.initial-scale", "1")
        for scale, rates in small.items():
            rates += rates_now(runs[0], "--data.initial-scale", str(scale), "--data.initial-share", "1")
    rows = []
    for (initial, scale, iterations), alike in by_schedule.items():
        recipe, results = recipe_of(alike[0]), [run.figures() for run in alike]
        seconds = (iterations - initial) * recipe.data.batch_size / median(full)
        if initial:
            seconds += initial * recipe.data.batch_size / median(small[scale])
        rows.append(
            {
                "iterations": iterations,
                "initial_iterations": initial,
                "initial_scale": scale,
                "minutes": round(seconds / 60, 2),
                "images_per_second": full,
                "initial_images_per_second": small.get(scale),
                "schedule": recipe.to_dict()["schedule"],
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
    """The fronts, with progressive resizing and without: a point for each run, and a line through the means."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for scale in sorted({row["initial_scale"] for row in record["rows"]}):
        rows = [row for row in record["rows"] if row["initial_scale"] == scale]
        line, marker, how = ("o--", "o", "full size throughout") if scale == 1 else ("^-", "^", "smaller images first")
        for color, key, views in (("C0", "test_error", "one view"), ("C1", "test_error_shifted", "nine views")):
            minutes, means = [row["minutes"] for row in rows], [mean(row[key]) for row in rows]
            axes.plot(minutes, means, line, color=color, markersize=4, label=f"{views}, {how}")
            for row in rows:
                axes.plot([row["minutes"]] * len(row[key]), row[key], marker, color=color, markersize=3, alpha=0.4)
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
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"folder of the record ({FOLDER.name} by default)")
    asked = parser.parse_args()
    runs = [Run(folder) for folder in asked.runs]
    for run in runs:
        if not run.finished:
            parser.error(f"{run.folder} is no finished run")
        if setting_of(run) != setting_of(runs[0]):
            parser.error(f"{run.folder} and {runs[0].folder} differ in more than seed and schedule")
    path = asked.out / "results.json"
    tests = {run.folder: eval_shifted(run) for run in runs}
    settings = {**setting_of(runs[0]), "shifted": tests[runs[0].folder]["protocol_fields"]}
    before = read_benchmark(path) if path.exists() else None
    rows = rows_of(runs, {folder: test["top1_error"] for folder, test in tests.items()})
    if before and before["settings"] == settings:
        measured = set(map(schedule_of, rows))
        rows += [row for row in before["rows"] if schedule_of(row) not in measured]
    record = make_record("time-to-accuracy", settings, sorted(rows, key=lambda row: row["minutes"]))
    write_json(path, record)
    if len(record["rows"]) > 1:
        plot(record, asked.out / "front.png")
    made = make_table(record)
    print_table(made.headings, made.rows)
    print(made.note)


if __name__ == "__main__":
    main()
