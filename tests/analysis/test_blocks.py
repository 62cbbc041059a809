"""Branches, lesions and orders of blocks, held to networks changed by hand."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from reslab.analysis.blocks import branch_report, shuffled, without_branches
from reslab.errors import DataError, ModelError
from reslab.models import create_model


def lively(spelling):
    """A network in evaluation mode whose norms do something."""
    model = create_model(spelling).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


def logits(model, images):
    with torch.no_grad():
        return model(images)


def summands(model, images):
    """F and x of every block of 20 layers, computed step by step."""
    relu, spec = nn.functional.relu, model.spec
    z = model.conv1(images)
    if spec.order != "pre":
        z = relu(model.bn1(z))
    for stage in (model.layer1, model.layer2, model.layer3):
        for block in stage:
            x, start = z, z
            if spec.order == "pre":
                start = relu(block.bn1(z))
                x = start if block.shares_activation else z
                branch = block.conv2(relu(block.bn2(block.conv1(start))))
            else:
                branch = block.bn2(block.conv2(relu(block.bn1(block.conv1(z)))))
                branch = relu(branch) if spec.order == "relu-before-addition" else branch
            if block.downsample is not None:
                x = block.downsample(x)
            if block.gate is not None:
                gate = torch.sigmoid(block.gate.conv(z))
                x, branch = x * (1 - gate), branch * gate if spec.gate == "exclusive" else branch
            z = branch + x
            yield branch, x
            z = relu(z) if spec.order == "post" else z


@pytest.mark.parametrize(
    "fields",
    [
        *("shortcut=A", "shortcut=B", "shortcut=C", "order=pre", "order=relu-before-addition"),
        *("shortcut=gated,gate_bias=0", "shortcut=gated,gate_bias=-1,gate=shortcut-only"),
        "shortcut=avgpool,norm=none",
    ],
)
def test_branches_are_measured_as_they_are_added(fields):
    model, images = lively(f"resnet14[{fields}]"), torch.randn(5, 3, 8, 8)
    found = branch_report(model.train(), images.split([2, 3]))
    assert model.training
    assert not any("add_shortcut" in vars(module) for module in model.modules())
    with torch.no_grad():
        expected = list(summands(model.eval(), images))
    assert [report.name for report in found] == [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1)]
    assert [report.grows for report in found] == [False, False, True, False, True, False]
    for report, (branch, x) in zip(found, expected, strict=True):
        branch, x = branch.flatten(1).double().numpy(), x.flatten(1).double().numpy()
        total = branch + x
        lengths = np.linalg.norm(x, axis=1)
        ratio = np.linalg.norm(branch, axis=1) / lengths
        cosine = (total * x).sum(1) / np.linalg.norm(total, axis=1) / lengths
        assert report.branch_to_shortcut == pytest.approx(ratio.mean(), rel=1e-4)
        assert report.cosine == pytest.approx(cosine.mean(), rel=1e-4)
    assert json.dumps([report.to_dict() for report in found], allow_nan=False)


def test_a_branch_of_zeros_adds_nothing():
    model = create_model("resnet14", zero_init_residual=True)
    for report in branch_report(model, [torch.randn(2, 3, 8, 8)]):
        assert report.branch_to_shortcut == 0
        assert report.cosine == pytest.approx(1)


@pytest.mark.parametrize("name", ["layer1.0", "layer2.0", "layer3.1"])
@pytest.mark.parametrize("shortcut", ["A", "B", "gated"])
def test_without_its_branch_a_residual_block_is_its_shortcut(name, shortcut):
    model, images = lively(f"resnet14[shortcut={shortcut}]"), torch.randn(4, 3, 8, 8)
    before, changed = logits(model, images), copy.deepcopy(model)
    norm = changed.get_submodule(name).bn2
    nn.init.zeros_(norm.weight)
    nn.init.zeros_(norm.bias)
    with without_branches(model, [name, name]):
        lesioned = logits(model, images)
    assert torch.equal(lesioned, logits(changed, images))
    assert not torch.equal(lesioned, before)
    assert torch.equal(logits(model, images), before)


def test_a_plain_net_loses_whole_blocks():
    model, images = lively("plain20"), torch.randn(4, 3, 8, 8)
    before, changed = logits(model, images), copy.deepcopy(model)
    del changed.layer1[1], changed.layer3[2]
    with without_branches(model, ["layer1.1", "layer3.2"]):
        assert torch.equal(logits(model, images), logits(changed, images))
        with without_branches(model, ["layer1.1"]):  # again
            assert torch.equal(logits(model, images), logits(changed, images))
        assert torch.equal(logits(model, images), logits(changed, images))
    assert torch.equal(logits(model, images), before)
    with pytest.raises(ModelError, match=r"layer2\.0 of a plain net"), without_branches(model, ["layer2.0"]):
        pass


@pytest.mark.parametrize("spelling", ["resnet20", "plain20"])
def test_blocks_change_places(spelling):
    model, images = lively(spelling), torch.randn(4, 3, 8, 8)
    before, names = logits(model, images), list(model.state_dict())
    changed, own = copy.deepcopy(model), list(model.layer1)
    with shuffled(model, seed=0, num_swaps=3) as order:
        swapped = logits(model, images)
        for stage, numbers in zip(changed.stages, order.stages, strict=True):
            modules = list(stage)
            for place, number in enumerate(numbers):
                stage[place] = modules[number]
        assert torch.equal(swapped, logits(changed, images))
        assert list(model.state_dict()) == names
    assert order.stages != ((0, 1, 2),) * 3
    assert all(numbers[0] == 0 for numbers in order.stages[1:])  # a stage's first block has another shape
    assert not torch.equal(swapped, before)
    assert list(model.layer1) == own
    assert torch.equal(logits(model, images), before)


def test_orders_are_drawn_from_the_seed_and_compared_by_kendall():
    model = create_model("resnet26")
    with shuffled(model, seed=0, num_swaps=0) as order:
        assert order.stages == ((0, 1, 2, 3),) * 3
        assert order.kendall_tau == pytest.approx(1)
    orders = []
    for seed in (3, 3, 4):
        with shuffled(model, seed, num_swaps=5) as order:
            orders.append(order)
    assert orders[0] == orders[1] != orders[2]
    places = [4 * stage + number for stage, numbers in enumerate(orders[0].stages) for number in numbers]
    pairs = [(one, two) for place, one in enumerate(places) for two in places[place + 1 :]]
    agreeing = sum(one < two for one, two in pairs)
    assert orders[0].kendall_tau == pytest.approx((2 * agreeing - len(pairs)) / len(pairs))
    assert orders[0].to_dict()["stages"] == [list(numbers) for numbers in orders[0].stages]


def test_a_network_is_as_it_was_after_a_failure_too():
    model = create_model("resnet14")
    attributes = [sorted(vars(module)) for module in model.modules()]
    with pytest.raises(DataError):
        branch_report(model, [torch.randn(2, 1, 8, 8)])
    with pytest.raises(RuntimeError), without_branches(model, ["layer1.0"]), shuffled(model, 0, 3):
        raise RuntimeError
    assert attributes == [sorted(vars(module)) for module in model.modules()]
    assert all(module.training for module in model.modules())


def test_what_cannot_be_done_is_said_in_a_sentence():
    images = [torch.randn(2, 3, 8, 8)]
    model = create_model("resnet14")
    with pytest.raises(DataError, match="no images"):
        branch_report(model, [])
    with pytest.raises(ModelError, match="choose a residual net"):
        branch_report(create_model("plain8"), images)
    with pytest.raises(ModelError, match=r"did you mean layer2\.0"), without_branches(model, ["layer20"]):
        pass
    with pytest.raises(ModelError, match="VGG has no blocks"):
        branch_report(create_model("vgg16", blocks=(1,), widths=(4,)), images)
    with pytest.raises(ModelError, match="no two blocks"), shuffled(create_model("resnet8"), 0, 1):
        pass
    with pytest.raises(ModelError, match="0 or more"), shuffled(model, 0, -1):
        pass
    model.layer1[0].forward = lambda x: x
    with pytest.raises(ModelError, match="another way than its class"):
        branch_report(model, images)
    model.layer1[0] = nn.Identity()
    with pytest.raises(ModelError, match=r"layer1\.0 is a Identity"):
        branch_report(model, images)
