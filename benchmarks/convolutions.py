"""Convolutions of 3x3 layer by layer: torch's and those by Winograd's algorithm, their times and how exact they are.

    python benchmarks/convolutions.py

Both take turns in one process, forward and then both gradients, in channels-last layout on all cores. Errors are norms
of differences to results in double precision, relative to their norms: of outputs, and of gradients by input and by
weights. At the end stand the gradients of whole networks after some steps of training, where a value near 0 may pass
the ReLU in one of them and not in the other.
"""

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reslab.bench.records import make_record
from reslab.bench.tables import make_table
from reslab.cli.output import print_table
from reslab.environment import available_cores
from reslab.files.atomic import write_json
from reslab.models import create_model
from reslab.training.allocator import keep_freed_memory
from reslab.training.kernels.networks import fuse_norms, use_winograd
from reslab.training.kernels.winograd import convolve, takes

RECORD = Path(__file__).resolve().parents[1] / "results" / "bench" / "convolutions.json"
LAYERS = {  # images, channels, side
    "CIFAR nets": [(128, 16, 32), (128, 32, 16), (128, 64, 8)],
    "ResNet-18, CIFAR stem": [(128, 64, 32), (128, 128, 16), (128, 256, 8), (128, 512, 4)],
    "ResNet-50": [(16, 64, 56), (16, 128, 28), (16, 256, 14)],
}
NETWORKS = ("resnet20", "resnet56")
STEPS = 6
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def random(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)


def distance(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


def measure(shape: tuple[int, int, int], dtype: torch.dtype, turns: int) -> dict[str, Any]:
    """A layer: seconds of each turn, and errors, of torch and of ours."""
    images, channels, side = shape
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    x = random(images, channels, side, side, dtype=dtype).relu().requires_grad_()
    gradient = random(images, channels, side, side, dtype=dtype)
    assert takes(layer, x)

    def theirs() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
            return layer(x)  # type: ignore[no-any-return]

    ways: dict[str, Callable[[], Tensor]] = {"torch": theirs, "winograd": lambda: convolve(layer, x)}

    def gradients(y: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(y, [x, layer.weight], gradient)

    seconds: dict[str, dict[str, list[float]]] = {way: {"forward": [], "backward": []} for way in ways}
    for turn in range(turns + 2):
        for way, forward in ways.items():
            start = time.perf_counter()
            y = forward()
            middle = time.perf_counter()
            gradients(y)
            end = time.perf_counter()
            if turn >= 2:
                seconds[way]["forward"].append(middle - start)
                seconds[way]["backward"].append(end - middle)
    exact, exact_x = copy.deepcopy(layer).double(), x.detach().double().requires_grad_()
    y = exact(exact_x)
    expected = (y.detach(), *torch.autograd.grad(y, [exact_x, exact.weight], gradient.double()))
    errors = {}
    for way, forward in ways.items():
        y = forward()
        found = (y.detach(), *gradients(y))
        errors[way] = [distance(mine, other) for mine, other in zip(found, expected, strict=True)]
    return {"seconds": seconds, "errors": errors}


def whole_gradients(name: str, dtype: torch.dtype) -> dict[str, float]:
    """Errors of a network's whole gradient."""
    torch.manual_seed(0)
    images, labels = random(128, 3, 32, 32, dtype=torch.float32), torch.randint(0, 10, (128,))
    trained = create_model(name, num_classes=10).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(trained.parameters(), 0.1, 0.9)

    def gradient_of(model: nn.Module, images: Tensor) -> Tensor:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32 and images.dtype != torch.float64):
            logits = model(images)
        functional.cross_entropy(logits if logits.dtype == torch.float64 else logits.float(), labels).backward()
        return torch.cat([parameter.grad.double().flatten() for parameter in model.parameters()])

    for _ in range(STEPS):
        gradient_of(trained, images)
        optimizer.step()
    exact = gradient_of(copy.deepcopy(trained).double(), images.double())
    errors = {}
    for way in ("torch", "winograd"):
        model = copy.deepcopy(trained)
        fuse_norms(model)
        if way == "winograd":
            use_winograd(model)
        errors[way] = distance(gradient_of(model, images), exact)
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15)
    turns = parser.parse_args().turns
    torch.manual_seed(0)
    torch.set_num_threads(available_cores())
    keep_freed_memory()
    rows = []
    for precision, dtype in DTYPES.items():
        for where, layers in LAYERS.items():
            for shape in layers:
                found = measure(shape, dtype, turns)
                ratios = [
                    sum(theirs) / sum(ours)
                    for theirs, ours in zip(
                        *(zip(*found["seconds"][way].values(), strict=True) for way in ("torch", "winograd")),
                        strict=True,
                    )
                ]
                ratio = {"median": median(ratios), "lowest": min(ratios), "highest": max(ratios), "turns": ratios}
                rows.append({"where": where, "layer": list(shape), "precision": precision, **found, "ratio": ratio})
                print(where, shape, precision, f"{median(ratios):.2f}", flush=True)
        rows += [{"network": name, "precision": precision, "errors": whole_gradients(name, dtype)} for name in NETWORKS]
    record = make_record("convolutions", {"turns": turns, "threads": torch.get_num_threads(), "steps": STEPS}, rows)
    write_json(RECORD, record)
    made = make_table(record)
    print_table(made.headings, made.rows)
    print(made.note)


if __name__ == "__main__":
    main()
