from dataclasses import replace

import pytest

from reslab.errors import CheckpointError, RecipeError
from reslab.models import parse_model
from reslab.training.execution import Execution, choose_execution
from reslab.training.kernels import compiled
from reslab.training.recipe import HardwareRecipe
from reslab.training.recipe_files import load_recipe

SIZE = (32, 32)


def on_cpu(recipe, **hardware):
    return replace(recipe, hardware=HardwareRecipe(device="cpu", **hardware))


def test_where_norms_are_not_fused_short_runs_do_not_wait_for_a_compiler_and_long_ones_do(compiler):
    short = on_cpu(load_recipe("digits-quick"), threads=1, fused_norms="off")
    long = on_cpu(load_recipe("cifar-paper"), threads=2)
    assert not choose_execution(short, parse_model("resnet56[in_channels=1]"), (16, 16)).compiled
    for fields in ("norm=group", "activation=silu", "shortcut=gated", "squeeze_excitation=4", "stochastic_depth=0.2"):
        execution = choose_execution(long, parse_model(f"resnet56[{fields}]"), SIZE)
        assert (execution.compiled, execution.fused_norms) == (True, False), fields
    without = on_cpu(load_recipe("cifar-paper"), threads=2, fused_norms="off")
    assert choose_execution(without, parse_model("resnet56"), SIZE).compiled


def test_where_norms_are_fused_nothing_is_compiled(compiler):
    execution = choose_execution(on_cpu(load_recipe("cifar-paper"), threads=2), parse_model("resnet56"), SIZE)
    assert (execution.compiled, execution.fused_norms) == (False, True)
    assert any("no faster than the kernel" in reason for reason in execution.reasons)
    with pytest.raises(RecipeError, match="two ways to do the same"):
        choose_execution(
            on_cpu(load_recipe("cifar-paper"), compile="on", fused_norms="on"), parse_model("resnet56"), SIZE
        )


def test_without_a_compiler_a_long_run_is_eager_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled, "_loaded", {})
    recipe = on_cpu(load_recipe("cifar-paper"))
    execution = choose_execution(recipe, parse_model("resnet56"), SIZE)
    assert not execution.compiled
    assert any("no C++ compiler" in reason for reason in execution.reasons)
    with pytest.raises(RecipeError, match="needs a C\\+\\+ compiler"):
        choose_execution(on_cpu(recipe, compile="on"), parse_model("resnet56"), SIZE)


def test_switches_are_obeyed():
    recipe = load_recipe("cifar-paper")
    execution = choose_execution(
        on_cpu(recipe, threads=3, channels_last="off", compile="off"), parse_model("resnet20"), SIZE
    )
    assert execution == Execution("cpu", 3, False, False)


def test_the_choice_does_not_depend_on_timings():
    recipe = load_recipe("cifar-paper")
    first, second = (choose_execution(recipe, parse_model("resnet20"), SIZE) for _ in range(2))
    assert first == second
    assert Execution.from_dict(first.to_dict()) == first


@pytest.mark.parametrize("device", ["cuda:77", "nonsense"])
def test_a_device_that_is_not_here_gets_a_sentence(device):
    recipe = replace(load_recipe("cifar-paper"), hardware=HardwareRecipe(device=device))
    with pytest.raises(RecipeError, match="not on this machine"):
        choose_execution(recipe, parse_model("resnet20"), SIZE)
    with pytest.raises(CheckpointError, match="this machine lacks"):
        Execution.from_dict(Execution(device, 1, True, False).to_dict())


def test_auto_takes_bf16_where_the_processor_has_instructions_for_it(monkeypatch):
    spec = parse_model("resnet20")
    long = replace(load_recipe("cifar-paper"), hardware=HardwareRecipe(device="cpu", precision="auto"))
    for has, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda has=has: has)
        monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
        execution = choose_execution(long, spec, (32, 32))
        assert execution.precision == precision
        assert any(precision in reason for reason in execution.reasons)
    asked = replace(long, hardware=HardwareRecipe(device="cpu", precision="bf16"))
    assert choose_execution(asked, spec, (32, 32)).precision == "bf16"
    assert choose_execution(load_recipe("cifar-paper"), spec, (32, 32)).precision == "fp32"
