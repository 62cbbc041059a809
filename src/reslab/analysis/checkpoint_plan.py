"""Gradient checkpointing that puts training into a limit, with the least work done twice."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from reslab.analysis.complexity import summarize
from reslab.analysis.training_memory import (
    DTYPES,
    Allocations,
    Precision,
    Segments,
    bytes_alive,
    estimate_training_memory,
    on_meta,
    process_overhead,
)
from reslab.errors import ModelError
from reslab.models.residual import ResNet
from reslab.models.spec import NetSpec

__all__ = ["CheckpointPlan", "plan_checkpointing"]

_ATTEMPTS = 6  # plans that are counted; the first is mostly within a few percent of the memory


@dataclass(frozen=True)
class CheckpointPlan:
    """Which blocks keep only their inputs for the gradients, and what that takes.

    Args:
        segments: for each stage the lengths, in blocks, of the segments that are computed again; blocks after them keep
            what they compute. Empty if everything is kept.
        peak_bytes: as `estimate_training_memory`.
        tensor_bytes: of them, the tensors'.
        recomputed: share of the forward pass's multiply-adds that are done twice.
    """

    segments: Segments
    peak_bytes: int
    tensor_bytes: int
    recomputed: float


def plan_checkpointing(
    spec: NetSpec, image_size: tuple[int, int], batch_size: int, memory: int, precision: Precision = "fp32"
) -> CheckpointPlan:
    """Gradient checkpointing (arXiv 1604.06174) that puts training into so many bytes, with the least work done twice.

    The segments at the beginning of the network are as long as fits, so that few inputs are stored; when all the rest
    fits, it keeps what it computes. Block by block it is measured on the meta device what is kept; whole plans are then
    counted as in `estimate_training_memory`, until one fits.

    Args:
        spec: the network.
        image_size: height and width.
        batch_size: images a step.
        memory: bytes, over a process that has imported torch.
        precision: of convolutions and products, as in torch.autocast.

    Raises:
        ModelError: the images are too small for the network, or no plan fits: it says how much one takes that does.
    """
    dtype = DTYPES[precision]
    whole = estimate_training_memory(spec, image_size, batch_size, precision)
    if whole <= memory:
        return CheckpointPlan((), whole, whole - process_overhead(spec, image_size), 0.0)
    if spec.family != "resnet":
        raise ModelError("checkpointing is planned block by block, and a VGG has none; take smaller batches.")
    stages = _measure_blocks(spec, image_size, batch_size, dtype)
    # What the blocks may take; the rest are weights, gradients and what lives for a moment.
    available = sum(block.kept for stage in stages for block in stage) - (whole - memory)
    least = _least_available(stages)
    over = 0
    for attempt in range(1, _ATTEMPTS + 1):
        available = max(available, least) if attempt < _ATTEMPTS else least
        segments = _segments(stages, available)
        assert segments is not None
        peak = _peak(spec, image_size, batch_size, dtype, segments)
        over = peak - memory
        if over <= 0:
            return CheckpointPlan(
                segments, peak, peak - process_overhead(spec, image_size), _recomputed(stages, segments)
            )
        if available == least:
            break
        available -= attempt * (over + memory // 100)
    raise ModelError(
        f"with {batch_size} images a step training takes {over / 2**20:,.0f} MiB more, even if as little as possible "
        "is kept for the gradients; take smaller batches."
    )


def _peak(spec: NetSpec, image_size: tuple[int, int], batch_size: int, dtype: torch.dtype, segments: Segments) -> int:
    """As `estimate_training_memory`, with gradient checkpointing."""
    return process_overhead(spec, image_size) + max(bytes_alive(spec, image_size, batch_size, dtype, segments))


@dataclass(frozen=True)
class _Block:
    """One block of a network.

    Args:
        kept: bytes that it leaves for the gradients, its output included.
        input: bytes of its input.
        macs: multiply-adds of an image.
    """

    kept: int
    input: int
    macs: int


def _measure_blocks(
    spec: NetSpec, image_size: tuple[int, int], batch_size: int, dtype: torch.dtype
) -> list[list[_Block]]:
    """Of every stage its blocks."""
    model, images, _ = on_meta(spec, image_size, 2, dtype)
    assert isinstance(model, ResNet)
    allocations, before = Allocations(), {}
    measured: dict[str, _Block] = {}
    macs: Counter[str] = Counter()
    for layer in summarize(spec, image_size).layers:
        macs[".".join(layer.name.split(".")[:2])] += layer.macs  # of layer1.0.conv1 to layer1.0

    def start(name: str, x: Tensor) -> None:
        before[name] = allocations.alive

    def end(name: str, x: Tensor) -> None:
        kept = allocations.alive - before[name]
        measured[name] = _Block(kept * batch_size // 2, x.nbytes * batch_size // 2, macs[name])

    stages = [[f"{stage}.{index}" for index in range(len(blocks))] for stage, blocks in model.named_stages()]
    for name in chain.from_iterable(stages):
        block = model.get_submodule(name)
        block.register_forward_pre_hook(lambda _, inputs, name=name: start(name, inputs[0]))
        block.register_forward_hook(lambda _, inputs, output, name=name: end(name, inputs[0]))
    with allocations:
        output = model(images)
    del output
    return [[measured[name] for name in stage] for stage in stages]


def _segments(stages: list[list[_Block]], available: int) -> Segments | None:
    """The longest segments from the front with which no moment of the backward pass takes more than `available`.

    While a segment's gradients are computed there are its blocks' activations and the inputs of all segments before.
    """
    left = sum(block.kept for stage in stages for block in stage)
    stored, segments = 0, []
    for stage in stages:
        lengths: list[int] = []
        done = 0
        while done < len(stage) and stored + left > available:
            stored += stage[done].input
            length = alive = 0
            for block in stage[done:]:
                if stored + alive + block.kept > available:
                    break
                length, alive = length + 1, alive + block.kept
            if not length:
                return None
            lengths.append(length)
            done, left = done + length, left - alive
        segments.append(tuple(lengths))
    return tuple(segments)


def _least_available(stages: list[list[_Block]]) -> int:
    """The least with which there are segments."""
    candidates = range(sum(block.kept for stage in stages for block in stage) + 1)
    return bisect_left(candidates, True, key=lambda available: _segments(stages, available) is not None)


def _recomputed(stages: list[list[_Block]], segments: Segments) -> float:
    twice = sum(block.macs for stage, lengths in zip(stages, segments, strict=True) for block in stage[: sum(lengths)])
    return twice / sum(block.macs for stage in stages for block in stage)
