"""Nets that learn what is near the identity, held to networks and an optimiser of torch's own."""

import json
import math

import pytest
import torch
from torch import nn

from reslab.analysis.identity import IdentityTask, _Nets, _Stream, identity_experiment, learn_identity
from reslab.errors import ReslabError

TASK = IdentityTask(num_steps=6, every=2, rates=(0.02, 0.05))


def by_torch(residual, batch_norm, seed, rate, layers=3):
    """Errors at steps 0, 2, 4, 6 of a network of modules, and the network."""
    stream = _Stream(seed, TASK)
    modules = []
    for weight in stream.weights(layers):
        linear = nn.Linear(16, 16)
        linear.weight.data, linear.bias.data = weight.T.clone(), torch.zeros(16)
        modules += [linear, *([nn.BatchNorm1d(16)] if batch_norm else []), nn.ReLU()]
    f = nn.Sequential(*modules[:-1])
    optimizer = torch.optim.SGD(f.parameters(), lr=rate, momentum=0.9)
    test, target = stream.inputs(1024)
    variance = 0.5 - 1 / (2 * math.pi)
    errors = []
    for step in range(7):
        output = f(test) + test if residual else f(test)
        errors.append(float((output - target).detach().square().mean()) / variance)
        if step < 6:
            x, y = stream.inputs(128)
            loss = ((f(x) + x if residual else f(x)) - y).square().mean() / variance
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return errors[::2], f, test


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_training_is_that_of_torch(residual, batch_norm):
    runs = learn_identity(3, residual=residual, batch_norm=batch_norm, seeds=(5, 7), task=TASK)
    assert [run.seed for run in runs] == [5, 7]
    for run in runs:
        both = {rate: by_torch(residual, batch_norm, run.seed, rate) for rate in TASK.rates}
        assert run.rate == min(both, key=lambda rate: both[rate][0][-1])
        errors, f, test = both[run.rate]
        assert run.steps == (0, 2, 4, 6)
        assert run.errors == pytest.approx(errors, rel=1e-3)
        with torch.no_grad():
            output = f(test).double().numpy()
        x = test.double().numpy()
        covariance = (x - x.mean(0)).T @ (x - x.mean(0))
        linear = torch.linalg.solve(
            torch.from_numpy(covariance), torch.from_numpy((x - x.mean(0)).T @ (output - output.mean(0)))
        )
        assert run.end.function_from_zero == pytest.approx(float(linear.norm()) / 4, rel=1e-3)
        assert run.end.function_from_identity == pytest.approx(float((linear - torch.eye(16)).norm()) / 4, rel=1e-3)
        if not batch_norm:
            weights = [module.weight.detach() for module in f if isinstance(module, nn.Linear)]
            zero = sum(float(weight.norm()) for weight in weights) / 12
            identity = sum(float((weight - torch.eye(16)).norm()) for weight in weights) / 12
            assert run.end.weights_from_zero == pytest.approx(zero, rel=1e-4)
            assert run.end.weights_from_identity == pytest.approx(identity, rel=1e-4)


def test_distances_are_multiplied_with_what_batch_norm_does():
    """A net whose norm undoes the weights' scale: W = 3 I, and a norm that gives x back its variance."""
    nets = _Nets(1, False, True, [_Stream(0, TASK)], IdentityTask(rates=(0.1,)))
    x, _ = nets.inputs(1000)
    with torch.no_grad():
        nets.weights.copy_(3 * torch.eye(16))
        nets.scales.copy_(x.std(dim=1, correction=0))
    (found,) = nets.distances(x)
    assert found.weights_from_zero == pytest.approx(1, abs=1e-4)
    assert found.weights_from_identity == pytest.approx(0, abs=1e-4)
    assert found.function_from_identity == pytest.approx(0, abs=1e-4)


def test_the_identity_has_an_error_of_epsilon_squared():
    for epsilon in (0.1, 0.3):
        x, target = _Stream(0, IdentityTask(epsilon=epsilon)).inputs(4096)
        error = (x - target).square().mean() / x.var(dim=0).mean()
        assert float(error) == pytest.approx(epsilon**2, rel=0.05)
    x, target = _Stream(0, IdentityTask(epsilon=0)).inputs(10)
    assert torch.equal(x, target)


def test_residual_nets_find_the_identity_and_deep_plain_ones_do_not():
    task = IdentityTask(num_steps=100)
    for batch_norm in (False, True):
        for run in learn_identity(8, residual=True, batch_norm=batch_norm, seeds=(0, 1), task=task):
            assert run.steps_to_target is not None
            assert run.steps_to_target <= 80
            assert run.end.function_from_zero < 0.1 < 0.2 < run.start.function_from_zero
        for run in learn_identity(8, residual=False, batch_norm=batch_norm, seeds=(0, 1), task=task):
            assert run.steps_to_target is None
            assert run.errors[-1] > 0.5
            assert run.end.function_from_identity > 0.6


def test_all_cells_are_there_and_global_randomness_is_left_alone():
    random = torch.get_rng_state()
    runs = identity_experiment((1, 2), (3,), IdentityTask(num_steps=20))
    assert torch.equal(random, torch.get_rng_state())
    assert [(run.layers, run.batch_norm, run.kind) for run in runs] == [
        (layers, batch_norm, kind)
        for layers in (1, 2)
        for batch_norm in (False, True)
        for kind in ("residual", "plain")
    ]
    assert runs == identity_experiment((1, 2), (3,), IdentityTask(num_steps=20))
    table = json.loads(json.dumps([run.to_dict() for run in runs], allow_nan=False))[0]
    assert table["kind"] == "residual"
    assert table["errors"] == list(runs[0].errors)
    assert table["end"]["function_from_zero"] == runs[0].end.function_from_zero


def test_a_training_that_diverges_is_said():
    (run,) = learn_identity(4, residual=False, batch_norm=False, seeds=(0,), task=IdentityTask(rates=(1e4,)))
    assert not math.isfinite(run.errors[-1])
    assert run.steps_to_target is None
    assert run.to_dict()["errors"][-1] == "nan"


def test_what_cannot_be_learned_is_said_in_a_sentence():
    with pytest.raises(ReslabError, match="one layer and one seed"):
        learn_identity(0, residual=True, batch_norm=True)
    with pytest.raises(ReslabError, match="one layer and one seed"):
        identity_experiment(seeds=())
    with pytest.raises(ReslabError, match="must be 1 or more"):
        IdentityTask(width=0)
    with pytest.raises(ReslabError, match="rates must be positive"):
        IdentityTask(rates=(0.0,))
