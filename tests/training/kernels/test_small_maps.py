"""Convolutions on maps of 1x1 and 2x2 pixels as one product, held to torch's operation in double precision."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from reslab.models import parse_model
from reslab.models.build import build
from reslab.training.kernels import small_maps, winograd
from reslab.training.kernels.networks import has_small_maps, use_winograd

# Images, channels in and out, height and width, stride.
SHAPES = [
    (16, 16, 16, 1, 1, 1),
    (17, 16, 48, 2, 2, 1),
    (33, 24, 16, 2, 1, 1),
    (16, 7, 5, 1, 2, 1),
    (64, 256, 256, 2, 2, 1),
    (128, 512, 512, 1, 1, 1),
    (32, 256, 512, 2, 2, 2),
    (20, 3, 8, 1, 1, 2),
    (20, 3, 8, 2, 1, 2),
]
EXACT, ROUNDED = 2e-6, 5e-3  # of the norm of a difference to the norm of the exact result: in float32, to bfloat16


def fresh(channels_in, channels_out, stride=1):
    made = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
    return made.to(memory_format=torch.channels_last)


def run(convolve, convolution, x, gradient):
    x = x.detach().requires_grad_()
    y = convolve(convolution, x)
    by_weight, by_x = torch.autograd.grad(y, [convolution.weight, x], gradient)
    return y.detach(), by_x, by_weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_torchs(shape, dtype, threads, activations):
    torch.manual_seed(0)
    images, channels_in, channels_out, height, width, stride = shape
    convolution = fresh(channels_in, channels_out, stride)
    x = activations(images, channels_in, height, width, dtype=dtype, offset=1)
    gradient = activations(images, channels_out, -(-height // stride), -(-width // stride), dtype=dtype)
    assert small_maps.takes(convolution, x)
    found = run(small_maps.convolve, convolution, x, gradient)
    exact = run(nn.Conv2d.forward, copy.deepcopy(convolution).double(), x.double(), gradient.double())
    assert [tensor.dtype for tensor in found] == [dtype, dtype, torch.float32]
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in found)
    for mine, other in zip(found, exact, strict=True):
        assert mine.shape == other.shape
        distance = ((mine.double() - other).norm() / other.norm()).item()
        assert distance < (EXACT if dtype == torch.float32 else ROUNDED)


def test_the_same_bits_each_time_and_by_several_callers_at_once(threads, activations):
    torch.manual_seed(0)
    convolution, x, gradient = fresh(64, 64), activations(48, 64, 2, 2), activations(48, 64, 2, 2)
    first = run(small_maps.convolve, convolution, x, gradient)
    with ThreadPoolExecutor(4) as pool:
        for others in pool.map(lambda _: run(small_maps.convolve, convolution, x.clone(), gradient), range(12)):
            assert all(torch.equal(mine, other) for mine, other in zip(first, others, strict=True))


def test_gradients_are_those_of_differences():
    """Against double precision by finite differences, through the function itself."""
    torch.manual_seed(0)
    x = torch.randn(3, 2, 2, 2, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(4, 2, 3, 3, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    for stride in (1, 2):
        torch.autograd.gradcheck(small_maps._Product.apply, (x, weight.requires_grad_(), stride))


def test_what_it_does_not_take(activations):
    convolution = fresh(16, 16)
    usual = activations(16, 16, 2, 2)
    assert small_maps.takes(convolution, usual)
    assert not small_maps.takes(convolution, activations(15, 16, 2, 2))
    assert not small_maps.takes(convolution, activations(16, 16, 3, 2))
    assert not small_maps.takes(convolution, activations(16, 8, 2, 2))
    assert not small_maps.takes(convolution, usual.contiguous())
    assert not small_maps.takes(convolution, usual.double())
    assert not small_maps.takes(convolution.eval(), usual)
    for other in ({"bias": True}, {"padding": 0}, {"groups": 2}, {"dilation": 2, "padding": 2}, {"stride": 3}):
        made = nn.Conv2d(16, 16, 3, **{"padding": 1, "bias": False, **other}).to(memory_format=torch.channels_last)
        assert not small_maps.takes(made, usual), other


@pytest.mark.usefixtures("compiler")
def test_an_imagenet_net_on_images_of_32_pixels_uses_it(activations):
    """Its last two stages have maps of 2x2 and 1x1; what it learns in a step is torch's but for rounding."""
    torch.manual_seed(0)
    plain = build(parse_model("resnet18[num_classes=10]")).to(memory_format=torch.channels_last).train()
    ours = copy.deepcopy(plain)
    use_winograd(ours)
    images = activations(64, 3, 32, 32)
    taken = [
        name
        for name, module in ours.named_modules()
        if getattr(module.forward, "__func__", None) is winograd.convolve and name.startswith(("layer3.1", "layer4"))
    ]
    assert len(taken) == 6
    for model in (plain, ours):
        model(images).square().mean().backward()
    for (name, one), other in zip(plain.named_parameters(), ours.parameters(), strict=True):
        assert (one.grad - other.grad).norm() < 0.02 * one.grad.norm(), name


@pytest.mark.parametrize(
    ("net", "size", "found"),
    [
        ("resnet34", (32, 32), True),
        ("resnet34", (64, 64), True),
        ("resnet34", (65, 33), False),
        ("resnet50", (224, 224), False),
        ("resnet20", (32, 32), False),
        ("resnet20", (8, 8), True),
    ],
)
def test_which_networks_have_small_maps_is_what_they_compute(net, size, found):
    spec = parse_model(net)
    assert has_small_maps(spec, size) == found
    maps = build(spec).eval().forward_features(torch.zeros(1, 3, *size))
    assert (max(maps.shape[2:]) <= small_maps.MOST_PIXELS) == found
