"""A basic block in one call, held to torch's operations in double precision."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from reslab.models.blocks import BasicBlock
from reslab.training.kernels.block import block_output

pytestmark = pytest.mark.usefixtures("compiler")

# Images, channels in and out, stride, height and width.
SHAPES = [
    (6, 16, 16, 1, 32, 32),
    (6, 64, 64, 1, 8, 8),
    (1, 16, 16, 1, 8, 8),
    (3, 48, 48, 1, 9, 7),
    (3, 16, 32, 1, 6, 10),
    (4, 16, 32, 2, 16, 14),
    (4, 24, 32, 1, 8, 8),  # of which only the second convolution suits
]
MOST = 2e-5  # of the norm of a difference to the norm of the exact result


def fresh_block(channels_in, channels_out, stride):
    downsample = None
    if stride != 1 or channels_in != channels_out:
        convolution = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
        downsample = nn.Sequential(convolution, nn.BatchNorm2d(channels_out))
    block = BasicBlock(channels_in, channels_out, stride, downsample).to(memory_format=torch.channels_last)
    for norm in (block.bn1, block.bn2):
        nn.init.uniform_(norm.weight, -1, 2)
        nn.init.normal_(norm.bias)
    return block.train()


def shortcut_of(block, x, is_plain):
    if is_plain:
        return None
    return x if block.downsample is None else block.downsample(x)


def in_torch(block, x, is_plain):
    residual = block.bn2(block.conv2(functional.relu(block.bn1(block.conv1(x)))))
    shortcut = shortcut_of(block, x, is_plain)
    return functional.relu(residual if shortcut is None else residual + shortcut)


def in_one_call(block, x, is_plain):
    return block_output(block, x, shortcut_of(block, x, is_plain))


def gradients(compute, block, x, gradient, is_plain):
    x = x.detach().requires_grad_()
    y = compute(block, x, is_plain)
    y.backward(gradient)
    parameters = {name: parameter.grad for name, parameter in block.named_parameters() if parameter.grad is not None}
    return {"y": y.detach(), "x": x.grad, **parameters, **dict(block.named_buffers())}


def distance(found, exact):
    return ((found.double() - exact.double()).norm() / (exact.double().norm() + 1e-12)).item()


@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_gradients_and_averages_are_torchs(shape, is_plain, threads, activations):
    torch.manual_seed(1)
    images, channels_in, channels_out, stride, height, width = shape
    block = fresh_block(channels_in, channels_out, stride)
    exact = copy.deepcopy(block).double()
    x = activations(images, channels_in, height, width, offset=0.5)
    gradient = activations(images, channels_out, -(-height // stride), -(-width // stride))
    found = gradients(in_one_call, block, x, gradient, is_plain)
    expected = gradients(in_torch, exact, x.double(), gradient.double(), is_plain)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert distance(found[name], value) < MOST, name


@pytest.mark.parametrize("is_plain", [False, True])
def test_in_bfloat16_results_are_as_near_as_torchs(is_plain, activations):
    torch.manual_seed(0)
    block, x = fresh_block(32, 32, 1), activations(8, 32, 16, 16, dtype=torch.bfloat16)
    gradient = activations(8, 32, 16, 16, dtype=torch.bfloat16)
    theirs, exact = copy.deepcopy(block), copy.deepcopy(block).double()
    expected = gradients(in_torch, exact, x.double(), gradient.double(), is_plain)
    found = {}
    for name, compute, one in (("ours", in_one_call, block), ("torch's", in_torch, theirs)):
        with torch.autocast("cpu", torch.bfloat16):
            found[name] = gradients(compute, one, x, gradient, is_plain)
    for name, value in expected.items():
        assert distance(found["ours"][name], value) < 1.2 * distance(found["torch's"][name], value) + 1e-3, name


def test_it_is_one_call(activations):
    y = in_one_call(fresh_block(16, 16, 1), activations(2, 16, 8, 8), is_plain=False)
    assert type(y.grad_fn).__name__ == "_BlockBackward"


def test_a_mean_far_from_zero_costs_no_digits(activations):
    """Each thread takes its sums relative to a value of its own."""
    torch.manual_seed(0)
    block, x = fresh_block(16, 16, 1), activations(8, 16, 16, 16, offset=300)
    exact = copy.deepcopy(block).double()
    y, expected = in_one_call(block, x, is_plain=True), in_torch(exact, x.double(), is_plain=True)
    theirs = in_torch(copy.deepcopy(block), x, is_plain=True)
    assert distance(y.detach(), expected.detach()) < 20 * distance(theirs.detach(), expected.detach()) + 1e-5


def test_nan_is_not_hidden(activations):
    for dtype in (torch.float32, torch.bfloat16):
        x = activations(2, 16, 8, 8, dtype=dtype)
        x[0, 3, 1, 1] = torch.nan
        assert in_one_call(fresh_block(16, 16, 1), x, is_plain=False).isnan().all()


def with_norms(kind):
    block = fresh_block(16, 16, 1)
    block.bn1 = kind
    return block


@pytest.mark.parametrize(
    "block",
    [
        fresh_block(16, 16, 1).eval(),
        fresh_block(16, 24, 1),
        with_norms(nn.GroupNorm(4, 16)),
        with_norms(nn.BatchNorm2d(16, momentum=None)),
        with_norms(nn.Identity()),
    ],
    ids=["eval", "channels", "group", "momentum", "identity"],
)
def test_what_it_is_not_for_is_computed_apart(block, activations):
    torch.manual_seed(0)
    x, exact = activations(4, 16, 8, 8), copy.deepcopy(block).double()
    y = in_one_call(block, x, is_plain=False)
    assert type(y.grad_fn).__name__ != "_BlockBackward"
    assert distance(y.detach(), in_torch(exact, x.double(), is_plain=False).detach()) < MOST


def test_a_shortcut_of_another_type_is_added_apart(activations):
    torch.manual_seed(0)
    block, x = fresh_block(16, 16, 1), activations(4, 16, 8, 8)
    exact = copy.deepcopy(block).double()
    y = block_output(block, x, x.double())
    expected = in_torch(exact, x.double(), is_plain=False)
    assert y.dtype == torch.float64
    assert distance(y.detach(), expected.detach()) < MOST


@pytest.mark.parametrize("shape", [(1, 16, 8, 8), (4, 1, 8, 8), (1, 16, 1, 1)])
def test_a_shortcut_that_broadcasts_is_added_apart(shape, activations):
    torch.manual_seed(0)
    block, x, shortcut = fresh_block(16, 16, 1), activations(4, 16, 8, 8), activations(*shape)
    exact = copy.deepcopy(block).double()
    y = block_output(block, x, shortcut)
    residual = exact.bn2(exact.conv2(functional.relu(exact.bn1(exact.conv1(x.double())))))
    assert type(y.grad_fn).__name__ != "_BlockBackward"
    assert distance(y.detach(), functional.relu(residual + shortcut.double()).detach()) < MOST


def test_layers_that_do_not_fit_get_torchs_error(activations):
    """And the kernel reads nothing beyond their end."""
    block = fresh_block(16, 16, 1)
    block.bn2 = nn.BatchNorm2d(32)
    with pytest.raises((RuntimeError, ValueError), match="16"):
        in_one_call(block, activations(4, 16, 8, 8), is_plain=False)
