"""Blocks and initial weights that the paper's are compared with, held to their definitions."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from reslab.models import create_model, parse_model

relu = functional.relu


def block_of(spelling):
    """The second block of the first stage, with norms that do something, and an input that is not only positive."""
    block = create_model(f"{spelling}").layer1[1].eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
    return block, torch.randn(2, block.conv1.in_channels, 8, 8)


def chain(block, x, numbers, *, first_relu):
    """relu, convolution, norm, relu, convolution, ... up to the last convolution."""
    y = relu(x) if first_relu else x
    for number in numbers[:-1]:
        y = relu(getattr(block, f"bn{number}")(getattr(block, f"conv{number}")(y)))
    return getattr(block, f"conv{numbers[-1]}")(y)


def test_blocks_of_one_and_three_layers():
    block, x = block_of("resnet20[block=single]")
    assert torch.equal(block(x), relu(block.bn1(block.conv1(x)) + x))
    block, x = block_of("resnet20[block=triple]")
    y = chain(block, x, (1, 2, 3), first_relu=False)
    assert torch.equal(block(x), relu(block.bn3(y) + x))
    assert [block.conv1.kernel_size, block.conv2.kernel_size, block.conv3.kernel_size] == [(3, 3)] * 3
    assert parse_model("resnet20[block=single]").depth == 11
    assert parse_model("resnet20[block=triple]").depth == 29


@pytest.mark.parametrize(("network", "count"), [("resnet20", 2), ("resnet50[stem=cifar]", 3)])
@pytest.mark.parametrize("order", ["norm-after-addition", "relu-before-addition", "relu-only"])
def test_orders_of_norm_activation_and_addition(network, count, order):
    spelling = f"{network.rstrip(']')}{',' if '[' in network else '['}order={order}]"
    block, x = block_of(spelling)
    y = chain(block, x, range(1, count + 1), first_relu=order == "relu-only")
    norm = getattr(block, f"bn{count}")
    expected = {
        "norm-after-addition": lambda: relu(norm(y + x)),
        "relu-before-addition": lambda: relu(norm(y)) + x,
        "relu-only": lambda: norm(y) + x,
    }[order]()
    before = x.clone()
    assert torch.equal(block(x), expected)
    assert torch.equal(x, before)


def test_where_blocks_end_with_the_addition_an_activation_precedes_the_pooling():
    net = create_model("resnet20[order=relu-only]").eval()
    assert net.forward_features(torch.randn(2, 3, 32, 32)).min() >= 0
    net.prune_intermediate_layers([1], prune_norm=True)
    assert net.forward_features(torch.randn(2, 3, 32, 32)).min() < 0  # an intermediate map is the sum itself


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        ("fan_out", (2 / (9 * 64)) ** 0.5),
        ("fan_in", (2 / (9 * 32)) ** 0.5),
        ("xavier", (2 / (9 * 96)) ** 0.5),
        ("normal,init_std=0.03", 0.03),
        ("torch", 1 / (3 * 9 * 32) ** 0.5),
    ],
)
def test_standard_deviations_of_initial_weights(init, expected):
    weight = create_model(f"resnet20[init={init}]").layer3[0].conv1.weight
    assert abs(weight.std() / expected - 1) < 0.03
    assert abs(weight.mean()) < expected / 20


def test_identity_passes_its_input_on():
    layer = create_model("plain20[init=identity]").layer1[0].conv1
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize("name", ["plain20", "plain56", "plain20[widths=15-33-64]"])
def test_looks_linear_makes_a_plain_net_linear(name):
    net = create_model(name, init="looks-linear", norm="none").double().eval()
    a, b, zero = torch.randn(2, 3, 32, 32).double(), torch.randn(2, 3, 32, 32).double(), torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        constant = net(zero.double())
        linear = torch.allclose(net(a + b) + constant, net(a) + net(b))
        assert linear == ("15" not in name)  # odd widths have a channel without its opposite
        he = create_model(name, norm="none").double().eval()
        assert not torch.allclose(he(a + b) + he(zero.double()), he(a) + he(b))
        assert net(a).std() > 1e-3
