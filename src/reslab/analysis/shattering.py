"""Shattered gradients: whether neighbouring inputs still get similar gradients (Balduzzi et al., arXiv 1702.08591).

Small fully-connected nets of a scalar input x, with 200 rectifiers a layer, and the gradient dy/dx on a grid of x. At
the start gradients of deep plain nets look like white noise: what one input teaches says nothing of its neighbour.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reslab.analysis.probes import json_ready
from reslab.errors import ReslabError

__all__ = ["NUM_POINTS", "Kind", "Shattering", "input_gradients", "shattering"]

Kind = Literal["plain", "looks-linear", "residual"]

NUM_POINTS = 256
"""Inputs x, evenly from -2 to 2."""
_WIDTH = 200
_EPS = 1e-5  # in batch norm


@dataclass(frozen=True)
class Shattering:
    """How gradients at neighbouring inputs hang together, mean over seeds.

    Nothing is subtracted from the gradients first: over random weights their mean is 0 at each input, and a gradient
    that is the same everywhere hangs together perfectly.

    Args:
        kind: of net.
        depth: layers of rectifiers.
        batch_norm: whether there is one before each ReLU, over the grid.
        beta: factor of the branches of a residual net.
        num_seeds: nets with weights drawn anew.
        autocorrelation: of the gradient, for lags of 0, 1, 2, ... points of the grid, up to half of them.
        standard_error: of the correlation at lag 1, over seeds; `nan` for a single one.
        half_width: lag at which the autocorrelation first falls to a half, between points too; None where it does not.
        neighbour_covariance: mean product of gradients at neighbouring points.
        mean_square: of the gradient.
    """

    kind: Kind
    depth: int
    batch_norm: bool
    beta: float
    num_seeds: int
    autocorrelation: tuple[float, ...]
    standard_error: float
    half_width: float | None
    neighbour_covariance: float
    mean_square: float

    @property
    def lag1_correlation(self) -> float:
        """Correlation of gradients at neighbouring points."""
        return self.autocorrelation[1]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, where `inf` and `nan` are texts."""
        table: dict[str, Any] = json_ready(self)
        return table


def shattering(
    kind: Kind,
    depth: int,
    *,
    seeds: Sequence[int] = tuple(range(10)),
    batch_norm: bool | None = None,
    beta: float = 1.0,
) -> Shattering:
    """Measures how gradients at neighbouring inputs hang together in nets at their start.

    In a plain net with batch norm the distance over which they do (`half_width`) shrinks exponentially with depth, and
    is below one point of the grid at 10 layers; in a residual one it shrinks like a power of the depth, the slower the
    smaller beta is; a net that looks linear has the same gradient everywhere. Without batch norm all inputs become
    alike in a plain net, and gradients stay correlated over tens of layers.

    Args:
        kind: as in `input_gradients`.
        depth: layers of rectifiers.
        seeds: of the weights.
        batch_norm: before each ReLU; by default where the net does not look linear.
        beta: factor of the branches of a residual net.

    Raises:
        ReslabError: an unknown kind, a depth below 1, no seeds, a beta without branches, or batch norm in a net that
            looks linear.
    """
    if not seeds:
        raise ReslabError("shattering needs at least one seed to draw weights from.")
    gradients = [input_gradients(kind, depth, seed, batch_norm=batch_norm, beta=beta) for seed in seeds]
    with np.errstate(all="ignore"):  # deep nets may overflow
        correlations = np.array([_autocorrelation(gradient) for gradient in gradients])
        spread = float(correlations[:, 1].std(ddof=1)) if len(seeds) > 1 else math.nan
        mean = correlations.mean(axis=0)
        return Shattering(
            kind=kind,
            depth=depth,
            batch_norm=_has_norm(kind, batch_norm),
            beta=beta,
            num_seeds=len(seeds),
            autocorrelation=tuple(mean.tolist()),
            standard_error=spread / math.sqrt(len(seeds)),
            half_width=_half_width(mean),
            neighbour_covariance=float(np.mean([gradient[1:] * gradient[:-1] for gradient in gradients])),
            mean_square=float(np.mean(np.square(gradients))),
        )


@torch.no_grad()
def input_gradients(
    kind: Kind, depth: int, seed: int, *, batch_norm: bool | None = None, beta: float = 1.0
) -> NDArray[np.float64]:
    """dy/dx of one net on the grid, (NUM_POINTS,).

    The first layer is w x + b with Gaussian w and b, the last a Gaussian sum. Between them are, for z the layer before,
    and W of variance 2 / fan_in:

    - plain: z = W relu(norm(z));
    - looks-linear: the same with an orthogonal W, whose units come in pairs of opposite sign, so that
      relu(z) - relu(-z) = z makes every layer, and the net, linear (the paper's Sec. 4);
    - residual: z = z + beta W relu(norm(z)) (the paper's Eq. 2).

    The gradient is carried forward with the values. Batch norm's mean and variance over the grid are taken for
    constants, as in a net that is tested.

    Args:
        kind: of net.
        depth: layers of rectifiers.
        seed: of the weights.
        batch_norm: before each ReLU; by default where the net does not look linear.
        beta: factor of the branches of a residual net.

    Raises:
        ReslabError: an unknown kind, a depth below 1, a beta without branches, or batch norm in a net that looks
            linear.
    """
    if kind not in get_args(Kind):
        raise ReslabError(f"kind={kind!r} is not known: choose {', '.join(get_args(Kind))}.")
    if batch_norm and kind == "looks-linear":
        raise ReslabError("batch norm multiplies the rounding errors of a net that looks linear: leave it out.")
    if depth < 1:
        raise ReslabError(f"depth={depth} must be at least 1, the number of layers of rectifiers.")
    if beta != 1.0 and kind != "residual":
        raise ReslabError(f"beta={beta} scales a residual net's branches: leave it out for kind={kind}.")
    batch_norm = _has_norm(kind, batch_norm)
    first, bias, *middle, last = _weights(kind, depth, seed)
    x = torch.linspace(-2, 2, NUM_POINTS, dtype=torch.float64)[:, None]
    z, slope = x * first + bias, first.expand(NUM_POINTS, -1)  # (points, width) each
    for weight in middle:
        value, change = _rectified(z, slope, batch_norm)
        value, change = value @ weight, change @ weight
        z, slope = (z + beta * value, slope + beta * change) if kind == "residual" else (value, change)
    gradient: NDArray[np.float64] = (_rectified(z, slope, batch_norm)[1] @ last).numpy()
    return gradient


def _has_norm(kind: Kind, asked: bool | None) -> bool:
    return kind != "looks-linear" if asked is None else asked


def _rectified(z: Tensor, slope: Tensor, batch_norm: bool) -> tuple[Tensor, Tensor]:
    """relu(norm(z)), and its derivative with respect to x."""
    if batch_norm:
        variance, mean = torch.var_mean(z, dim=0, correction=0)
        factor = torch.rsqrt(variance + _EPS)
        z, slope = (z - mean) * factor, slope * factor
    return z.relu(), slope * (z > 0)


def _weights(kind: Kind, depth: int, seed: int) -> Iterator[Tensor]:
    """The first layer's weights and biases, (width,) each; the matrices; the last layer's weights, (width,)."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    if kind != "looks-linear":
        yield from (draw(_WIDTH), draw(_WIDTH))
        for _ in range(depth - 1):
            yield draw(_WIDTH, _WIDTH) * math.sqrt(2 / _WIDTH)
        yield draw(_WIDTH) / math.sqrt(_WIDTH)
        return
    half = _WIDTH // 2
    for _ in range(2):
        drawn = draw(half)
        yield torch.cat([drawn, -drawn])
    for _ in range(depth - 1):
        drawn = torch.empty(half, half, dtype=torch.float64)
        nn.init.orthogonal_(drawn, generator=generator)
        yield torch.cat([torch.cat([drawn, -drawn], dim=1), torch.cat([-drawn, drawn], dim=1)])
    drawn = draw(half) / math.sqrt(half)
    yield torch.cat([drawn, -drawn])


def _autocorrelation(gradient: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = np.square(gradient)
    count = len(gradient)
    return np.array(
        [
            (gradient[: count - lag] * gradient[lag:]).sum()
            / math.sqrt(squares[: count - lag].sum() * squares[lag:].sum())
            for lag in range(count // 2 + 1)
        ]
    )


def _half_width(autocorrelation: NDArray[np.float64]) -> float | None:
    below = np.flatnonzero(autocorrelation < 0.5)
    if not len(below):
        return None
    lag = int(below[0])
    above, under = autocorrelation[lag - 1], autocorrelation[lag]
    return lag - 1 + float((above - 0.5) / (above - under))
