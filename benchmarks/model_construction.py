"""How long a network takes to build, against torchvision's.

    python benchmarks/model_construction.py [--models resnet50 resnet152] [--json results/bench/model_construction.json]

By turns, A B A B: with weights, and on the meta device, which has none. Medians, and the ratio's.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torchvision

from reslab.environment import describe_environment
from reslab.models import create_model


def seconds(build: Callable[[], Any], device: str) -> float:
    """Of one construction; the network is thrown away outside the time."""
    start = time.perf_counter()
    with torch.device(device):
        model = build()
    taken = time.perf_counter() - start
    del model
    return taken


def measure(name: str, device: str, turns: int) -> dict[str, Any]:
    """Ours and torchvision's by turns, after one that is not counted."""
    builders = {"ours": lambda: create_model(name), "torchvision": getattr(torchvision.models, name)}
    taken: dict[str, list[float]] = {kind: [] for kind in builders}
    for _ in range(turns + 1):
        for kind, build in builders.items():
            taken[kind].append(seconds(build, device))
    ours, theirs = taken["ours"][1:], taken["torchvision"][1:]
    return {
        "model": name,
        "device": device,
        "ours_seconds": round(median(ours), 4),
        "torchvision_seconds": round(median(theirs), 4),
        "ratio": round(median(a / b for a, b in zip(ours, theirs, strict=True)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50", "resnet152"])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = [measure(name, device, asked.turns) for name in asked.models for device in ("cpu", "meta")]
    print(f"{'model':<12} {'device':<7} {'ours':>9} {'torchvision':>12} {'ratio':>6}")
    for row in rows:
        print(
            f"{row['model']:<12} {row['device']:<7} {1e3 * row['ours_seconds']:>6.0f} ms "
            f"{1e3 * row['torchvision_seconds']:>9.0f} ms {row['ratio']:>6.2f}"
        )
    if asked.json:
        record = {
            "benchmark": "model_construction",
            "turns": asked.turns,
            "rows": rows,
            "environment": describe_environment(),
        }
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
