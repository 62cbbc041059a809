"""Networks and runs with the kernels, held to those without them."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from reslab import train
from reslab.errors import CheckpointError, RecipeError
from reslab.models import create_model, parse_model
from reslab.training.execution import Execution, choose_execution
from reslab.training.ghost import use_ghost_batches
from reslab.training.kernels import compiled
from reslab.training.kernels.networks import fuse_norms, use_winograd
from reslab.training.recipe import HardwareRecipe
from reslab.training.recipe_files import load_recipe

pytestmark = pytest.mark.usefixtures("compiler")


def use_norms(model):
    fuse_norms(model)


def use_both(model):
    fuse_norms(model)
    use_winograd(model)


def functions_of(tensor):
    """Names of the functions that a tensor was computed by."""
    found, waiting = set(), [tensor.grad_fn]
    while waiting:
        function = waiting.pop()
        if function is not None and function not in found:
            found.add(function)
            waiting += [next_function for next_function, _ in function.next_functions]
    return {type(function).__name__ for function in found}


@pytest.mark.parametrize("use", [use_norms, use_winograd, use_both], ids=["norms", "winograd", "both"])
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
        "resnet8[widths=24-40-64]",
        "plain8",
    ],
)
def test_networks_learn_as_in_double_precision(name, use, activations):
    torch.manual_seed(0)
    plain = create_model(name).to(memory_format=torch.channels_last).train()
    images, labels = activations(6, 3, 32, 32), torch.arange(6)
    own, exact = copy.deepcopy(plain), copy.deepcopy(plain).double()
    use(own)
    assert own.state_dict().keys() == plain.state_dict().keys()
    functional.cross_entropy(own(images), labels).backward()
    functional.cross_entropy(exact(images.double()), labels).backward()
    for (key, mine), other in zip(own.named_parameters(), exact.parameters(), strict=True):
        # 1e-6 as a rule, and more where one of some hundred thousand values is so near to 0 that only one of the two
        # lets it pass the ReLU.
        assert (mine.grad - other.grad.float()).norm() < 1e-2 * other.grad.norm() + 1e-6, key
    for key, value in exact.state_dict().items():
        torch.testing.assert_close(own.state_dict()[key], value.to(own.state_dict()[key].dtype), atol=1e-5, rtol=1e-4)
    plain.load_state_dict(own.state_dict())
    assert torch.equal(own.eval()(images), plain.eval()(images))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("resnet8", "_BlockBackward"),
        ("plain8", "_BlockBackward"),
        ("resnet8[norm=group]", "_ConvolutionBackward"),
        ("resnet8[order=pre]", "_ConvolutionBackward"),
        ("resnet8[block=bottleneck,shortcut=B]", "_ConvolutionBackward"),
        ("resnet8", "_EntranceBackward"),
        ("resnet8[shortcut_padding=split]", "_EntranceBackward"),
    ],
)
def test_the_kernels_are_really_used(name, function, activations):
    model = create_model(name).to(memory_format=torch.channels_last).train()
    use_both(model)
    assert function in functions_of(model(activations(2, 3, 32, 32)))


@pytest.mark.parametrize("use", [use_norms, use_both], ids=["norms", "both"])
def test_a_copy_of_a_network_with_kernels_is_its_own(use, activations):
    model = create_model("resnet8").to(memory_format=torch.channels_last).train()
    use(model)
    twin = copy.deepcopy(model)
    twin(activations(2, 3, 32, 32))
    assert twin.layer1[0].bn1.num_batches_tracked == 1
    assert model.layer1[0].bn1.num_batches_tracked == 0


def test_ghost_batches_stay_ghost_batches(activations):
    torch.manual_seed(0)
    model = create_model("resnet8").to(memory_format=torch.channels_last).train()
    use_ghost_batches(model, 2)
    own, images = copy.deepcopy(model), activations(4, 3, 32, 32)
    fuse_norms(own)
    assert torch.equal(own(images), model(images))
    use_winograd(own)
    torch.testing.assert_close(own(images), model(images), atol=1e-4, rtol=1e-4)


def test_blocks_that_are_computed_again_give_the_same_bits(activations):
    torch.manual_seed(0)
    model = create_model("resnet14").to(memory_format=torch.channels_last).train()
    use_both(model)
    again, images = copy.deepcopy(model), activations(4, 3, 32, 32)
    again.set_grad_checkpointing(segments=((2,), (1, 1), (2,)))
    for one in (model, again):
        functional.cross_entropy(one(images), torch.arange(4)).backward()
    assert all(
        torch.equal(mine.grad, other.grad) for mine, other in zip(model.parameters(), again.parameters(), strict=True)
    )
    assert all(torch.equal(mine, other) for mine, other in zip(model.buffers(), again.buffers(), strict=True))


def with_hardware(**fields):
    recipe = load_recipe("digits-quick")
    return replace(recipe.rescaled(60), hardware=HardwareRecipe(device="cpu", threads=1, **fields))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("switch", "used", "unused"),
    [("kernels", "winograd", "torch"), pytest.param("fused_norms", "on", "off", marks=pytest.mark.slow)],
)
def test_training_resumes_bitwise_and_ends_where_it_does_without(tmp_path, precision, switch, used, unused):
    for name, choice, stops in (
        ("whole", used, (None,)),
        ("stopped", used, ("7", "40", None)),
        ("without", unused, (None,)),
    ):
        for stop in stops:
            recipe = with_hardware(**{"precision": precision, switch: choice})
            done = train("resnet8", "digits", recipe=recipe, run_dir=tmp_path / name, resume=True, stop_after=stop)
        execution = json.loads((tmp_path / name / "run.json").read_text())["execution"]
        assert execution[switch] == {"on": True, "off": False}.get(choice, choice)
    whole, stopped = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)
    first, without = (
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0])["loss"]
        for name in ("whole", "without")
    )
    assert first == pytest.approx(without, rel=2e-2 if precision == "bf16" else 1e-3)
    assert done.figures["train_error"] < 60


def chosen(model="resnet20", size=32, **fields):
    return choose_execution(with_hardware(**fields), parse_model(model), (size, size))


def test_fused_norms_are_chosen_where_they_can_be():
    assert chosen().fused_norms
    assert chosen(precision="bf16").fused_norms
    assert chosen(memory="8GiB").fused_norms
    assert not chosen(fused_norms="off").fused_norms
    for fields in (
        {"channels_last": "off"},
        {"precision": "fp16"},
        {"model": "resnet20[norm=group]"},
    ):
        assert not chosen(**fields).fused_norms
        with pytest.raises(RecipeError, match="fused_norms=on needs"):
            chosen(**fields, fused_norms="on")
    assert not chosen(compile="on").fused_norms


def test_winograd_is_chosen_where_it_can_be():
    assert chosen().kernels == "winograd"
    assert any("Winograd" in reason for reason in chosen().reasons)
    assert chosen(memory="8GiB").kernels == "winograd"
    assert chosen(kernels="torch").kernels == "torch"
    assert chosen("resnet50").kernels == chosen("plain20").kernels == "winograd"
    for fields in (
        {"channels_last": "off"},
        {"precision": "fp16"},
        {"model": "resnet20[widths=24-40-56]"},
        {"model": "resnext50_32x4d"},
        {"model": "vgg16"},
        {"compile": "on"},
    ):
        assert chosen(**fields).kernels == "torch", fields
        with pytest.raises(RecipeError, match=r"kernels=winograd"):
            chosen(**fields, kernels="winograd")


@pytest.mark.parametrize("has_amx", [False, True])
def test_in_bf16_the_processor_decides(has_amx, monkeypatch):
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: has_amx)
    assert chosen(precision="bf16").kernels == ("torch" if has_amx else "winograd")
    assert chosen(precision="bf16", kernels="winograd").kernels == "winograd"
    # Torch has no fast convolution for maps of 2x2 and 1x1, on such a processor either.
    assert chosen("resnet34", size=32, precision="bf16").kernels == "winograd"
    assert chosen("resnet34", size=224, precision="bf16").kernels == ("torch" if has_amx else "winograd")


def test_what_was_asked_for_is_not_compiled():
    long = replace(load_recipe("cifar-paper"), hardware=HardwareRecipe(device="cpu", kernels="winograd"))
    execution = choose_execution(long, parse_model("resnet56[norm=group]"), (32, 32))
    assert (execution.compiled, execution.kernels) == (False, "winograd")


def test_without_a_compiler_training_does_without_and_a_run_that_had_one_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled, "_loaded", {})
    assert (chosen().fused_norms, chosen().kernels) == (False, "torch")
    with pytest.raises(RecipeError, match="needs a CPU"):
        chosen(fused_norms="on")
    with pytest.raises(RecipeError, match="needs a CPU"):
        chosen(kernels="winograd")
    for fields in ({"fused_norms": True}, {"kernels": "winograd"}):
        with pytest.raises(CheckpointError, match="install g"):
            Execution.from_dict(Execution("cpu", 1, True, False, **fields).to_dict())
    done = train("resnet8", "digits", recipe=with_hardware().rescaled(10), run_dir=tmp_path / "run")
    assert done.run.record["execution"]["kernels"] == "torch"
