"""Whether networks learn as well with Winograd's convolutions as with torch's: the go or no-go for `kernels=auto`.

    for seed in 0 1 2; do for kernels in torch winograd; do
        reslab train resnet20 --data fashion-mnist --recipe fast --iterations 1200 --data.val-images 5000 \
            --hardware.precision fp32 --hardware.kernels $kernels --seed $seed --run-dir runs/fashion-$kernels-$seed
    done; done
    python benchmarks/kernel_choice.py runs/fashion-* ...

Runs are of the same network and recipe on each data set, and differ in seed and kernels alone. The errors are those on
val images that were held out of train. It is go where on every data set the difference of the mean errors is within
twice its standard error, from the spread of the seeds and the number of val images.
"""

import argparse
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from reslab.bench.records import make_record
from reslab.bench.tables import make_table
from reslab.cli.output import print_table
from reslab.files.atomic import write_json
from reslab.runs import Run

RECORD = Path(__file__).resolve().parents[1] / "results" / "bench" / "kernel-choice.json"
WITHIN = 2.0  # standard errors


def setting_of(run: Run) -> dict[str, Any]:
    """What must be the same for all runs on the same data."""
    record = run.record
    hardware = {
        name: value for name, value in record["recipe"]["hardware"].items() if name not in ("kernels", "threads")
    }
    execution = {name: record["execution"][name] for name in ("precision", "fused_norms")}
    return {
        **{key: record[key] for key in ("model", "data")},
        "recipe": {**record["recipe"], "hardware": hardware},
        "execution": execution,
    }


def standard_error(errors: list[float], num_images: int) -> float:
    """Of a mean error rate in %: the seeds' spread or the sampling of images, whichever is larger."""
    # Agresti and Coull's two extra successes and failures: no error in n images is not a certain 0 %.
    share = (mean(errors) / 100 * num_images + 2) / (num_images + 4)
    sampling: float = 100 * (share * (1 - share) / (num_images + 4)) ** 0.5
    spread = stdev(errors) / len(errors) ** 0.5 if len(errors) > 1 else 0.0
    return max(sampling, spread)


def row_of(runs: list[Run]) -> dict[str, Any]:
    """Of one data set."""
    num_images = runs[0].record["recipe"]["data"]["val_images"]
    errors: dict[str, dict[int, float]] = {"torch": {}, "winograd": {}}
    losses: dict[str, list[float]] = {"torch": [], "winograd": []}
    for run in runs:
        kernels, last = run.record["execution"]["kernels"], run.rows()[-1]
        errors[kernels][run.record["seed"]] = last["val_error"]
        losses[kernels].append(last["loss"])
    by_seed = {kernels: [found[seed] for seed in sorted(found)] for kernels, found in errors.items()}
    difference = mean(by_seed["winograd"]) - mean(by_seed["torch"])
    error = sum(standard_error(found, num_images) ** 2 for found in by_seed.values()) ** 0.5
    return {
        "data": runs[0].record["data"]["name"],
        "recipe": runs[0].record["recipe"]["name"],
        "iterations": runs[0].rows()[-1]["iteration"],
        "num_images": num_images,
        "seeds": sorted(errors["torch"]),
        "val_error": by_seed,
        "last_loss": losses,
        "difference": round(difference, 3),
        "standard_error": round(error, 3),
        "go": abs(difference) <= WITHIN * error,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs")
    by_data: dict[str, list[Run]] = {}
    for run in map(Run, parser.parse_args().runs):
        if not run.finished:
            parser.error(f"{run.folder} is no finished run")
        by_data.setdefault(run.record["data"]["name"], []).append(run)
    for runs in by_data.values():
        for run in runs:
            if setting_of(run) != setting_of(runs[0]):
                parser.error(f"{run.folder} and {runs[0].folder} differ in more than seed and kernels")
        seeds = {
            kernels: sorted(run.record["seed"] for run in runs if run.record["execution"]["kernels"] == kernels)
            for kernels in ("torch", "winograd")
        }
        if seeds["torch"] != seeds["winograd"]:
            parser.error(f"{runs[0].record['data']['name']}: the seeds are {seeds['torch']} and {seeds['winograd']}")
    settings = {"model": next(iter(by_data.values()))[0].record["model"], "within_standard_errors": WITHIN}
    record = make_record("kernel-choice", settings, [row_of(runs) for runs in by_data.values()])
    write_json(RECORD, record)
    made = make_table(record)
    print_table(made.headings, made.rows)
    print(made.note)


if __name__ == "__main__":
    main()
