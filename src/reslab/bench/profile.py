"""Where a training step's time goes, and at what rate its convolutions run.

torch's profiler says how long each operation took; of operations within operations the outermost one counts that
belongs to a part. What belongs to none, and Python between the operations, is the part `other`.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean
from typing import Any

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from reslab.bench.records import rounded

__all__ = ["CONVOLUTIONS", "OTHER", "PARTS", "profile_steps"]

CONVOLUTIONS = ("forward conv", "backward conv")
"""torch's, whose operations are counted, so that they have a rate. Winograd's are parts of their own, which in basic
blocks hold norms and additions too."""
OTHER = "other"

# How the names of their operations begin.
_NAMES: Mapping[str, re.Pattern[str]] = {
    CONVOLUTIONS[0]: re.compile(r"aten::conv2d"),
    CONVOLUTIONS[1]: re.compile(r"ConvolutionBackward|aten::convolution_backward"),
    "forward Winograd": re.compile(r"_(Convolution|Block)$"),
    "backward Winograd": re.compile(r"_(Convolution|Block)Backward$"),
    "norm, ReLU, add": re.compile(r"_NormReLU|aten::batch_norm|\w+BatchNormBackward|aten::relu|Relu|aten::add_?$"),
    "update": re.compile(r"Optimizer\."),
    "batch": re.compile(r"reslab\.batch|enumerate\(DataLoader\)"),
}
PARTS = (*_NAMES, OTHER)
"""Of a step, in the order of tables."""
_OPERATIONS = (torch.ops.aten.convolution, torch.ops.aten.convolution_backward)


def profile_steps(step: Callable[[], object], number: int) -> dict[str, Any]:
    """Takes training steps, in eager mode on a CPU, under torch's profiler.

    Args:
        step: takes one.
        number: of steps that are timed; one before them is used to count operations.

    Returns:
        `steps`; `milliseconds` of a step, the mean; and `parts` by their names, each with its `milliseconds`, which
        add up to the step's. Convolutions also have `gflops`: two operations for every multiply-add that they did, the
        gradients by data and by weights counted as they were computed, a second.
    """
    with FlopCounterMode(display=False) as counter:
        step()
    counted = counter.get_flop_counts()["Global"]
    totals, seconds = dict.fromkeys(PARTS, 0.0), []
    for _ in range(number):
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
        found = profiler.events()
        _add_up([event for event in found if event.cpu_parent is None], totals)
    milliseconds = 1e3 * fmean(seconds)
    parts: dict[str, dict[str, float]] = {
        name: {"milliseconds": rounded(total / 1e3 / number)} for name, total in totals.items()
    }
    known = sum(totals.values()) / 1e3 / number
    parts[OTHER] = {"milliseconds": rounded(milliseconds - known)}
    for name, operation in zip(CONVOLUTIONS, _OPERATIONS, strict=True):
        taken = totals[name] / 1e6 / number
        parts[name]["gflops"] = rounded(1e-9 * counted.get(operation, 0) / taken) if taken else 0.0
    return {"steps": number, "milliseconds": rounded(milliseconds), "parts": parts}


def _add_up(events: Iterable[FunctionEvent], totals: dict[str, float]) -> None:
    """Adds the microseconds of the outermost events that belong to a part."""
    for event in events:
        part = next((part for part, names in _NAMES.items() if names.match(event.name)), None)
        if part:
            totals[part] += event.cpu_time_total
        else:
            _add_up(event.cpu_children, totals)
