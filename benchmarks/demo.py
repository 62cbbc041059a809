"""How long `make demo` takes, against another checkout's, by turns: two networks train side by side, a thread each.

    git worktree add ../before COMMIT
    python benchmarks/demo.py ../before --turns 2

Both run with this environment's Python and libraries, from nothing to the report; pictures and pages are part of it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from reslab.bench.records import make_record
from reslab.bench.tables import make_table
from reslab.cli.output import print_table
from reslab.files.atomic import write_json

REPOSITORY = Path(__file__).resolve().parents[1]
RECORD = REPOSITORY / "results" / "bench" / "demo.json"
EXPERIMENT = ("paper", "run", "fig1", "--data", "digits")


def seconds_of(checkout: Path) -> float:
    """Wall time of one run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "reslab", *EXPERIMENT, "--out", f"{folder}/demo"]
        environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
        start = time.perf_counter()
        subprocess.run(command, check=True, env=environment, cwd=folder, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


def commit_of(checkout: Path) -> str:
    found = subprocess.run(
        ["git", "-C", checkout, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--turns", type=int, default=2, help="runs of each")
    asked = parser.parse_args()
    checkouts = {"now": REPOSITORY, "before": asked.other.resolve()}
    turns: dict[str, list[float]] = {name: [] for name in checkouts}
    for turn in range(asked.turns):
        for name, checkout in checkouts.items():
            turns[name].append(round(seconds_of(checkout), 1))
            print(f"turn {turn + 1} of {asked.turns}, {name}: {turns[name][-1]:.1f} s", flush=True)
    ratios = [before / now for before, now in zip(turns["before"], turns["now"], strict=True)]
    rows = [
        {"name": name, "commit": commit_of(checkout), "seconds": turns[name], "median": median(turns[name])}
        for name, checkout in checkouts.items()
    ]
    settings = {"command": f"reslab {' '.join(EXPERIMENT)}", "turns": asked.turns}
    record = make_record("demo", {**settings, "ratios": [round(ratio, 3) for ratio in ratios]}, rows)
    write_json(RECORD, record)
    made = make_table(record)
    print_table(made.headings, made.rows)
    print(made.note)


if __name__ == "__main__":
    main()
