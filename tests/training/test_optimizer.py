import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from reslab.models import create_model
from reslab.training.optimizer import make_optimizer
from reslab.training.recipe import AdamW, Lamb, Muon, Sgd


def test_every_parameter_is_in_exactly_one_group():
    model = create_model("resnet20", shortcut="C")
    for decay in ("all", "weights", "norms"):
        groups = make_optimizer(model, Sgd(decay=decay)).param_groups
        identities = [id(parameter) for group in groups for parameter in group["params"]]
        assert sorted(identities) == sorted(map(id, model.parameters()))


def test_weights_only_decay_spares_batch_norm_and_biases_of_shortcuts_too():
    model = create_model("resnet20", shortcut="C")
    decayed, spared = make_optimizer(model, Sgd(decay="weights")).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (1e-4, 0)
    assert all(parameter.dim() > 1 for parameter in decayed["params"])
    assert all(parameter.dim() == 1 for parameter in spared["params"])
    shortcut_norm = model.layer1[0].downsample[1].weight
    assert any(parameter is shortcut_norm for parameter in spared["params"])


def test_norms_only_decay_is_of_what_weights_only_decay_spares():
    model = create_model("resnet20", shortcut="C")
    decayed, spared = make_optimizer(model, Sgd(decay="norms", weight_decay=0.02)).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.02, 0)
    assert all(parameter.dim() == 1 for parameter in decayed["params"])
    assert all(parameter.dim() > 1 for parameter in spared["params"])


@pytest.mark.parametrize("nesterov", [False, True])
def test_updates_are_momentum_with_l2_as_written_down(nesterov):
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    recipe = Sgd(learning_rate=0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov)
    optimizer = make_optimizer(model, recipe)
    weight, velocity = model.weight.detach().clone(), torch.zeros(2, 3, dtype=torch.float64)
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1])
    for _ in range(4):
        loss = functional.cross_entropy(model(x), y)
        (gradient,) = torch.autograd.grad(loss, model.weight, retain_graph=True)
        gradient = gradient + 0.01 * weight
        velocity = 0.9 * velocity + gradient
        weight = weight - 0.1 * (gradient + 0.9 * velocity if nesterov else velocity)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.testing.assert_close(model.weight.detach(), weight)


@pytest.mark.parametrize("decay", ["all", "weights"])
def test_adamw_is_torchs_on_groups_of_ours(decay):
    def trained(make) -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5)).double()
        images, labels = torch.randn(6, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, 0])
        optimizer = make(model)
        for _ in range(5):
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        return model

    def torchs(model: nn.Module) -> torch.optim.Optimizer:
        weights = [model[0].weight, model[3].weight]
        rest = [model[0].bias, model[1].weight, model[1].bias, model[3].bias]
        groups = [{"params": weights}, {"params": rest, "weight_decay": 0.1 if decay == "all" else 0.0}]
        return torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.99), eps=1e-7, weight_decay=0.1)

    recipe = AdamW(learning_rate=0.01, betas=(0.8, 0.99), eps=1e-7, weight_decay=0.1, decay=decay)
    ours, theirs = trained(lambda model: make_optimizer(model, recipe)), trained(torchs)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("recipe", [Sgd(), AdamW(), Lamb(), Muon()], ids=lambda recipe: recipe.kind)
def test_a_first_step_that_overflows_in_fp16_leaves_nothing(recipe):
    """Torch's fused SGD would begin with a momentum of what lay in memory."""
    weights = []
    for overflows in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        optimizer = make_optimizer(model, recipe, scaled=True)
        images = torch.randn(4, 3, 8, 8)
        for factor in [math.inf] * overflows + [1.0, 1.0]:
            scaler.scale(model(images).square().mean() * factor).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        weights.append([parameter.detach().clone() for parameter in model.parameters()])
    for expected, found in zip(*weights, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    if recipe.kind == "sgd":
        assert not any(group["fused"] for group in optimizer.param_groups)
