"""Training within a limit of memory: the plan, the pool of tensors, and the same weights as without."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reslab.analysis.training_memory import FIRST_STEP_BYTES, estimate_training_memory
from reslab.errors import RecipeError
from reslab.models import parse_model
from reslab.training import train
from reslab.training.allocator import _tensor_pool, tensor_memory
from reslab.training.execution import Execution, choose_execution
from reslab.training.recipe_files import load_recipe, recipe_from_dict

# A training in a process of its own, for its peak.
TRAINING = """
import json, sys
from pathlib import Path
from reslab.environment import resident_bytes
from reslab.training import train
from reslab.training.recipe_files import recipe_from_dict

folder, memory, batch, model, precision = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
recipe = recipe_from_dict({
    "schedule": {"length": 2, "milestones": []},
    "data": {"batch_size": batch, "flip": False},
    "hardware": {"memory": memory, "threads": 1, "compile": "off", "precision": precision},
})
train(model, "digits", recipe=recipe, run_dir=folder)
record = json.loads(Path(folder, "run.json").read_text())
print(json.dumps({"peak": resident_bytes(peak=True), "execution": record["execution"]}))
"""


def train_apart(folder, memory, batch, model, precision="fp32"):
    if not Path("/proc/self/status").exists():
        pytest.skip("there is no /proc here to measure memory with")
    command = [sys.executable, "-c", TRAINING, str(folder), memory, str(batch), model, precision]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=110, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return json.loads(done.stdout)


@pytest.fixture
def small_recipe():
    def make(**hardware):
        return recipe_from_dict(
            {
                "schedule": {"length": 4, "milestones": []},
                "data": {"batch_size": 64, "flip": False},
                "hardware": {"threads": 1, "compile": "off", **hardware},
            }
        )

    return make


@pytest.fixture
def tight(monkeypatch):
    """A limit for ResNet-20 on the digits that needs checkpointing, in a process that would take no memory itself."""
    monkeypatch.setattr("reslab.training.execution.resident_bytes", lambda: 0)
    spec = parse_model("resnet20", defaults={"in_channels": 1})
    tensors = estimate_training_memory(spec, (16, 16), 64) - FIRST_STEP_BYTES
    return f"{(FIRST_STEP_BYTES + 0.8 * tensors) / 0.97 / 1024:.0f}KiB"  # 3 % are left to chance, and kernels take some


def test_the_peak_is_what_was_predicted_and_within_the_limit(tmp_path, compiler):
    found = train_apart(tmp_path / "run", "1GB", 640, "resnet20")
    execution = found["execution"]
    assert execution["segments"], "this limit was meant to need checkpointing"
    assert execution["predicted_bytes"] <= 1e9
    assert found["peak"] == pytest.approx(execution["predicted_bytes"], rel=0.15)
    assert found["peak"] <= 1.05e9


@pytest.mark.slow
def test_in_bfloat16_the_same_limit_holds_more_images(tmp_path, compiler):
    found = train_apart(tmp_path / "run", "1GB", 960, "resnet20", "bf16")
    execution = found["execution"]
    assert execution["segments"], "this limit was meant to need checkpointing"
    assert found["peak"] == pytest.approx(execution["predicted_bytes"], rel=0.15)
    assert found["peak"] <= 1.05e9


@pytest.mark.slow
def test_without_a_compiler_the_limit_is_kept_too(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # As many images as the limit just holds are too many where torch itself takes some MiB more.
    found = train_apart(tmp_path / "run", "1GB", 480, "resnet44")
    assert found["execution"]["segments"]
    assert found["peak"] == pytest.approx(found["execution"]["predicted_bytes"], rel=0.15)


def test_weights_are_bitwise_those_of_training_without_a_limit_and_a_resume_obeys_the_plan(
    tmp_path, small_recipe, digits, tight, monkeypatch
):
    recipe = small_recipe(memory=tight)
    execution = choose_execution(recipe, parse_model("resnet20", defaults={"in_channels": 1}), (16, 16))
    assert execution.segments
    assert execution.tensor_bytes
    train("resnet20", digits, recipe=small_recipe(), run_dir=tmp_path / "free")
    train("resnet20", digits, recipe=recipe, run_dir=tmp_path / "limited")
    train("resnet20", digits, recipe=recipe, run_dir=tmp_path / "parts", stop_after="2")
    planned = json.loads((tmp_path / "parts" / "run.json").read_text())["execution"]
    # What else is resident by then is no reason for another plan, or for none.
    monkeypatch.setattr("reslab.training.execution.resident_bytes", lambda: 1 << 40)
    train("resnet20", digits, recipe=recipe, run_dir=tmp_path / "parts", resume=True)
    assert Execution.from_dict(planned) == execution
    assert Execution.from_dict(planned).to_dict() == planned
    free, limited, parts = (
        (tmp_path / name / "weights.safetensors").read_bytes() for name in ("free", "limited", "parts")
    )
    assert limited == free
    assert parts == free


def test_the_pool_keeps_blocks_within_its_limit_and_gives_back_the_rest(compiler):
    pool = _tensor_pool()
    assert pool is not None
    megabyte = 1 << 20
    with tensor_memory(4 * megabyte):
        first = torch.zeros(megabyte // 4)  # 1 MiB
        address = first.data_ptr()
        del first
        again = torch.ones(megabyte // 4)
        assert again.data_ptr() == address  # the same block
        assert again.sum() == megabyte // 4
        large = [torch.zeros(megabyte) for _ in range(3)]  # 12 MiB in use: never refused
        assert pool.reslab_pool_mapped() == 13 * megabyte
        del large
        assert pool.reslab_pool_mapped() <= 4 * megabyte
        kept = torch.arange(megabyte)
    assert pool.reslab_pool_mapped() == again.nbytes + kept.nbytes  # in use still
    assert kept[-1] == megabyte - 1
    outside = torch.zeros(megabyte)
    assert pool.reslab_pool_mapped() == again.nbytes + kept.nbytes
    del kept, again, outside
    assert pool.reslab_pool_mapped() == 0


def test_the_pool_serves_all_threads(compiler):
    with tensor_memory(64 << 20), torch.inference_mode():
        from concurrent.futures import ThreadPoolExecutor

        def work(number):
            tensors = [torch.full((size * 1000,), float(number)) for size in range(60, 140)]
            return all(bool((tensor == number).all()) for tensor in tensors)

        with ThreadPoolExecutor(4) as workers:
            assert all(workers.map(work, range(40)))


@pytest.mark.parametrize("memory", ["much", "-1GiB", "2"])
def test_what_is_no_size_gets_a_sentence(memory):
    with pytest.raises(RecipeError, match=r"hardware\.memory: cannot read the size"):
        recipe_from_dict({"hardware": {"memory": memory}})


def test_a_limit_that_cannot_be_kept_gets_a_sentence(tmp_path, digits):
    recipe = recipe_from_dict({**load_recipe("digits-quick").to_dict(), "hardware": {"memory": "100MB"}})
    with pytest.raises(RecipeError, match=r"100MB is too little.* smaller batches"):
        train("resnet20", digits, recipe=recipe, run_dir=tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_compiling_and_checkpointing_together_are_refused(small_recipe, compiler, tight):
    with pytest.raises(RecipeError, match=r"hardware.compile=on"):
        choose_execution(small_recipe(memory=tight, compile="on"), parse_model("resnet20"), (16, 16))
