"""Errors of finished runs, and the minutes that such a run takes on this machine when it does nothing else.

    reslab train resnet20 --data fashion-mnist --recipe fast --test-curve --seed 0 --run-dir runs/seed0     (1, 2, ...)
    python benchmarks/time_to_accuracy.py runs/seed0 runs/seed1 runs/seed2 --name fashion-mnist-15min

The minutes are those of training alone, all iterations at the rate of the last two hundred of the first three hundred,
measured now on all cores: the runs themselves may have shared the machine with others. Written to results/NAME/.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from reslab.bench.records import make_record
from reslab.files.atomic import write_json
from reslab.runs import Run

RESULTS = Path(__file__).resolve().parents[1] / "results"
FIELDS = ("model", "data", "recipe", "iterations", "seed", "train_error", "train_error_clean", "test_error")
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


def record_of(runs: list[Run]) -> dict[str, Any]:
    results = [run.result() for run in runs]
    settings = [{key: run.record[key] for key in ("model", "data", "recipe")} for run in runs]
    for setting in settings:
        setting["recipe"] = {**setting["recipe"], "hardware": None}  # threads, which the minutes do not depend on here
    if any(setting != settings[0] for setting in settings):
        raise SystemExit("the runs differ in more than their seeds.")
    images = results[0]["iterations"] * runs[0].record["recipe"]["data"]["batch_size"]
    rates = rates_now(runs[0])
    minutes = {
        "images_per_second": rates,
        "minutes": round(images / median(rates) / 60, 2),
        "recipe": runs[0].record["recipe"],
        "threads_of_the_runs": [run.record["execution"]["threads"] for run in runs],
    }
    return make_record("time-to-accuracy", minutes, [{key: result[key] for key in FIELDS} for result in results])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs that differ in their seeds")
    parser.add_argument("--name", required=True, help="folder of the record, under results/")
    asked = parser.parse_args()
    record = record_of([Run(folder) for folder in asked.runs])
    errors = [row["test_error"] for row in record["rows"]]
    spread = f" ± {stdev(errors):.2f}" if len(errors) > 1 else ""
    print(f"test error {mean(errors):.2f}{spread} %, n = {len(errors)}, in {record['settings']['minutes']:.1f} minutes")
    write_json(RESULTS / asked.name / "results.json", record)
    print(json.dumps(record["rows"]))


if __name__ == "__main__":
    main()
