"""Small fully connected nets that answer a question in seconds; they have no images and no network of the zoo."""

import math
from typing import Literal

from reslab.analysis.identity import learn_identity
from reslab.analysis.shattering import Kind
from reslab.analysis.shattering import shattering as measure_shattering
from reslab.paper.measures import Measured
from reslab.paper.subjects import MeasuredNetwork

__all__ = ["identity", "shattering"]

_NETS = 10  # of one seed, whose correlations are averaged: a single net's is of 255 pairs that hang together


def identity(
    subject: MeasuredNetwork, *, kind: Literal["plain", "residual"], layers: int, batch_norm: bool
) -> Measured:
    """A net learns a function near the identity (Sec. 3.1).

    Args:
        subject: has the seed.
        kind: y = f(x), or y = x + f(x).
        layers: of f.
        batch_norm: whether f has it.
    """
    seed = subject.job.subject.seed
    (run,) = learn_identity(layers, residual=kind == "residual", batch_norm=batch_norm, seeds=(seed,))
    steps = math.nan if run.steps_to_target is None else float(run.steps_to_target)
    # What must be learned is H - I or H: how far the trained f still is from where an identity would put it.
    residual = kind == "residual"
    start = run.start.function_from_zero if residual else run.start.function_from_identity
    end = run.end.function_from_zero if residual else run.end.function_from_identity
    return Measured(
        values={
            "final_error": run.errors[-1],
            "log10_error": math.log10(run.errors[-1]),
            "steps_to_error": steps,
            "start_distance": start,
            "end_distance": end,
            "weights_from_zero": run.end.weights_from_zero,
            "weights_from_identity": run.end.weights_from_identity,
        },
        series={"step": list(run.steps), "loss": list(run.errors)},
    )


def shattering(subject: MeasuredNetwork, *, kind: Kind, depth: int) -> Measured:
    """How gradients at neighbouring inputs hang together, with fresh weights (arXiv 1702.08591).

    Args:
        subject: has the seed; a seed stands for ten nets.
        kind: plain or residual with batch norm, or looks-linear without.
        depth: layers of rectifiers.
    """
    first = subject.job.subject.seed * _NETS
    found = measure_shattering(kind, depth, seeds=range(first, first + _NETS))
    width = math.nan if found.half_width is None else found.half_width
    return Measured(
        values={"correlation": found.lag1_correlation, "half_width": width},
        series={
            "lag": list(range(len(found.autocorrelation))),
            "autocorrelation": list(found.autocorrelation),
        },
    )
