"""Where a step's time goes: operations counted by hand, and nothing counted twice."""

from contextlib import ExitStack

import pytest
import torch
from torch import nn

from reslab.bench.profile import CONVOLUTIONS, OTHER, PARTS, profile_steps
from reslab.bench.training import compare_training, make_trainer
from reslab.bench.training_task import TrainingTask
from reslab.bench.turns import BenchmarkError, Turns
from reslab.training.recipe_files import recipe_from_dict

FORWARD, BACKWARD = CONVOLUTIONS
NORMS = "norm, ReLU, add"
WINOGRAD = ("forward Winograd", "backward Winograd")


def parts_of(found):
    return {name: part["milliseconds"] for name, part in found["parts"].items()}


def test_convolutions_count_two_operations_for_a_multiply_add_and_add_up_with_the_rest():
    network = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1))
    images = torch.randn(8, 3, 32, 32)
    first, second = (2 * 8 * 32 * 32 * inside * outside * 9 for inside, outside in ((3, 16), (16, 32)))

    def step():
        network.zero_grad()
        network(images).sum().backward()

    found = profile_steps(step, 3)
    parts = found["parts"]
    assert found["steps"] == 3
    assert tuple(parts) == PARTS
    assert parts[FORWARD]["gflops"] * parts[FORWARD]["milliseconds"] == pytest.approx(1e-6 * (first + second), rel=2e-3)
    # Images need no gradient.
    operations = first + 2 * second
    assert parts[BACKWARD]["gflops"] * parts[BACKWARD]["milliseconds"] == pytest.approx(1e-6 * operations, rel=2e-3)
    assert sum(parts_of(found).values()) == pytest.approx(found["milliseconds"], rel=2e-3)
    assert parts_of(found)[NORMS] == parts_of(found)["update"] == parts_of(found)["batch"] == 0


@pytest.mark.parametrize("fused", ["on", "off"])
@pytest.mark.parametrize("kernels", ["torch", "winograd"])
def test_every_part_of_our_step_is_found_with_kernels_and_without(kernels, fused, compiler, tmp_path):
    hardware = {"compile": "off", "threads": 1, "precision": "fp32", "fused_norms": fused, "kernels": kernels}
    recipe = recipe_from_dict({"name": "tiny", "data": {"batch_size": 16}, "hardware": hardware})
    with ExitStack() as stack:
        trainer = make_trainer(TrainingTask("resnet8", recipe, "digits"), tmp_path, stack)
        found = profile_steps(trainer.iterate, 2)
    taken = parts_of(found)
    assert {name for name in taken if not taken[name]} == set(WINOGRAD if kernels == "torch" else ())
    assert taken[OTHER] < 0.5 * found["milliseconds"]
    assert trainer.state.iteration == 3


def test_a_step_without_convolutions_has_no_rate():
    network, images = nn.Linear(4, 2), torch.randn(8, 4)
    found = profile_steps(lambda: network(images), 1)
    assert found["parts"][FORWARD] == {"milliseconds": 0.0, "gflops": 0.0}
    assert parts_of(found)[OTHER] == found["milliseconds"]


def test_compiled_steps_have_no_profile():
    compiled = recipe_from_dict({"name": "tiny", "hardware": {"compile": "on"}})
    for recipe, peers in (
        (compiled, ()),
        (recipe_from_dict({"name": "t", "hardware": {"compile": "off"}}), ("compiled",)),
    ):
        with pytest.raises(BenchmarkError, match="a compiled step has no profile"):
            compare_training(TrainingTask("resnet8", recipe), peers, Turns(1), profiled_steps=1)
