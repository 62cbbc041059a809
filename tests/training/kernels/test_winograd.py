"""Winograd's convolutions, held to torch's operations in double precision."""

import copy
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn import functional

from reslab.training.kernels.winograd import convolve, takes

pytestmark = pytest.mark.usefixtures("compiler")

# Images, channels in and out, height and width: even and odd sizes, tiles that reach beyond the edge, one image, more
# threads than rows of tiles, the channels of a CIFAR net, of ResNet-18 and of ResNet-50.
SHAPES = [
    (8, 16, 16, 32, 32),
    (8, 32, 32, 16, 16),
    (8, 64, 64, 8, 8),
    (1, 16, 16, 8, 8),
    (3, 16, 48, 9, 7),
    (2, 48, 32, 6, 13),
    (5, 32, 64, 7, 7),
    (6, 64, 16, 11, 4),
    (6, 128, 128, 14, 14),
    (16, 256, 128, 8, 7),
    (130, 512, 512, 4, 4),
]
# Of the norm of a difference to the norm of the exact result; torch's own convolutions come to 4e-7. Gradients by the
# weights are sums over all positions.
BY_POSITION, BY_WEIGHT = 1e-5, 1e-5
ROUNDED = 3e-3  # to bfloat16


def fresh_convolution(channels_in, channels_out, **options):
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False, **options).to(
        memory_format=torch.channels_last
    )


def distance(found, exact):
    return ((found.double() - exact.double()).norm() / exact.double().norm()).item()


def run(convolution, x, gradient):
    x = x.detach().requires_grad_()
    y = convolve(convolution, x)
    by_weight, by_x = torch.autograd.grad(y, [convolution.weight, x], gradient)
    return y, by_x, by_weight


def in_double(convolution, x, gradient):
    exact, x = copy.deepcopy(convolution).double(), x.double().requires_grad_()
    y = exact(x)
    by_weight, by_x = torch.autograd.grad(y, [exact.weight, x], gradient.double())
    return y, by_x, by_weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_torchs(shape, dtype, threads, activations):
    torch.manual_seed(0)
    images, channels_in, channels_out, height, width = shape
    convolution = fresh_convolution(channels_in, channels_out)
    x = activations(images, channels_in, height, width, dtype=dtype, offset=1)
    gradient = activations(images, channels_out, height, width, dtype=dtype)
    assert takes(convolution, x)
    found, exact = run(convolution, x, gradient), in_double(convolution, x, gradient)
    assert "Convolution" in type(found[0].grad_fn).__name__
    assert [tensor.dtype for tensor in found] == [dtype, dtype, torch.float32]
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in found)
    by_position = BY_POSITION if dtype == torch.float32 else ROUNDED
    for mine, other, most in zip(found, exact, (by_position, by_position, BY_WEIGHT), strict=True):
        assert distance(mine.detach(), other.detach()) < most


def test_a_batch_of_the_papers_size(activations):
    """Where the most products are added up."""
    torch.manual_seed(0)
    convolution, x = fresh_convolution(16, 16), activations(128, 16, 32, 32)
    gradient = activations(128, 16, 32, 32)
    for mine, other in zip(run(convolution, x, gradient), in_double(convolution, x, gradient), strict=True):
        assert distance(mine.detach(), other.detach()) < BY_WEIGHT


def test_the_same_bits_each_time_and_by_several_callers_at_once(activations):
    torch.manual_seed(0)
    convolution, x, gradient = fresh_convolution(32, 32), activations(4, 32, 16, 16), activations(4, 32, 16, 16)
    first = run(convolution, x, gradient)
    with ThreadPoolExecutor(4) as pool:
        for others in pool.map(lambda _: run(convolution, x, gradient), range(12)):
            assert all(torch.equal(mine, other) for mine, other in zip(first, others, strict=True))


def test_the_same_bits_where_fewer_threads_are_to_be_had():
    """Sums depend on how many threads are asked for, and not on how many come."""
    program = """
import hashlib, torch
from torch import nn
from reslab.training.kernels.winograd import convolve
torch.manual_seed(0)
torch.set_num_threads(3)
convolution = nn.Conv2d(16, 16, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
x = torch.randn(7, 16, 12, 12).contiguous(memory_format=torch.channels_last).requires_grad_()
y = convolve(convolution, x)
y.square().mean(dim=(2, 3)).sum(dim=1).amax().backward()
for tensor in (y, x.grad, convolution.weight.grad):
    print(hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest())
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **limit},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for limit in ({}, {"OMP_THREAD_LIMIT": "2"})
    }
    assert len(outputs) == 1


def test_gradients_that_nobody_asks_for_are_not_computed(activations):
    convolution, x = fresh_convolution(16, 16), activations(2, 16, 8, 8)
    y = convolve(convolution, x)
    y.sum().backward()
    assert x.grad is None
    exact = copy.deepcopy(convolution).double()
    exact.zero_grad()
    exact(x.double()).sum().backward()
    assert distance(convolution.weight.grad, exact.weight.grad) < BY_WEIGHT


def test_nan_and_infinity_are_not_hidden(activations):
    convolution, x = fresh_convolution(16, 16), activations(1, 16, 8, 8)
    for value in (torch.nan, torch.inf):
        x[0, 3, 2, 5] = value
        hidden = ~convolution(x).isfinite() & convolve(convolution, x).isfinite()
        assert not hidden.any()


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2, "padding": 1},
        {"padding": 0},
        {"padding": 2, "dilation": 2},
        {"padding": 1, "groups": 2},
        {"padding": 1, "padding_mode": "reflect"},
        {"padding": 1, "bias": True},
        {"padding": 1, "kernel_size": 5},
        {"padding": 1, "out_channels": 24},
        {"padding": 1, "dtype": torch.float64},
    ],
    ids=str,
)
def test_what_the_kernels_are_not_for_goes_through_torch(options, activations):
    options = {"out_channels": 16, "kernel_size": 3, "bias": False, **options}
    convolution = nn.Conv2d(16, **options).to(memory_format=torch.channels_last)
    check_goes_through_torch(convolution, activations(2, 16, 8, 8, dtype=convolution.weight.dtype))


def check_goes_through_torch(convolution, x):
    y = convolve(convolution, x)
    assert torch.equal(y, convolution(x))
    assert "_Convolution" not in type(y.grad_fn).__name__


def test_other_tensors_go_through_torch(activations):
    convolution = fresh_convolution(16, 16)
    check_goes_through_torch(convolution, torch.randn(2, 16, 8, 8))
    check_goes_through_torch(convolution, activations(2, 16, 2, 2))  # a tile lies mostly beyond the image
    check_goes_through_torch(fresh_convolution(256, 256), activations(1, 256, 8, 8))  # more weights than tiles
    check_goes_through_torch(convolution.eval(), activations(2, 16, 8, 8))
    check_goes_through_torch(nn.Conv2d(16, 16, 3, padding=1, bias=False), activations(2, 16, 8, 8))


def test_tensors_that_do_not_fit_get_torchs_error(activations):
    """And are not read beyond their end."""
    for x in (activations(2, 32, 8, 8), activations(1, 48, 8, 8)):
        with pytest.raises(RuntimeError, match="channels"):
            convolve(fresh_convolution(16, 16), x)


def test_one_image_without_a_batch_goes_through_torch():
    convolution, x = fresh_convolution(16, 16), torch.randn(16, 8, 8)
    assert torch.equal(convolve(convolution, x), convolution(x))


def test_under_autocast_the_input_takes_its_type(activations):
    torch.manual_seed(0)
    convolution, x = fresh_convolution(16, 16), activations(2, 16, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        y = convolve(convolution, x)
        expected = functional.conv2d(x, convolution.weight, padding=1)
    assert y.dtype == expected.dtype == torch.bfloat16
    assert distance(y.detach(), expected.detach().double()) < 2 * ROUNDED
