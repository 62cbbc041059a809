"""Batch norm, addition and ReLU in one kernel, held to torch's operations in double precision."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from reslab.training.kernels.norms import for_shortcut, norm_relu

pytestmark = pytest.mark.usefixtures("compiler")


def fresh_norm(channels, **options):
    norm = nn.BatchNorm2d(channels, **options)
    with torch.no_grad():
        norm.weight.uniform_(-1, 2)
        norm.bias.normal_()
    return norm


def in_double(norm, x, residual, gradient):
    """Output and gradients by torch's own operations."""
    norm = copy.deepcopy(norm).double()
    x = x.double().requires_grad_()
    residual = None if residual is None else residual.double().requires_grad_()
    y = functional.relu(norm(x) if residual is None else norm(x) + residual)
    y.backward(gradient.double())
    return norm, [y, x.grad, norm.weight.grad, norm.bias.grad] + ([] if residual is None else [residual.grad])


@pytest.mark.parametrize("channels", [16, 32, 48, 64, 192])
@pytest.mark.parametrize("with_residual", [False, True])
def test_values_gradients_and_averages_are_torchs(threads, activations, channels, with_residual):
    torch.manual_seed(0)
    shape = (5, channels, 7, 3)
    norm, x, gradient = fresh_norm(channels, momentum=0.3), activations(*shape, offset=3), activations(*shape)
    residual = activations(*shape) if with_residual else None
    expected_norm, expected = in_double(norm, x, residual, gradient)
    x.requires_grad_()
    if with_residual:
        residual.requires_grad_()
    y = norm_relu(norm, x, residual)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert "NormReLU" in type(y.grad_fn).__name__
    y.backward(gradient)
    found = [y, x.grad, norm.weight.grad, norm.bias.grad] + ([residual.grad] if with_residual else [])
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other.float(), atol=2e-5, rtol=1e-4)
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, expected_norm.running_mean.float())
    torch.testing.assert_close(norm.running_var, expected_norm.running_var.float())


@pytest.mark.parametrize("with_residual", [False, True])
def test_in_bfloat16_only_results_are_rounded(threads, activations, with_residual):
    torch.manual_seed(0)
    shape = (4, 32, 9, 9)
    norm, x = fresh_norm(32), activations(*shape, dtype=torch.bfloat16, offset=1)
    gradient = activations(*shape, dtype=torch.bfloat16)
    residual = activations(*shape, dtype=torch.bfloat16) if with_residual else None
    _, expected = in_double(norm, x, residual, gradient)
    x.requires_grad_()
    y = norm_relu(norm, x, residual)
    y.backward(gradient)
    # An output that rounds to 0 is the one thing about which the two can disagree, and there are none here.
    for mine, other in zip((y, x.grad, norm.weight.grad, norm.bias.grad), expected, strict=False):
        rounded = other.to(mine.dtype).float()
        torch.testing.assert_close(mine.float(), rounded, atol=1e-2, rtol=1e-2)
    assert (y == expected[0].bfloat16()).float().mean() > 0.99


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("channels", [16, 192])
def test_gradients_of_two_uses_are_added(channels, with_residual, activations):
    torch.manual_seed(0)
    shape = (5, channels, 7, 3)
    norm, x, first, second = fresh_norm(channels), *(activations(*shape) for _ in range(3))
    residual = activations(*shape) if with_residual else None
    _, expected = in_double(norm, x, residual, first + second)
    x.requires_grad_()
    y = norm_relu(norm, x, residual)
    other = for_shortcut(y)
    assert other is not y
    assert other.data_ptr() == y.data_ptr()
    ((y * first).sum() + (other * second).sum()).backward()
    for mine, others in zip([y, x.grad, norm.weight.grad, norm.bias.grad], expected, strict=False):
        torch.testing.assert_close(mine, others.float(), atol=2e-5, rtol=1e-4)
    x.grad = None
    (for_shortcut(norm_relu(norm, x)) * first).sum().backward()  # the second use alone
    assert x.grad.abs().sum() > 0
    assert for_shortcut(x) is x


def test_torch_and_the_kernels_have_one_pool_of_threads():
    """Two would wait for each other's threads, which spin for a while after they are done."""
    program = """
from pathlib import Path
from reslab.training.kernels.norms import has_kernels
assert has_kernels()
lines = Path("/proc/self/maps").read_text().splitlines()
print(*sorted({line.split()[-1] for line in lines if "omp" in line and ".so" in line}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    (library,) = done.stdout.split()
    assert library.startswith(str(Path(torch.__file__).parent))


def test_a_mean_far_from_zero_costs_no_digits(activations):
    norm, x = nn.BatchNorm2d(16), activations(8, 16, 16, 16, offset=5_000)
    expected = functional.relu(nn.BatchNorm2d(16).double()(x.double()))
    torch.testing.assert_close(norm_relu(norm, x), expected.float(), atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(norm.running_mean, 0.1 * x.double().mean(dim=(0, 2, 3)).float())


def test_nan_is_not_hidden_by_the_relu(activations):
    for dtype in (torch.float32, torch.bfloat16):
        x = activations(2, 16, 4, 4, dtype=dtype)
        x[0, 3, 1, 1] = torch.nan
        y = norm_relu(nn.BatchNorm2d(16), x)
        assert y[:, 3].isnan().all()
        assert not y[:, :3].isnan().any()


def test_a_gradient_of_any_layout_is_taken(activations):
    norm, x = nn.BatchNorm2d(16), activations(4, 16, 6, 6).requires_grad_()
    twin = x.detach().clone().requires_grad_()
    weights = torch.randn(4, 16)
    (norm_relu(norm, x).mean(dim=(2, 3)) * weights).sum().backward()  # an expanded gradient
    (functional.relu(nn.BatchNorm2d(16)(twin)).mean(dim=(2, 3)) * weights).sum().backward()
    torch.testing.assert_close(x.grad, twin.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("norm", "dtype"),
    [
        (nn.BatchNorm2d(16).eval(), torch.float32),
        (nn.BatchNorm2d(24), torch.float32),
        (nn.BatchNorm2d(16), torch.float64),
        (nn.BatchNorm2d(16, affine=False), torch.float32),
        (nn.BatchNorm2d(16, track_running_stats=False), torch.float32),
        (nn.BatchNorm2d(16, momentum=None), torch.float32),
        (nn.GroupNorm(4, 16), torch.float32),
        (nn.Identity(), torch.float32),
    ],
)
def test_what_the_kernel_is_not_for_goes_through_torch(norm, dtype, activations):
    check_goes_through_torch(norm, activations(2, getattr(norm, "num_features", 16), 4, 4, dtype=dtype))


def test_another_layout_goes_through_torch():
    check_goes_through_torch(nn.BatchNorm2d(16), torch.randn(2, 16, 4, 4))


def check_goes_through_torch(norm, x):
    norm = norm.to(x.dtype)
    residual = torch.randn_like(x)
    expected = functional.relu(copy.deepcopy(norm)(x) + residual)
    found = norm_relu(norm, x, residual)
    assert torch.equal(found, expected)
    assert "NormReLU" not in type(found.grad_fn).__name__


def test_channels_that_do_not_fit_get_torchs_error(activations):
    with pytest.raises(RuntimeError, match="16"):
        norm_relu(nn.BatchNorm2d(16), activations(2, 32, 4, 4))


def test_a_residual_that_broadcasts_or_has_another_type_goes_through_torch(activations):
    norm, x = nn.BatchNorm2d(16), activations(2, 16, 4, 4)
    for residual in (torch.randn(1, 16, 1, 1), activations(2, 16, 4, 4, dtype=torch.float64)):
        torch.testing.assert_close(
            norm_relu(norm, x, residual), functional.relu(nn.BatchNorm2d(16)(x) + residual), check_dtype=False
        )
