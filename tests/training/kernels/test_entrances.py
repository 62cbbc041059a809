"""A strided convolution and option A's shortcut of one input, held to torch's two."""

import copy

import pytest
import torch
from torch import nn

from reslab.models.shortcuts import ParameterFreeShortcut
from reslab.training.kernels.entrances import entrance


def convolution_of(channels, out, stride=2, **options):
    layer = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False, **options)
    return layer.to(memory_format=torch.channels_last)


def gradients_of(values, tensors):
    """By a weighted sum of each value, so that their gradients differ."""
    weighted = [
        (value.float() * torch.linspace(k, k + 2, value.numel()).view_as(value)).sum() for k, value in enumerate(values)
    ]
    sum(weighted).backward()
    return [tensor.grad for tensor in tensors]


@pytest.mark.parametrize("padding", [(0, 16), (8, 8)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_values_and_gradients_are_torchs(padding, stride, size, activations):
    torch.manual_seed(0)
    layer, shortcut = convolution_of(16, 32, stride), ParameterFreeShortcut(padding, stride, pool=False)
    other, x = copy.deepcopy(layer), activations(3, 16, *size).requires_grad_()
    x_of_other = x.detach().clone().requires_grad_()
    found, expected = entrance(layer, shortcut, x), (other(x_of_other), shortcut(x_of_other))
    torch.testing.assert_close(found, expected)
    for mine, others in zip(
        gradients_of(found, [x, layer.weight]), gradients_of(expected, [x_of_other, other.weight]), strict=True
    ):
        torch.testing.assert_close(mine, others)


def test_under_autocast_results_have_its_type(activations):
    layer, shortcut = convolution_of(16, 32), ParameterFreeShortcut((0, 16), 2, pool=False)
    x = activations(2, 16, 8, 8).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = entrance(layer, shortcut, x)
        assert {value.dtype for value in found} == {torch.bfloat16}
        torch.testing.assert_close(found, (layer(x), shortcut(x.bfloat16())))
    assert {gradient.dtype for gradient in gradients_of(found, [x, layer.weight])} == {torch.float32}


def test_gradients_that_nobody_asks_for_are_not_computed(activations):
    layer, shortcut = convolution_of(16, 32), ParameterFreeShortcut((0, 16), 2, pool=False)
    assert gradients_of(entrance(layer, shortcut, activations(2, 16, 8, 8)), [layer.weight])[0] is not None
    layer = convolution_of(16, 32).requires_grad_(False)
    x = activations(2, 16, 8, 8).requires_grad_()
    assert gradients_of(entrance(layer, shortcut, x), [x, layer.weight])[1] is None


@pytest.mark.parametrize(
    ("layer", "shortcut"),
    [
        (convolution_of(16, 32), nn.Identity()),
        (convolution_of(16, 32), None),
        (convolution_of(16, 32), ParameterFreeShortcut((0, 16), 2, pool=True)),
        (convolution_of(16, 32, padding_mode="circular"), ParameterFreeShortcut((0, 16), 2, pool=False)),
        (nn.Conv2d(16, 32, 3), ParameterFreeShortcut((0, 16), 2, pool=False)),
        (nn.BatchNorm2d(16), ParameterFreeShortcut((0, 16), 2, pool=False)),
    ],
    ids=["identity", "none", "pooled", "circular", "bias", "norm"],
)
def test_what_it_is_not_for(layer, shortcut, activations):
    assert entrance(layer, shortcut, activations(2, 16, 8, 8)) is None
