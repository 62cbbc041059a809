"""Batch norm, addition and ReLU in one kernel, held to torch's operations in double precision."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from reslab import train
from reslab.errors import CheckpointError, RecipeError
from reslab.models import create_model, parse_model
from reslab.training import fused
from reslab.training.execution import Execution, choose_execution
from reslab.training.fused import fuse_norms, norm_relu
from reslab.training.ghost import use_ghost_batches
from reslab.training.recipe import HardwareRecipe
from reslab.training.recipe_files import load_recipe

pytestmark = pytest.mark.usefixtures("compiler")


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def activations(shape, dtype=torch.float32, offset=0.0):
    return (torch.randn(shape) * 2 + offset).to(dtype).contiguous(memory_format=torch.channels_last)


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
def test_values_gradients_and_averages_are_torchs(threads, channels, with_residual):
    torch.manual_seed(0)
    shape = (5, channels, 7, 3)
    norm, x, gradient = fresh_norm(channels, momentum=0.3), activations(shape, offset=3), activations(shape)
    residual = activations(shape) if with_residual else None
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
def test_in_bfloat16_only_results_are_rounded(threads, with_residual):
    torch.manual_seed(0)
    shape = (4, 32, 9, 9)
    norm, x = fresh_norm(32), activations(shape, torch.bfloat16, offset=1)
    gradient = activations(shape, torch.bfloat16)
    residual = activations(shape, torch.bfloat16) if with_residual else None
    _, expected = in_double(norm, x, residual, gradient)
    x.requires_grad_()
    y = norm_relu(norm, x, residual)
    y.backward(gradient)
    # An output that rounds to 0 is the one thing about which the two can disagree, and there are none here.
    for mine, other in zip((y, x.grad, norm.weight.grad, norm.bias.grad), expected, strict=False):
        rounded = other.to(mine.dtype).float()
        torch.testing.assert_close(mine.float(), rounded, atol=1e-2, rtol=1e-2)
    assert (y == expected[0].bfloat16()).float().mean() > 0.99


@pytest.mark.skipif(not torch.backends.cpu.get_cpu_capability().startswith("AVX"), reason="has nothing less")
@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_so_are_those_of_lesser_processors(capability):
    """Their kernels have other widths, and so do the loops that channels fall into."""
    chosen = "test_values_gradients_and_averages_are_torchs or test_in_bfloat16_only_results_are_rounded"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", chosen],
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "36 passed" in done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_torch_and_the_kernels_have_one_pool_of_threads():
    """Two would wait for each other's threads, which spin for a while after they are done."""
    program = """
from pathlib import Path
from reslab.training.fused import has_kernels
assert has_kernels()
lines = Path("/proc/self/maps").read_text().splitlines()
print(*sorted({line.split()[-1] for line in lines if "omp" in line and ".so" in line}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    (library,) = done.stdout.split()
    assert library.startswith(str(Path(torch.__file__).parent))


def test_a_mean_far_from_zero_costs_no_digits():
    norm, x = nn.BatchNorm2d(16), activations((8, 16, 16, 16), offset=5_000)
    expected = functional.relu(nn.BatchNorm2d(16).double()(x.double()))
    torch.testing.assert_close(norm_relu(norm, x), expected.float(), atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(norm.running_mean, 0.1 * x.double().mean(dim=(0, 2, 3)).float())


def test_nan_is_not_hidden_by_the_relu():
    for dtype in (torch.float32, torch.bfloat16):
        x = activations((2, 16, 4, 4), dtype)
        x[0, 3, 1, 1] = torch.nan
        y = norm_relu(nn.BatchNorm2d(16), x)
        assert y[:, 3].isnan().all()
        assert not y[:, :3].isnan().any()


def test_a_gradient_of_any_layout_is_taken():
    norm, x = nn.BatchNorm2d(16), activations((4, 16, 6, 6)).requires_grad_()
    twin = x.detach().clone().requires_grad_()
    weights = torch.randn(4, 16)
    (norm_relu(norm, x).mean(dim=(2, 3)) * weights).sum().backward()  # an expanded gradient
    (functional.relu(nn.BatchNorm2d(16)(twin)).mean(dim=(2, 3)) * weights).sum().backward()
    torch.testing.assert_close(x.grad, twin.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("norm", "x"),
    [
        (nn.BatchNorm2d(16).eval(), activations((2, 16, 4, 4))),
        (nn.BatchNorm2d(24), activations((2, 24, 4, 4))),
        (nn.BatchNorm2d(16), torch.randn(2, 16, 4, 4)),
        (nn.BatchNorm2d(16), activations((2, 16, 4, 4), torch.float64)),
        (nn.BatchNorm2d(16, affine=False), activations((2, 16, 4, 4))),
        (nn.BatchNorm2d(16, track_running_stats=False), activations((2, 16, 4, 4))),
        (nn.BatchNorm2d(16, momentum=None), activations((2, 16, 4, 4))),
        (nn.GroupNorm(4, 16), activations((2, 16, 4, 4))),
        (nn.Identity(), activations((2, 16, 4, 4))),
    ],
)
def test_what_the_kernel_is_not_for_goes_through_torch(norm, x):
    norm = norm.to(x.dtype)
    residual = torch.randn_like(x)
    expected = functional.relu(copy.deepcopy(norm)(x) + residual)
    found = norm_relu(norm, x, residual)
    assert torch.equal(found, expected)
    assert "NormReLU" not in type(found.grad_fn).__name__


def test_a_residual_that_broadcasts_or_has_another_type_goes_through_torch():
    norm, x = nn.BatchNorm2d(16), activations((2, 16, 4, 4))
    for residual in (torch.randn(1, 16, 1, 1), activations((2, 16, 4, 4), torch.float64)):
        torch.testing.assert_close(
            norm_relu(norm, x, residual), functional.relu(nn.BatchNorm2d(16)(x) + residual), check_dtype=False
        )


@pytest.mark.parametrize(
    "name",
    [
        "resnet8",
        "resnet8[shortcut=B]",
        "resnet8[shortcut=C]",
        "resnet8[shortcut=gated]",
        "resnet8[order=pre]",
        "resnet8[squeeze_excitation=4]",
        "resnet8[block=bottleneck,shortcut=B]",
        "resnet8[block=bottleneck,shortcut=B,order=pre]",
        "resnet8[stem=deep]",
        "resnet8[stem=imagenet]",
        "resnet8[activation=silu]",
        "resnet8[norm=group]",
        "plain8",
    ],
)
def test_networks_learn_as_in_double_precision(name):
    torch.manual_seed(0)
    plain = create_model(name).to(memory_format=torch.channels_last).train()
    images, labels = activations((6, 3, 32, 32)), torch.arange(6)
    own, exact = copy.deepcopy(plain), copy.deepcopy(plain).double()
    fuse_norms(own)
    assert own.state_dict().keys() == plain.state_dict().keys()
    functional.cross_entropy(own(images), labels).backward()
    functional.cross_entropy(exact(images.double()), labels).backward()
    for (key, mine), other in zip(own.named_parameters(), exact.parameters(), strict=True):
        # 1e-6 as a rule, and more where one of some hundred thousand values is so near to 0 that only one of the two
        # lets it pass the ReLU.
        assert (mine.grad - other.grad.float()).norm() < 5e-3 * other.grad.norm() + 1e-6, key
    for key, value in exact.state_dict().items():
        torch.testing.assert_close(own.state_dict()[key], value.to(own.state_dict()[key].dtype), atol=1e-5, rtol=1e-4)
    plain.load_state_dict(own.state_dict())
    assert torch.equal(own.eval()(images), plain.eval()(images))


def test_a_copy_of_a_fused_network_is_its_own():
    model = create_model("resnet8").to(memory_format=torch.channels_last).train()
    fuse_norms(model)
    twin = copy.deepcopy(model)
    twin(activations((2, 3, 32, 32)))
    assert twin.layer1[0].bn1.num_batches_tracked == 1
    assert model.layer1[0].bn1.num_batches_tracked == 0


def test_ghost_batches_stay_ghost_batches():
    torch.manual_seed(0)
    model = create_model("resnet8").to(memory_format=torch.channels_last).train()
    use_ghost_batches(model, 2)
    own = copy.deepcopy(model)
    fuse_norms(own)
    images = activations((4, 3, 32, 32))
    assert torch.equal(own(images), model(images))


def with_hardware(**fields):
    recipe = load_recipe("digits-quick")
    return replace(recipe.rescaled(60), hardware=HardwareRecipe(device="cpu", threads=1, **fields))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_resumes_bitwise_and_ends_where_it_does_without(tmp_path, precision):
    for name, switch, stops in (
        ("whole", "on", (None,)),
        ("stopped", "auto", ("7", "40", None)),
        ("off", "off", (None,)),
    ):
        for stop in stops:
            recipe = with_hardware(fused_norms="on" if switch == "auto" else switch, precision=precision)
            done = train("resnet8", "digits", recipe=recipe, run_dir=tmp_path / name, resume=True, stop_after=stop)
        record = json.loads((tmp_path / name / "run.json").read_text())
        assert record["execution"]["fused_norms"] == (switch != "off")
    whole, stopped = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)
    first, off = (
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0])["loss"] for name in ("whole", "off")
    )
    assert first == pytest.approx(off, rel=2e-2 if precision == "bf16" else 1e-3)
    assert done.figures["train_error"] < 60


def chosen(model="resnet20", **fields):
    return choose_execution(with_hardware(**fields), parse_model(model), (32, 32)).fused_norms


def test_it_is_chosen_where_it_can_be():
    assert chosen()
    assert chosen(precision="bf16")
    assert chosen(memory="8GiB")
    assert not chosen(fused_norms="off")
    for fields in (
        {"channels_last": "off"},
        {"precision": "fp16"},
        {"model": "resnet20[norm=group]"},
    ):
        assert not chosen(**fields)
        with pytest.raises(RecipeError, match="fused_norms=on needs"):
            chosen(**fields, fused_norms="on")
    assert not chosen(compile="on")


def test_without_a_compiler_training_does_without_and_a_run_that_had_one_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fused, "_loaded", [])
    assert not chosen()
    with pytest.raises(RecipeError, match="needs a CPU"):
        chosen(fused_norms="on")
    with pytest.raises(CheckpointError, match="install g"):
        Execution.from_dict(Execution("cpu", 1, True, False, fused_norms=True).to_dict())
