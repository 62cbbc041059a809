"""LAMB, held to timm's."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from reslab.training.lamb import Lamb
from reslab.training.optimizer import make_optimizer
from reslab.training.recipe import Lamb as LambRecipe


def trained(make, steps: int = 6, scale: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).double()
    optimizer = make(model)
    images, labels = torch.randn(6, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, 0])
    for _ in range(steps):
        optimizer.zero_grad()
        (scale * functional.cross_entropy(model(images), labels)).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("scale", [1.0, 50.0])  # below and above the norm that gradients are scaled to
@pytest.mark.parametrize("decay", ["all", "weights"])
def test_updates_are_timms(decay, scale):
    optim = pytest.importorskip("timm.optim")
    recipe = LambRecipe(learning_rate=0.01, weight_decay=0.02, decay=decay)
    ours = trained(lambda model: make_optimizer(model, recipe), scale=scale)

    def timms(model):
        groups = make_optimizer(model, recipe).param_groups
        groups = [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in groups]
        return optim.Lamb(groups, lr=0.01, max_grad_norm=1.0)

    theirs = trained(timms, scale=scale)
    untouched = trained(timms, steps=0)
    for mine, other, start in zip(ours.parameters(), theirs.parameters(), untouched.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-9, rtol=1e-7)
        assert not torch.equal(mine, start)


def test_it_goes_on_from_its_state():
    straight = trained(lambda model: Lamb(model.parameters(), 0.01, weight_decay=0.1), steps=4)
    torch.manual_seed(0)
    states = []

    class Interrupted(Lamb):
        def step(self, closure=None):
            super().step(closure)
            states.append(self.state_dict())
            fresh = Lamb(self.param_groups[0]["params"], 0.01, weight_decay=0.1)
            fresh.load_state_dict(states[-1])
            self.__dict__.update(state=fresh.state, param_groups=fresh.param_groups)

    broken = trained(lambda model: Interrupted(model.parameters(), 0.01, weight_decay=0.1), steps=4)
    assert len(states) == 4
    for mine, other in zip(straight.parameters(), broken.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_weight_of_zeros_takes_adams_step():
    parameter = nn.Parameter(torch.zeros(3))
    optimizer = Lamb([parameter], 0.1, weight_decay=0.1)
    parameter.grad = torch.tensor([0.1, -0.2, 0.3])
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), torch.tensor([-0.1, 0.1, -0.1]), atol=1e-5, rtol=1e-4)
