"""How far an experiment is from the paper's setting: in a line, and setting by setting."""

import pytest

from reslab.paper.choices import Choices
from reslab.paper.deviations import deviations, reduction
from reslab.paper.experiments import EXPERIMENTS
from reslab.paper.planning import Planner
from reslab.training.recipes import RECIPES


def planned(name, tmp_path, iterations, **choices):
    experiment = EXPERIMENTS[name]
    planner = Planner(experiment, Choices(**choices), folder=tmp_path, store=tmp_path / "runs")
    plan = planner.plan(iterations)
    return (
        experiment,
        plan,
        {row["setting"]: (row["paper"], row["here"]) for row in deviations(experiment, plan, plan.jobs)},
    )


@pytest.mark.parametrize(
    ("iterations", "words"),
    [
        (20, "20 iterations, 0.031 % of the paper's 64,000"),
        (720, "720 iterations, 1.1 % of the paper's 64,000"),
        (63_900, "63,900 iterations, 100 % of the paper's 64,000"),
        (192_000, "192,000 iterations, 300 % of the paper's 64,000"),
        (6_400_000, "6,400,000 iterations, 10,000 % of the paper's 64,000"),
    ],
)
def test_the_line_says_data_length_and_batch(iterations, words, tmp_path):
    experiment, plan, _ = planned("fig1", tmp_path, iterations)
    assert reduction(experiment, plan) == f"digits instead of CIFAR-10, {words}, batches of 32 instead of 128"


def test_experiments_on_photos_are_held_against_imagenet_s_setting(tmp_path):
    experiment, plan, found = planned("fig4", tmp_path, 600, precision="bf16")
    words = "digits instead of ImageNet, 600 iterations, 0.1 % of the paper's 600,000, batches of 32 instead of 256"
    assert reduction(experiment, plan) == f"{words}, in bf16"
    assert found["data"][0] == "ImageNet, 1,281,167 of photos, crops of 224x224x3"
    assert found["hardware.precision"] == ("fp32", "bf16")
    assert found["epochs"] == (f"{600_000 * 256 / 1_281_167:.2f}", f"{600 * 32 / 1_257:.2f}")


def test_every_setting_that_differs_is_a_row(tmp_path):
    _, _, found = planned("fig1", tmp_path, 720)
    assert found["data"] == (
        "CIFAR-10, 50,000 of 32x32x3",
        "digits, 1,257 of 16x16x1; scikit-learn's handwritten digits, 8x8 resized to 16x16",
    )
    assert found["epochs"] == ("163.84", "18.33")  # 64,000 batches of 128 from 50,000 images
    assert found["data.batch_size"] == ("128", "32")
    assert found["optimizer.learning_rate"] == ("0.1", "0.025")
    assert found["schedule.length"] == ("64k iterations", "720 iterations")
    assert found["schedule.milestones"] == ("32k iterations, 48k iterations", "504 iterations, 648 iterations")
    assert found["data.flip"] == ("yes", "no")
    assert "optimizer.momentum" not in found
    assert "hardware.threads" not in found
    assert "monitoring.log_every" not in found


def test_what_an_experiment_varies_is_no_deviation(tmp_path):
    _, _, found = planned("cause", tmp_path, 720)
    assert not {"optimizer.decay", "optimizer.clip_norm"} & found.keys()
    _, _, found = planned("details", tmp_path, 720)
    assert not {"optimizer.nesterov", "regularization.ghost_batch"} & found.keys()


def test_what_is_computed_deviates_from_nothing(tmp_path):
    experiment, plan, found = planned("table1", tmp_path, 0)
    assert reduction(experiment, plan) == ""
    assert found == {}
    experiment, plan, found = planned("explosion", tmp_path, 0)
    assert reduction(experiment, plan) == "digits instead of CIFAR-10"


def test_the_paper_s_recipes_are_the_settings():
    for name in ("fig1", "fig4"):
        setting = EXPERIMENTS[name].setting
        recipe = RECIPES[setting.recipe].resolved(setting.images)
        assert (recipe.iterations, recipe.data.batch_size) == (setting.iterations, setting.batch_size)
