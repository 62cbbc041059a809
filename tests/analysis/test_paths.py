"""Gradients through paths, held to all paths of a small network."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from scipy.special import comb
from torch.nn import functional

from reslab.analysis.paths import path_lengths
from reslab.errors import DataError, ModelError
from reslab.models import create_model


def gradient_of(model, images, labels, through):
    """Of each image, through the branches of these blocks and the shortcuts of the others."""
    images = images.clone().requires_grad_()
    z = functional.relu(model.bn1(model.conv1(images)))
    for block, branch in zip((*model.layer1, *model.layer2, *model.layer3), through, strict=True):
        f = block.bn2(block.conv2(functional.relu(block.bn1(block.conv1(z if branch else z.detach())))))
        x = z.detach() if branch else z
        z = functional.relu(f + (x if block.downsample is None else block.downsample(x)))
    loss = functional.cross_entropy(model.fc(z.mean((2, 3))), labels, reduction="sum")
    return torch.autograd.grad(loss, images)[0]


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_gradients_are_those_of_all_paths(shortcut):
    model = create_model(f"resnet8[shortcut={shortcut}]").eval()
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6)
    paths = {through: gradient_of(model, images, labels, through) for through in product((False, True), repeat=3)}
    whole = images.clone().requires_grad_()
    functional.cross_entropy(model(whole), labels, reduction="sum").backward()
    torch.testing.assert_close(sum(paths.values()), whole.grad, rtol=1e-4, atol=1e-6)
    means = [
        np.mean([g.flatten(1).norm(dim=1).mean().item() for through, g in paths.items() if sum(through) == length])
        for length in range(4)
    ]
    found = path_lengths(model.train(), images, labels, samples=100)
    assert (found.num_blocks, found.lengths) == (3, (0, 1, 2, 3))
    assert [found.gradient_norms[0], found.gradient_norms[3]] == pytest.approx([means[0], means[3]], rel=1e-4)
    assert found.gradient_norms[1:3] == pytest.approx(means[1:3], rel=0.1)  # drawn at random
    weights = np.array([1, 3, 3, 1]) * found.gradient_norms
    assert found.shares == pytest.approx(weights / weights.sum())
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_the_network_is_as_it_was():
    model = create_model("resnet14[stochastic_depth=0.3,order=pre]")
    images, labels = torch.randn(2, 3, 8, 8), torch.arange(2)
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    attributes = [sorted(vars(module)) for module in model.modules()]
    random = torch.get_rng_state()
    with torch.no_grad():
        one, two, other = (path_lengths(model, images, labels, (3,), seed=seed) for seed in (1, 1, 2))
    assert one == two != other
    assert one.shares == (1,)
    assert torch.equal(random, torch.get_rng_state())
    assert attributes == [sorted(vars(module)) for module in model.modules()]
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not images.requires_grad


def test_paths_are_as_many_as_the_binomial_says_also_in_deep_nets():
    """Gradients of equal strength: branches of zeros, of which the paths of no branch are the only ones left."""
    model = create_model("resnet110", zero_init_residual=True)
    found = path_lengths(model, torch.randn(2, 3, 4, 4), torch.arange(2), (0, 1, 54))
    assert found.num_blocks == 54
    assert found.gradient_norms[0] > 0
    assert found.gradient_norms[1:] == (0, 0)
    assert found.shares == (1, 0, 0)
    shares = path_lengths(create_model("resnet20"), torch.randn(2, 3, 4, 4), torch.arange(2), (2, 7))
    weights = comb(9, [2, 7]) * shares.gradient_norms
    assert shares.shares == pytest.approx(weights / weights.sum())


def test_what_cannot_be_measured_is_said_in_a_sentence():
    images, labels = torch.randn(2, 3, 8, 8), torch.arange(2)
    with pytest.raises(ModelError, match="choose a residual net"):
        path_lengths(create_model("plain8"), images, labels)
    with pytest.raises(ModelError, match="from 0 to the network's 3"):
        path_lengths(create_model("resnet8"), images, labels, (4,))
    with pytest.raises(ModelError, match="at least 1"):
        path_lengths(create_model("resnet8"), images, labels, samples=0)
    with pytest.raises(DataError, match="one for each image"):
        path_lengths(create_model("resnet8"), images, labels[:1])
