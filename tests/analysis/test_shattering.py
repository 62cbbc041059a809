"""Gradients of nets of a scalar input, held to torch's own, and what becomes of them with depth."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from reslab.analysis.shattering import NUM_POINTS, _weights, input_gradients, shattering
from reslab.errors import ReslabError


def by_autograd(kind, depth, seed, batch_norm, beta=1.0):
    """dy/dx with batch norm's statistics as constants."""
    first, bias, *middle, last = _weights(kind, depth, seed)
    x = torch.linspace(-2, 2, NUM_POINTS, dtype=torch.float64).requires_grad_()

    def rectified(z):
        if batch_norm:
            mean, variance = z.detach().mean(0), z.detach().var(0, correction=0)
            z = functional.batch_norm(z, mean, variance, eps=1e-5)
        return z.relu()

    z = torch.outer(x, first) + bias
    for weight in middle:
        z = (z if kind == "residual" else 0) + beta * rectified(z) @ weight
    return torch.autograd.grad((rectified(z) @ last).sum(), x)[0].numpy()


@pytest.mark.parametrize(
    ("kind", "batch_norm", "beta"),
    [("plain", True, 1.0), ("plain", False, 1.0), ("looks-linear", False, 1.0), ("residual", True, 0.3)],
)
def test_gradients_are_torch_s(kind, batch_norm, beta):
    expected = by_autograd(kind, 4, 7, batch_norm, beta)
    assert expected.shape == (NUM_POINTS,)
    found = input_gradients(kind, 4, 7, batch_norm=batch_norm, beta=beta)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_weights_are_of_the_variance_that_keeps_gradients():
    """He's, for which the mean square of dy/dx stays the same in plain nets without norms: a half, of one relu."""
    first, bias, *middle, last = _weights("plain", 3, 0)
    assert (first.shape, bias.shape, last.shape) == ((200,), (200,), (200,))
    assert [float(weight.var()) for weight in middle] == pytest.approx([0.01, 0.01], rel=0.03)
    squares = [np.mean(np.square(input_gradients("plain", 10, seed, batch_norm=False))) for seed in range(30)]
    assert np.mean(squares) == pytest.approx(0.5, rel=0.4)


def test_a_net_that_looks_linear_is_linear_at_any_depth():
    for depth in (1, 50):
        gradient = input_gradients("looks-linear", depth, 0)
        assert np.ptp(gradient) < 1e-10 * abs(gradient[0])
    found = shattering("looks-linear", 50, seeds=(0, 1))
    assert found.autocorrelation == pytest.approx((1.0,) * (NUM_POINTS // 2 + 1))
    assert found.half_width is None
    assert found.neighbour_covariance == pytest.approx(found.mean_square)


def test_correlations_by_hand():
    found = shattering("plain", 5, seeds=(3, 4))
    gradients = [input_gradients("plain", 5, seed) for seed in (3, 4)]
    for lag in (1, 8):
        correlations = [
            gradient[lag:] @ gradient[:-lag] / np.linalg.norm(gradient[lag:]) / np.linalg.norm(gradient[:-lag])
            for gradient in gradients
        ]
        assert found.autocorrelation[lag] == pytest.approx(np.mean(correlations))
        if lag == 1:
            assert found.standard_error == pytest.approx(abs(np.subtract(*correlations)) / 2)
    assert found.lag1_correlation == found.autocorrelation[1]
    assert found.autocorrelation[0] == pytest.approx(1)
    assert found.mean_square == pytest.approx(np.mean(np.square(gradients)))
    assert found.neighbour_covariance == pytest.approx(np.mean([g[1:] * g[:-1] for g in gradients]))
    lag = math.floor(found.half_width)
    assert found.autocorrelation[lag] >= 0.5 > found.autocorrelation[lag + 1]


def test_correlations_decay_exponentially_in_plain_nets_and_slowly_in_residual_ones():
    seeds = tuple(range(6))
    plain = {depth: shattering("plain", depth, seeds=seeds) for depth in (4, 7, 10, 24)}
    widths = [plain[depth].half_width for depth in (4, 7, 10)]
    # Three layers more divide the width by about as much each time.
    assert widths[0] / widths[1] == pytest.approx(widths[1] / widths[2], rel=0.5)
    assert widths[0] / widths[2] > 5
    assert abs(plain[24].lag1_correlation) < 0.15
    residual = {depth: shattering("residual", depth, seeds=seeds) for depth in (4, 10, 24)}
    assert residual[24].lag1_correlation > 0.65
    assert residual[4].half_width / residual[10].half_width < 4
    scaled = shattering("residual", 24, seeds=seeds, beta=0.1)
    assert scaled.lag1_correlation > 0.85
    assert shattering("plain", 24, seeds=seeds, batch_norm=False).lag1_correlation > 0.7


def test_gradients_of_plain_nets_grow_by_the_factor_of_theory():
    """pi / (pi - 1) a layer in their mean square, as of the signals of convolutional nets."""
    squares = [shattering("plain", depth, seeds=tuple(range(8))).mean_square for depth in (6, 26)]
    assert (squares[1] / squares[0]) ** (1 / 20) == pytest.approx(math.pi / (math.pi - 1), rel=0.05)


def test_results_are_json_and_repeat():
    random = torch.get_rng_state()
    found = shattering("residual", 2, seeds=(5,), beta=0.5)
    assert found.autocorrelation == shattering("residual", 2, seeds=(5,), beta=0.5).autocorrelation
    assert torch.equal(random, torch.get_rng_state())
    table = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (table["kind"], table["depth"], table["batch_norm"], table["num_seeds"]) == ("residual", 2, True, 1)
    assert table["standard_error"] == "nan"
    assert table["autocorrelation"] == list(found.autocorrelation)


def test_what_cannot_be_measured_is_said_in_a_sentence():
    with pytest.raises(ReslabError, match="choose plain, looks-linear, residual"):
        shattering("dense", 2)
    with pytest.raises(ReslabError, match="at least 1"):
        shattering("plain", 0)
    with pytest.raises(ReslabError, match="at least one seed"):
        shattering("plain", 2, seeds=())
    with pytest.raises(ReslabError, match="residual net's branches"):
        shattering("plain", 2, beta=0.1)
    with pytest.raises(ReslabError, match="rounding errors"):
        shattering("looks-linear", 2, batch_norm=True)
