"""The paper's conjecture in seconds: near the identity, is F(x) + x learned where F(x) alone is not?

Sec. 3.1 puts degradation down to solvers, which may have difficulties in approximating identity mappings by several
nonlinear layers; where the identity is near what is best, its small rest should be easier to find. Here small
fully-connected nets of both kinds learn H(x) = x + epsilon g(x), for a fixed random g. Nets of all seeds and rates are
trained at once, as one batch of matrices.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from reslab.analysis.probes import json_ready
from reslab.errors import ReslabError

__all__ = ["Distances", "IdentityRun", "IdentityTask", "identity_experiment", "learn_identity"]

_EPS = 1e-5  # in batch norm
_MEAN = 1 / math.sqrt(2 * math.pi)  # of a rectified Gaussian, which x is
_VARIANCE = (math.pi - 1) / (2 * math.pi)
_NUM_TEST = 1024
_SHARPNESS = 2.0  # of the tanh in g: far from linear where x is spread as it is


@dataclass(frozen=True, kw_only=True)
class IdentityTask:
    """What is learned, and how.

    Args:
        width: of x, H(x) and all layers.
        epsilon: distance of H from the identity: the error of y = x is epsilon^2.
        batch_size: fresh inputs a step; they are rectified Gaussians, since blocks are given what a ReLU gave.
        num_steps: of SGD.
        momentum: of SGD.
        rates: learning rates, of which each net is given the one with which it ends best.
        target_error: that is to be reached; twice that of the identity by default.
        every: steps between two errors of the curve.

    Raises:
        ReslabError: numbers with which nothing can be learned.
    """

    width: int = 16
    epsilon: float = 0.1
    batch_size: int = 128
    num_steps: int = 400
    momentum: float = 0.9
    rates: tuple[float, ...] = (0.03, 0.1)
    target_error: float = 0.02
    every: int = 10

    def __post_init__(self) -> None:
        if min(self.width, self.batch_size - 1, self.num_steps, self.every) < 1 or not self.rates:
            raise ReslabError(
                "width, num_steps and every must be 1 or more, batch_size 2 or more, and rates not empty."
            )
        if min(self.rates) <= 0 or not 0 <= self.momentum < 1 or self.epsilon < 0:
            raise ReslabError("rates must be positive, momentum within [0, 1), and epsilon not negative.")


@dataclass(frozen=True)
class Distances:
    """How far f is from 0 and from the identity I, where y = x + f(x) or y = f(x). All are Frobenius norms over |I|.

    Args:
        function_from_zero: |A|, where A is the linear map that is nearest to f on the inputs (least squares).
        function_from_identity: |A - I|.
        weights_from_zero: |W|, mean over layers; batch norm's division and scale are multiplied into W.
        weights_from_identity: |W - I|, the same.
    """

    function_from_zero: float
    function_from_identity: float
    weights_from_zero: float
    weights_from_identity: float


@dataclass(frozen=True)
class IdentityRun:
    """One net's training.

    Args:
        kind: residual, y = x + f(x), or plain, y = f(x).
        batch_norm: whether f has it after each linear map.
        layers: of f: linear maps, with ReLU between them and none after the last.
        seed: of weights, inputs and g.
        rate: of learning; the best of the task's.
        steps: at which errors were measured.
        errors: mean |y - H(x)|^2 over the variance of x, on inputs that are not trained on.
        steps_to_target: the first of `steps` with an error below the task's target; None where there is none.
        start: distances before training.
        end: distances after it.
    """

    kind: Literal["residual", "plain"]
    batch_norm: bool
    layers: int
    seed: int
    rate: float
    steps: tuple[int, ...]
    errors: tuple[float, ...]
    steps_to_target: int | None
    start: Distances
    end: Distances

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, where `inf` and `nan` are texts."""
        table: dict[str, Any] = json_ready(self)
        return table


def identity_experiment(
    depths: Sequence[int] = (2, 4, 8), seeds: Sequence[int] = (0, 1, 2), task: IdentityTask | None = None
) -> tuple[IdentityRun, ...]:
    """Residual and plain nets, with and without batch norm, of several depths; seconds on one core.

    Args:
        depths: layers of f.
        seeds: of weights, inputs and g; the same for all kinds of nets.
        task: what is learned; the default `IdentityTask`.

    Returns:
        Runs by depth, then batch norm, kind and seed.

    Raises:
        ReslabError: no seeds, or a depth below 1.
    """
    return tuple(
        run
        for layers in depths
        for batch_norm in (False, True)
        for kind in ("residual", "plain")
        for run in learn_identity(layers, residual=kind == "residual", batch_norm=batch_norm, seeds=seeds, task=task)
    )


def learn_identity(
    layers: int,
    *,
    residual: bool,
    batch_norm: bool,
    seeds: Sequence[int] = (0, 1, 2),
    task: IdentityTask | None = None,
) -> tuple[IdentityRun, ...]:
    """Trains nets of one kind and depth, one for each seed and rate, and keeps each seed's best.

    He's initialisation by fan-in; biases of 0; no weight decay. torch's global generator is not used.

    Args:
        layers: of f.
        residual: y = x + f(x), or y = f(x).
        batch_norm: in f.
        seeds: of weights, inputs and g.
        task: what is learned; the default `IdentityTask`.

    Returns:
        A run for each seed.

    Raises:
        ReslabError: no seeds, or a depth below 1.
    """
    if layers < 1 or not seeds:
        raise ReslabError(f"a net needs at least one layer and one seed, not layers={layers} and seeds={tuple(seeds)}.")
    task = task or IdentityTask()
    nets = _Nets(layers, residual, batch_norm, [_Stream(seed, task) for seed in seeds], task)
    test, target = nets.inputs(_NUM_TEST)
    start = nets.distances(test)
    steps = range(0, task.num_steps + 1, task.every)
    curves = _train(nets, task, steps, test, target)
    end = nets.distances(test)
    runs = []
    for place, seed in enumerate(seeds):
        own = range(place, len(curves), len(seeds))
        best = min(own, key=lambda net: _ended(curves[net]))
        reached = [step for step, error in zip(steps, curves[best], strict=True) if error < task.target_error]
        runs.append(
            IdentityRun(
                kind="residual" if residual else "plain",
                batch_norm=batch_norm,
                layers=layers,
                seed=seed,
                rate=task.rates[best // len(seeds)],
                steps=tuple(steps),
                errors=tuple(curves[best].tolist()),
                steps_to_target=reached[0] if reached else None,
                start=start[best],
                end=end[best],
            )
        )
    return tuple(runs)


def _ended(curve: Tensor) -> float:
    last = float(curve[-1])
    return math.inf if math.isnan(last) else last


@torch.enable_grad()
def _train(nets: "_Nets", task: IdentityTask, steps: range, test: Tensor, target: Tensor) -> Tensor:
    """SGD with momentum, each net at its own rate; gives the errors at some steps, (nets, steps)."""
    errors = []
    velocities = [torch.zeros_like(parameter) for parameter in nets.parameters]
    for step in range(task.num_steps + 1):
        if step in steps:
            with torch.no_grad():
                errors.append(nets.errors(test, target))
        if step == task.num_steps:
            break
        # Nets do not meet in it, so that the gradient of the sum is each net's own.
        gradients = torch.autograd.grad(nets.errors(*nets.inputs(task.batch_size)).sum(), nets.parameters)
        with torch.no_grad():
            for parameter, velocity, gradient in zip(nets.parameters, velocities, gradients, strict=True):
                velocity.mul_(task.momentum).add_(gradient)
                parameter.sub_(velocity * nets.rates.view(-1, *(1,) * (parameter.dim() - 2)))
    return torch.stack(errors, dim=1)


class _Stream:
    """What one seed decides: weights, the function g, and inputs."""

    def __init__(self, seed: int, task: IdentityTask) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.task = task
        self.maps = torch.randn(2, task.width, task.width, generator=self.generator) / math.sqrt(task.width)
        self.scale = 1.0
        inputs, target = self.inputs(_NUM_TEST)
        self.scale = task.epsilon * math.sqrt(_VARIANCE / float((target - inputs).square().mean()))

    def weights(self, layers: int) -> Tensor:
        width = self.task.width
        return torch.randn(layers, width, width, generator=self.generator) * math.sqrt(2 / width)

    def inputs(self, number: int) -> tuple[Tensor, Tensor]:
        """x and H(x), (number, width) each."""
        x = torch.randn(number, self.task.width, generator=self.generator).relu()
        return x, x + self.scale * torch.tanh(_SHARPNESS * (x - _MEAN) @ self.maps[0]) @ self.maps[1]


class _Nets:
    """Nets of one kind side by side: for each rate one for each seed. Inputs are (nets, N, width)."""

    def __init__(
        self, layers: int, residual: bool, batch_norm: bool, streams: Sequence[_Stream], task: IdentityTask
    ) -> None:
        self.residual, self.batch_norm = residual, batch_norm
        self.streams, self.copies = streams, len(task.rates)
        self.rates = torch.tensor(task.rates).repeat_interleave(len(streams))
        drawn = torch.stack([stream.weights(layers) for stream in streams], dim=1)
        self.weights = drawn.repeat(1, self.copies, 1, 1)  # (layers, nets, width, width)
        self.biases = torch.zeros(self.weights.shape[:3])
        self.scales = torch.ones(self.weights.shape[:3])
        self.parameters = [self.weights, self.biases, *([self.scales] if batch_norm else [])]
        for parameter in self.parameters:
            parameter.requires_grad_()

    def inputs(self, number: int) -> tuple[Tensor, Tensor]:
        """New x and H(x)."""
        drawn = [stream.inputs(number) for stream in self.streams]
        x, target = (torch.stack(parts).repeat(self.copies, 1, 1) for parts in zip(*drawn, strict=True))
        return x, target

    def f(self, x: Tensor, variances: list[Tensor] | None = None) -> Tensor:
        """f(x); notes the variances of what each layer's batch norm is given, (nets, width), where a list is given."""
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.bmm(x.relu() if layer else x, weight)
            if not self.batch_norm:
                x = x + bias[:, None]
                continue
            if variances is not None:
                variances.append(x.var(dim=1, correction=0))
            # Channels are those of all nets: (nets, N, width) -> (N, nets * width)
            flat, scale = x.transpose(0, 1).flatten(1), self.scales[layer].flatten()
            flat = functional.batch_norm(flat, None, None, scale, bias.flatten(), training=True, eps=_EPS)
            x = flat.reshape(len(flat), *bias.shape).transpose(0, 1)
        return x

    def errors(self, x: Tensor, target: Tensor) -> Tensor:
        """(nets,): mean squared errors over the variance of x."""
        output = self.f(x)
        if self.residual:
            output = output + x
        return (output - target).square().mean(dim=(1, 2)) / _VARIANCE

    @torch.no_grad()
    def distances(self, x: Tensor) -> list[Distances]:
        """Of each net, on these inputs."""
        variances: list[Tensor] = []
        output = self.f(x, variances)
        centred = (x - x.mean(dim=1, keepdim=True)).double()
        # Least squares, one matrix for each net; what a net gives may be no numbers.
        linear = torch.linalg.pinv(centred) @ (output - output.mean(dim=1, keepdim=True)).double()
        weights: Tensor = self.weights
        if variances:
            weights = weights * (self.scales * torch.rsqrt(torch.stack(variances) + _EPS))[:, :, None]
        identity = torch.eye(x.shape[-1])
        columns = [
            _size(linear),
            _size(linear - identity),
            _size(weights).mean(dim=0),
            _size(weights - identity).mean(dim=0),
        ]
        return [Distances(*net) for net in torch.stack([column.double() for column in columns], dim=1).tolist()]


def _size(maps: Tensor) -> Tensor:
    """Frobenius norms in units of the identity's."""
    size: Tensor = torch.linalg.matrix_norm(maps) / math.sqrt(maps.shape[-1])
    return size
