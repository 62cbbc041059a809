"""Muon, held to singular value decompositions, to torch's and to SGD."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from reslab.models import create_model
from reslab.training.muon import Muon, orthogonalized
from reslab.training.optimizer import make_optimizer
from reslab.training.recipe import Muon as MuonRecipe

MUON = MuonRecipe(learning_rate=0.2, momentum=0.6, nesterov=True, weight_decay=5e-4)


def iterated(singular_values):
    """Five rounds of the polynomial, as the page that introduced Muon gives it."""
    for _ in range(5):
        singular_values = 3.4445 * singular_values - 4.7750 * singular_values**3 + 2.0315 * singular_values**5
    return singular_values


@pytest.mark.parametrize("shape", [(16, 144), (64, 576), (40, 3), (5, 5), (1, 9), (7, 1)])
def test_singular_vectors_stay_and_values_become_about_one(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = orthogonalized(matrices)
    for matrix, result in zip(matrices, found, strict=True):
        u, values, v = torch.linalg.svd(matrix, full_matrices=False)
        expected = u @ torch.diag(iterated(values / matrix.norm())) @ v
        torch.testing.assert_close(result, expected)
    near_one = torch.linalg.svdvals(orthogonalized(matrices.float()))
    assert near_one.min() > 0.6
    assert near_one.max() < 1.25
    torch.testing.assert_close(orthogonalized(matrices.float()), found.float(), atol=1e-3, rtol=1e-3)


def test_a_gradient_of_zeros_gives_no_step():
    assert torch.equal(orthogonalized(torch.zeros(4, 9)), torch.zeros(4, 9))


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_steps_directions_are_torchs(nesterov):
    """Whose own is for matrices, in bfloat16, and leaves norms alone, so it starts from the scaled weight each time."""
    weight = nn.Parameter(torch.randn(32, 8, 3, 3))
    matrix = nn.Parameter(weight.detach().flatten(1).clone())
    ours = Muon([{"params": [weight], "orthogonal": True}], 0.4, factor=0.25, momentum=0.6, nesterov=nesterov)
    theirs = torch.optim.Muon([matrix], 0.1, momentum=0.6, nesterov=nesterov, weight_decay=0.0)
    for _ in range(4):
        weight.grad = torch.randn_like(weight)
        matrix.grad = weight.grad.flatten(1)
        with torch.no_grad():
            matrix.copy_(weight.flatten(1) * (32**0.5 / weight.norm()))
        before = matrix.detach().clone()
        ours.step()
        theirs.step()
        step, other = weight.detach().flatten(1) - before, matrix.detach() - before
        assert functional.cosine_similarity(step.flatten(), other.flatten(), dim=0) > 0.995
        assert step.norm() / other.norm() == pytest.approx(1, abs=0.05)


def test_what_is_not_orthogonal_takes_sgds_steps():
    parameters = [nn.Parameter(torch.randn(4, 3, 2, 2)), nn.Parameter(torch.randn(5))]
    twins = [nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    ours = Muon(parameters, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    theirs = torch.optim.SGD(twins, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    for _ in range(4):
        for parameter, twin in zip(parameters, twins, strict=True):
            parameter.grad = torch.randn_like(parameter)
            twin.grad = parameter.grad.clone()
        ours.step()
        theirs.step()
    for parameter, twin in zip(parameters, twins, strict=True):
        torch.testing.assert_close(parameter, twin)


@pytest.mark.parametrize("channels_last", [False, True])
def test_all_convolutions_but_the_first_are_orthogonal_and_keep_their_norm(channels_last):
    model = create_model("resnet8", shortcut="C")
    model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    optimizer = make_optimizer(model, MUON)
    orthogonal = {id(item) for group in optimizer.param_groups if group["orthogonal"] for item in group["params"]}
    named = dict(model.named_parameters())
    assert {name for name, item in named.items() if id(item) in orthogonal} == {
        name for name, item in named.items() if item.ndim == 4 and name != "conv1.weight"
    }
    assert len({id(item) for group in optimizer.param_groups for item in group["params"]}) == len(named)
    for _ in range(2):
        functional.cross_entropy(model(torch.randn(8, 3, 16, 16)), torch.arange(8)).backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, item in named.items():
        if id(item) in orthogonal:
            # The norm before the last step, and a step of a twentieth of it.
            assert float(item.detach().norm()) == pytest.approx(len(item) ** 0.5, rel=0.06), name


def test_layout_in_memory_changes_nothing():
    steps = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(6, 4, 3, 3).contiguous(memory_format=layout))
        optimizer = Muon([{"params": [weight], "orthogonal": True}], 0.2)
        weight.grad = torch.randn(6, 4, 3, 3).contiguous(memory_format=layout)
        optimizer.step()
        steps.append(weight.detach())
    torch.testing.assert_close(*steps)
