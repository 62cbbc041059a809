"""Training speed, end to end, against the loop that most people write.

    python benchmarks/training_speed.py FOLDER [--models resnet20 resnet56] [--json results/bench/training_speed.json]

FOLDER holds train/<class>/*.jpg, e.g. CIFAR-10 as images. Ours is what `reslab train --recipe cifar-paper` does, with
what it chooses by itself on this machine. The peer is the same network in eager mode and NCHW layout, fed by
torchvision's ImageFolder, PIL transforms (crop of the image padded by 4, flip, to tensor, normalise) and a DataLoader
of two workers; torch's SGD.

Each is a process of its own. They train by turns, A B A B, one waiting while the other works, and what is printed are
medians over the turns and their ratio. At the beginning of a turn some steps go untimed, so that neither lives on
batches that were prepared before.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from reslab.analysis.complexity import count_macs
from reslab.data import ImageData, load_data
from reslab.environment import describe_environment
from reslab.models import create_model, parse_model
from reslab.runs import Run
from reslab.training.execution import choose_execution
from reslab.training.loop import Trainer
from reslab.training.memory import keep_freed_memory
from reslab.training.recipe import load_recipe

BATCH_SIZE = 128
UNTIMED_STEPS = 5


def endless(loader: DataLoader) -> Iterator[list[Tensor]]:
    """A loader's batches, epoch after epoch."""
    while True:
        yield from loader


def peer_step(name: str, folder: Path, num_classes: int) -> Callable[[], None]:
    """One step of the loop that most people write."""
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.491, 0.482, 0.447), (0.247, 0.243, 0.262)),
        ]
    )
    loader = DataLoader(
        ImageFolder(folder, transform), BATCH_SIZE, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True
    )
    batches = endless(loader)
    model: nn.Module = create_model(name, num_classes=num_classes).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        images, labels = next(batches)
        logits = model(images)
        loss = functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        (logits.argmax(dim=1) != labels).sum().item()

    return step


def our_trainer(name: str, data: ImageData, folder: Path) -> Trainer:
    """A run as `reslab train` sets it up."""
    recipe = load_recipe("cifar-paper")
    spec = parse_model(name, defaults={"num_classes": data.num_classes})
    execution = choose_execution(recipe, spec, data.image_shape[:2])
    torch.set_num_threads(execution.threads)
    keep_freed_memory()
    trainer = Trainer(Run(folder), spec, data, recipe, 0, execution, None, test_curve=False, progress=False)
    trainer.state.model.train()
    return trainer


def contend(kind: str, name: str, folder: Path, connection: Connection) -> None:
    """A process: tells what it is, then does turns of so many steps as it is asked, until None."""
    with tempfile.TemporaryDirectory() as scratch:
        if kind == "ours":
            trainer = our_trainer(name, load_data(folder, role="train"), Path(scratch))
            step: Callable[[], None] = trainer.iterate
            told = trainer.execution.to_dict()
        else:
            step = peer_step(name, folder / "train", len(list((folder / "train").iterdir())))
            told = {"threads": torch.get_num_threads()}
        start = time.perf_counter()
        step()
        connection.send((told, time.perf_counter() - start))
        while (num_steps := connection.recv()) is not None:
            connection.send(images_per_second(step, num_steps))


def images_per_second(step: Callable[[], None], num_steps: int) -> float:
    """Of a turn, in steady state."""
    for _ in range(UNTIMED_STEPS):
        step()
    start = time.perf_counter()
    for _ in range(num_steps):
        step()
    return num_steps * BATCH_SIZE / (time.perf_counter() - start)


def reference_gflops(seconds: float = 2.0) -> float:
    """What this machine reaches in fp32 matrix products of 2048."""
    a, b = torch.randn(2, 2048, 2048).unbind()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        a @ b
        count += 1
    return count * 2 * 2048**3 / (time.perf_counter() - start) / 1e9


def measure(name: str, folder: Path, turns: int, num_steps: int) -> dict[str, Any]:
    """Ours and the peer by turns."""
    ends, told = {}, {}
    for kind in ("ours", "peer"):
        ends[kind], theirs = multiprocessing.Pipe()
        multiprocessing.Process(target=contend, args=(kind, name, folder, theirs)).start()
        told[kind] = ends[kind].recv()
    speeds: dict[str, list[float]] = {"ours": [], "peer": []}
    shares = []
    operations = 6 * count_macs(parse_model(name), (32, 32))  # forward, twice that backward; a multiply-add is two
    for _ in range(turns):
        for kind, end in ends.items():
            end.send(num_steps)
            speeds[kind].append(end.recv())
        shares.append(speeds["ours"][-1] * operations / 1e9 / reference_gflops())
    for end in ends.values():
        end.send(None)
    ratios = [ours / peer for ours, peer in zip(speeds["ours"], speeds["peer"], strict=True)]
    return {
        "model": name,
        "ours_images_per_second": round(median(speeds["ours"]), 1),
        "peer_images_per_second": round(median(speeds["peer"]), 1),
        "ratio": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "share_of_fp32_rate": round(median(shares), 3),
        "first_step_seconds": round(told["ours"][1], 1),
        "execution": told["ours"][0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()

    multiprocessing.set_start_method("spawn")
    reference = reference_gflops()
    rows = []
    print(f"fp32 matrix product: {reference:.0f} GFLOP/s on {torch.get_num_threads()} threads")
    print(f"{'model':<10} {'ours':>9} {'peer':>9} {'ratio':>7} {'of fp32 rate':>13} {'first step':>11}")
    for name in asked.models:
        row = measure(name, asked.folder, asked.turns, asked.steps)
        rows.append(row)
        print(
            f"{name:<10} {row['ours_images_per_second']:>7.0f}/s {row['peer_images_per_second']:>7.0f}/s "
            f"{row['ratio']:>7.2f} {row['share_of_fp32_rate']:>13.0%} {row['first_step_seconds']:>9.1f} s",
            flush=True,
        )
    if asked.json:
        record = {
            "benchmark": "training_speed",
            "data": asked.folder.resolve().name,
            "batch_size": BATCH_SIZE,
            "turns": asked.turns,
            "steps_a_turn": asked.steps,
            "fp32_gflops": round(reference, 1),
            "rows": rows,
            "environment": describe_environment(),
        }
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
