"""Training as its users run it: in this process, and as processes that are killed."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from reslab import train
from reslab.checkpoints import save_checkpoint
from reslab.errors import CheckpointError, DivergenceError, ModelError, RecipeError, WeightsError
from reslab.evaluation import evaluate
from reslab.files.records import write_record
from reslab.models import create_model
from reslab.runs import Run
from reslab.trained import load_trained
from reslab.training.execution import Execution
from reslab.training.loop import Trainer
from reslab.training.plan import Asked, Plan
from reslab.training.recipe import (
    DataRecipe,
    HardwareRecipe,
    MonitoringRecipe,
    Muon,
    NoWarmUp,
    Recipe,
    Sgd,
    SmallImages,
    Steps,
    UntilError,
    iterations,
)
from reslab.training.recipe_files import load_recipe

RECIPE = Recipe(
    name="tiny",
    optimizer=Sgd(learning_rate=0.05),
    schedule=Steps(length=iterations(20), milestones=(iterations(10), iterations(15)), deep_warmup=NoWarmUp()),
    data=DataRecipe(batch_size=12, images=SmallImages(pad=1)),
    hardware=HardwareRecipe(device="cpu", threads=1),
    monitoring=MonitoringRecipe(log_every=iterations(3), eval_every=iterations(5), checkpoint_every=iterations(4)),
)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def same_weights(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def rows(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in ("images_per_second", "checksum")} for line in lines]


def test_a_run_leaves_a_complete_folder(tiny_data, tmp_path):
    data = tiny_data()
    done = train("resnet8", data, recipe=RECIPE, run_dir=tmp_path, test_curve=True)
    assert done.stopped_by is None
    assert {path.name for path in tmp_path.iterdir()} >= {
        "run.json", "metrics.jsonl", "checkpoints", "result.json", "weights.safetensors", "card.json",
        "normalization.safetensors", "curves.png",
    }  # fmt: skip
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
    recorded = rows(tmp_path)
    assert [row["iteration"] for row in recorded] == [3, 5, 6, 9, 10, 12, 15, 18, 20]
    assert [row["iteration"] for row in recorded if "val_error" in row] == [5, 10, 15, 20]
    assert [row["learning_rate"] for row in recorded] == pytest.approx([0.05] * 5 + [0.005] * 2 + [0.0005] * 2)
    trained = load_trained(tmp_path)
    assert trained.classes == data.classes
    for role in ("val", "test"):
        error = evaluate(trained.model, data.split(role), trained.normalization).top1_error
        assert done.figures[f"{role}_error"] == error
        assert recorded[-1][f"{role}_error"] == error
    assert len(list((tmp_path / "checkpoints").glob("iteration-*.pt"))) == 2


def test_test_images_are_read_by_no_run_that_is_not_an_experiment(tiny_data, tmp_path):
    done = train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path)
    assert not any("test" in key for key in done.figures)
    assert not any("test_error" in row for row in rows(tmp_path))


def test_the_test_curve_changes_nothing_but_itself(tiny_data, tmp_path):
    for name, curve in (("with", True), ("without", False)):
        train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path / name, test_curve=curve)
    assert same_weights(tmp_path / "with", tmp_path / "without")


def test_a_seed_gives_bitwise_the_same_weights_and_another_seed_others(tiny_data, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train("resnet8", tiny_data(), recipe=RECIPE, seed=seed, run_dir=tmp_path / name)
    assert same_weights(tmp_path / "a", tmp_path / "b")
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    assert not same_weights(tmp_path / "a", tmp_path / "c")


@pytest.mark.parametrize("stops", [(1,), (4,), (7,), (3, 5, 6, 11, 19), tuple(range(1, 20))])
def test_stopping_and_resuming_anywhere_gives_bitwise_the_same_run(tiny_data, tmp_path, stops):
    train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path / "whole")
    for stop in stops:
        part = train(
            "resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path / "parts", resume=True, stop_after=str(stop)
        )
        assert (part.iteration, part.stopped_by) == (stop, f"iteration {stop}")
        assert not part.run.finished
    train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path / "parts", resume=True)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


def test_dropout_and_stochastic_depth_survive_a_stop_and_leave_the_callers_generator_alone(tiny_data, tmp_path):
    model = "resnet8[stochastic_depth=0.5,dropout=0.3]"
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(model, tiny_data(), recipe=RECIPE, run_dir=tmp_path / "whole")
    assert torch.equal(torch.rand(3), expected)
    for stop in ("3", "11"):
        torch.manual_seed(int(stop))
        train(model, tiny_data(), recipe=RECIPE, run_dir=tmp_path / "parts", resume=True, stop_after=stop)
    train(model, tiny_data(), recipe=RECIPE, run_dir=tmp_path / "parts", resume=True)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path / "certain")
    assert rows(tmp_path / "whole") != rows(tmp_path / "certain")


def test_a_run_from_before_a_field_of_the_network_was_there_resumes(tiny_data, tmp_path):
    train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path, stop_after="2")
    record = json.loads((tmp_path / "run.json").read_text())
    del record["net"]["stochastic_depth"]
    write_record(tmp_path / "run.json", record)
    assert train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path, resume=True).run.finished


def test_other_weights_to_start_from_get_a_fresh_head(tiny_data, tmp_path, capsys):
    source = create_model("resnet8", num_classes=100)
    torch.save(source.state_dict(), tmp_path / "source.pth")
    arguments = {"recipe": RECIPE, "run_dir": tmp_path / "run", "weights": str(tmp_path / "source.pth")}
    train("resnet8", tiny_data(), **arguments, stop_after="1", progress=True)
    said = capsys.readouterr().err
    assert "the classifier starts afresh: 100 classes in the file, 4 in the model" in " ".join(said.split())


def test_the_warm_up_survives_a_stop(tiny_data, tmp_path):
    schedule = replace(RECIPE.schedule, deep_warmup=UntilError(from_depth=8, window=3, train_error=70.0))
    recipe = replace(RECIPE, schedule=schedule)
    whole = train("resnet8", tiny_data(), recipe=recipe, run_dir=tmp_path / "whole")
    for stop in ("2", "6"):
        train("resnet8", tiny_data(), recipe=recipe, run_dir=tmp_path / "parts", resume=True, stop_after=stop)
    parts = train("resnet8", tiny_data(), recipe=recipe, run_dir=tmp_path / "parts", resume=True)
    assert whole.figures["warmup_ended_at"] == parts.figures["warmup_ended_at"] is not None
    assert same_weights(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_the_compiled_step_learns_like_the_eager_one_and_resumes_bitwise(compiler, tiny_data, tmp_path):
    compiled = replace(RECIPE, hardware=replace(RECIPE.hardware, compile="on"))
    train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path / "eager")
    train("resnet8", tiny_data(), recipe=compiled, run_dir=tmp_path / "compiled")
    train("resnet8", tiny_data(), recipe=compiled, run_dir=tmp_path / "parts", stop_after="7")
    train("resnet8", tiny_data(), recipe=compiled, run_dir=tmp_path / "parts", resume=True)
    assert same_weights(tmp_path / "compiled", tmp_path / "parts")
    eager, fast = rows(tmp_path / "eager"), rows(tmp_path / "compiled")
    assert fast[0]["loss"] == pytest.approx(eager[0]["loss"], rel=1e-3)


@pytest.mark.parametrize("precision", ["bf16", pytest.param("fp16", marks=pytest.mark.slow)])
def test_reduced_precision_learns_like_fp32_and_resumes_bitwise(tiny_data, tmp_path, precision):
    recipe = replace(RECIPE, hardware=replace(RECIPE.hardware, precision=precision))
    data = tiny_data()
    train("resnet8", data, recipe=RECIPE, run_dir=tmp_path / "fp32")
    train("resnet8", data, recipe=recipe, run_dir=tmp_path / "reduced")
    for stop in ("5", "9", None):
        train("resnet8", data, recipe=recipe, run_dir=tmp_path / "parts", resume=True, stop_after=stop)
    assert same_weights(tmp_path / "reduced", tmp_path / "parts")
    assert not same_weights(tmp_path / "reduced", tmp_path / "fp32")
    first, second = (rows(tmp_path / name)[0]["loss"] for name in ("fp32", "reduced"))
    assert second == pytest.approx(first, rel=0.02)
    assert all(tensor.dtype != torch.bfloat16 for tensor in weights(tmp_path / "reduced").values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "resnet14"}, "model is 'resnet8.*' in the run and 'resnet14.*' now"),
        ({"seed": 1}, "seed is 0 in the run and 1 now"),
        ({"iterations": 30}, "recipe.schedule.length is '20 iterations' in the run and '30 iterations' now"),
        ({"recipe": replace(RECIPE, optimizer=Sgd(nesterov=True))}, "recipe.optimizer"),
        ({"test_curve": True}, "test_curve is False"),
    ],
)
def test_resuming_as_another_run_is_refused(tiny_data, tmp_path, arguments, message):
    asked = {"model": "resnet8", "data": tiny_data(), "recipe": RECIPE, "run_dir": tmp_path}
    train(**asked, stop_after="2")
    with pytest.raises(CheckpointError, match=message):
        train(**{**asked, **arguments}, resume=True)


def test_resuming_with_other_images_is_refused(tiny_data, tmp_path):
    train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path, stop_after="2")
    data = tiny_data()
    data.split("train").images[0, 0, 0, 0] ^= 1
    with pytest.raises(CheckpointError, match=r"data\.splits\.train\.sha256"):
        train("resnet8", data, recipe=RECIPE, run_dir=tmp_path, resume=True)


def test_a_run_is_not_overwritten(tiny_data, tmp_path):
    train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path, stop_after="2")
    with pytest.raises(CheckpointError, match="holds a run already"):
        train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path)


def test_a_finished_run_is_not_trained_again(tiny_data, tmp_path):
    first = train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path)
    before = (tmp_path / "weights.safetensors").stat().st_mtime_ns
    again = train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path, resume=True)
    assert again.figures == first.figures
    assert (tmp_path / "weights.safetensors").stat().st_mtime_ns == before


def test_two_processes_cannot_write_one_run(tiny_data, tmp_path):
    code = (
        "import sys, time, pathlib, reslab.runs as runs; "
        "lock = runs.Run(pathlib.Path(sys.argv[1])).lock(); lock.__enter__(); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(CheckpointError, match="another process is writing"):
            train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path)
        holder.kill()
    assert train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path, stop_after="1").iteration == 1


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(tiny_data, tmp_path):
    recipe = replace(RECIPE, optimizer=Sgd(learning_rate=1e30, momentum=0.0))
    with pytest.raises(DivergenceError, match=r"training diverged: .*Try a lower --optimizer.learning-rate"):
        train("resnet8", tiny_data(), recipe=recipe, run_dir=tmp_path)
    for path in (tmp_path / "checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=True)
        assert all(torch.isfinite(value).all() for value in state["model"].values())
    assert not (tmp_path / "weights.safetensors").exists()


def test_divergence_names_the_checkpoint_that_was_kept(tiny_data, tmp_path):
    train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path, stop_after="6")
    path = tmp_path / "checkpoints" / "iteration-0000006.pt"
    state = torch.load(path, weights_only=True)
    state["optimizer"]["state"][0]["momentum_buffer"].fill_(float("inf"))
    save_checkpoint(path.parent, state, keep=2)
    with pytest.raises(DivergenceError, match=r"the last good checkpoint is .*iteration-0000006\.pt"):
        train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path, resume=True)


def test_weights_can_be_the_best_on_val(tiny_data, tmp_path):
    recipe = replace(RECIPE, monitoring=replace(RECIPE.monitoring, weights="best-on-val", eval_every=iterations(2)))
    done = train("resnet8", tiny_data(), recipe=recipe, run_dir=tmp_path)
    assert done.figures["val_error"] == min(row["val_error"] for row in rows(tmp_path) if "val_error" in row)


def test_choosing_on_val_without_val_images_is_refused(tiny_data, tmp_path):
    recipe = replace(RECIPE, monitoring=replace(RECIPE.monitoring, weights="best-on-val"))
    with pytest.raises(RecipeError, match="needs val images"):
        train("resnet8", tiny_data(val=False), recipe=recipe, run_dir=tmp_path)


def test_precise_batch_norm_replaces_the_moving_averages(tiny_data, tmp_path):
    precise = replace(RECIPE, monitoring=replace(RECIPE.monitoring, precise_bn_images=40))
    train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path / "moving")
    train("resnet8", tiny_data(), recipe=precise, run_dir=tmp_path / "precise")
    moving, strict = weights(tmp_path / "moving"), weights(tmp_path / "precise")
    for key in moving:
        assert torch.equal(moving[key], strict[key]) == (not key.endswith(("running_mean", "running_var", "tracked")))


def test_training_starts_from_given_weights(tiny_data, tmp_path):
    train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path / "first")
    slow = replace(RECIPE, optimizer=Sgd(learning_rate=1e-12, weight_decay=0.0))
    train(
        "resnet8",
        tiny_data(),
        recipe=slow,
        seed=5,
        run_dir=tmp_path / "second",
        weights=tmp_path / "first/weights.safetensors",
    )
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    torch.testing.assert_close(first["conv1.weight"], second["conv1.weight"])
    with pytest.raises(WeightsError, match="does not fit"):
        train(
            "resnet14",
            tiny_data(),
            recipe=RECIPE,
            run_dir=tmp_path / "third",
            weights=tmp_path / "first/weights.safetensors",
        )
    with pytest.raises(WeightsError, match="there is no weight file"):
        train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path / "third", weights=tmp_path / "nothing.pth")
    assert not (tmp_path / "third").exists()  # what was mistyped is no obstacle to the right command


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "resnet8[num_classes=3]"}, ModelError, "has 3 classes, but tiny has 4"),
        ({"model": "resnet8[in_channels=1]"}, ModelError, "has 1 channels, but tiny has 3"),
        ({"recipe": "cifar-papr"}, RecipeError, "did you mean cifar-paper"),
        ({"seed": -1}, CheckpointError, "seed must be between"),
        ({"stop_after": "soon"}, RecipeError, "cannot read the stop"),
        ({"iterations": -5}, RecipeError, "must be positive"),
    ],
)
def test_wrong_arguments_get_a_sentence_and_start_no_run(tiny_data, tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        train(**{"model": "resnet8", "data": tiny_data(), "recipe": RECIPE, "run_dir": tmp_path / "run", **arguments})
    assert not (tmp_path / "run").exists()


def test_gradients_reach_the_loop_and_training_learns(digits, tmp_path):
    recipe = replace(load_recipe("digits-quick").rescaled(60), hardware=HardwareRecipe(device="cpu", threads=1))
    done = train("resnet8", digits, recipe=recipe, run_dir=tmp_path)
    assert done.figures["train_error"] < 50
    assert done.figures["train_error_clean"] < 40


def test_the_first_update_is_sgd_on_the_first_batch(tiny_data, tmp_path):
    data = tiny_data()
    train("resnet8", data, recipe=RECIPE, run_dir=tmp_path, stop_after="1")
    after = torch.load(tmp_path / "checkpoints" / "iteration-0000001.pt", weights_only=True)["model"]

    asked = Asked(_spec(), data, RECIPE, seed=0)
    trainer = Trainer(Plan(asked, Run(tmp_path), Execution("cpu", 1, True, False)))
    model = trainer.state.model.train()
    images, labels = trainer.batches.batch(0)
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    for (key, parameter), gradient in zip(model.named_parameters(), gradients, strict=True):
        expected = parameter - 0.05 * (gradient + 1e-4 * parameter)
        torch.testing.assert_close(after[key], expected.detach(), rtol=1e-5, atol=1e-7)
    assert math.isfinite(loss.item())


def _spec():
    from reslab.models import parse_model

    return parse_model("resnet8[num_classes=4]")


# Real processes from here on.


@pytest.fixture(scope="module")
def folder_of_images(tmp_path_factory) -> Path:
    """40 small PNGs of two classes: quick to read in a process of its own."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / label).mkdir()
        for index in range(20):
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{index}.png")
    return folder


def command(images: Path, run_dir: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "reslab", "train", "resnet8", "--data", str(images), "--recipe", "digits-quick",
        "--iterations", "300", "--data.batch-size", "12", "--monitoring.log-every", "1",
        "--monitoring.eval-every", "50", "--checkpoint-every", "7", "--hardware.threads", "1",
        "--run-dir", str(run_dir), *more,
    ]  # fmt: skip


def wait_for_rows(process: subprocess.Popen, run_dir: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        path = run_dir / "metrics.jsonl"
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    pytest.fail(f"the run wrote fewer than {count} rows; exit code {process.poll()}")


def test_a_run_killed_at_arbitrary_iterations_resumes_to_bitwise_the_same_weights(folder_of_images, tmp_path):
    subprocess.run(command(folder_of_images, tmp_path / "whole", "--quiet"), check=True, timeout=60)
    for count in (5, 170):
        with subprocess.Popen(command(folder_of_images, tmp_path / "killed", "--resume", "--quiet")) as process:
            wait_for_rows(process, tmp_path / "killed", count)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "killed" / "result.json").exists()
    subprocess.run(command(folder_of_images, tmp_path / "killed", "--resume", "--quiet"), check=True, timeout=60)
    assert same_weights(tmp_path / "whole", tmp_path / "killed")
    assert rows(tmp_path / "whole") == rows(tmp_path / "killed")


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_exits_cleanly(folder_of_images, tmp_path, number):
    with subprocess.Popen(command(folder_of_images, tmp_path / "run"), stderr=subprocess.PIPE, text=True) as process:
        wait_for_rows(process, tmp_path / "run", 20)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert "reslab train --resume --run-dir" in errors.splitlines()[-1]
    last = rows(tmp_path / "run")[-1]["iteration"]
    assert (tmp_path / "run" / "checkpoints" / f"iteration-{last:07d}.pt").exists()
    environment = {**os.environ, "RESLAB_TRACEBACK": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "reslab", "train", "--resume", "--run-dir", str(tmp_path / "run"), "--json"],
        check=True, timeout=60, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert json.loads(done.stdout)["iterations"] == 300


def with_fields(**tables: dict) -> Recipe:
    return replace(RECIPE, **{name: replace(getattr(RECIPE, name), **fields) for name, fields in tables.items()})


def test_a_batch_in_parts_gives_the_gradients_of_the_whole(tiny_data, tmp_path):
    for name, parts in (("whole", 1), ("parts", 4)):
        recipe = with_fields(optimizer={"accumulate": parts})
        train("resnet8[norm=none]", tiny_data(), recipe=recipe, run_dir=tmp_path / name, stop_after="2")
    states = [
        torch.load(tmp_path / name / "checkpoints" / "iteration-0000002.pt", weights_only=True)
        for name in ("whole", "parts")
    ]
    for key, value in states[0]["model"].items():
        torch.testing.assert_close(states[1]["model"][key], value, atol=1e-6, rtol=1e-5)
    assert states[1]["meter"]["loss_sum"] == pytest.approx(states[0]["meter"]["loss_sum"], rel=1e-6)
    assert states[1]["meter"]["num_images"] == states[0]["meter"]["num_images"] == 24


def test_batch_norm_takes_its_statistics_over_a_part_or_a_ghost_batch_alike(tiny_data, tmp_path):
    recipes = {
        "parts": with_fields(optimizer={"accumulate": 3}),
        "ghosts": with_fields(regularization={"ghost_batch": 4}),
        "neither": RECIPE,
    }
    states = {}
    for name, recipe in recipes.items():
        train("resnet8", tiny_data(), recipe=recipe, run_dir=tmp_path / name, stop_after="1")
        path = tmp_path / name / "checkpoints" / "iteration-0000001.pt"
        states[name] = torch.load(path, weights_only=True)["model"]
    for key, value in states["parts"].items():
        torch.testing.assert_close(states["ghosts"][key], value, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(states["neither"]["conv1.weight"], states["parts"]["conv1.weight"], atol=1e-5)


def test_the_norm_of_the_gradients_is_clipped(tiny_data, tmp_path):
    recipe = with_fields(optimizer={"clip_norm": 1e-3, "weight_decay": 0.0, "momentum": 0.0})
    for stop in ("1", "2"):
        train("resnet8", tiny_data(), recipe=recipe, run_dir=tmp_path, resume=True, stop_after=stop)
    paths = (tmp_path / "checkpoints" / f"iteration-000000{number}.pt" for number in (1, 2))
    before, after = (torch.load(path, weights_only=True)["model"] for path in paths)
    learned = [key for key in before if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    moved = sum((after[key] - before[key]).double().square().sum() for key in learned).sqrt()
    assert moved.item() == pytest.approx(0.05 * 1e-3, rel=1e-3)


def test_muon_learns_and_resumes_bitwise(tiny_data, tmp_path):
    recipe = replace(RECIPE, optimizer=Muon(learning_rate=0.05, momentum=0.6, nesterov=True))
    done = train("resnet8", tiny_data(), recipe=recipe, run_dir=tmp_path / "whole")
    assert done.figures["train_error"] < rows(tmp_path / "whole")[0]["train_error"]
    for stop in ("3", "7", None):
        train("resnet8", tiny_data(), recipe=recipe, run_dir=tmp_path / "stopped", resume=True, stop_after=stop)
    assert same_weights(tmp_path / "whole", tmp_path / "stopped")


def test_the_average_of_the_weights_is_kept_evaluated_and_resumed(tiny_data, tmp_path):
    recipe = with_fields(
        regularization={"ema_decay": 0.7},
        monitoring={"checkpoint_every": iterations(1), "keep_checkpoints": 50, "eval_every": iterations(20)},
    )
    train("resnet8", tiny_data(), recipe=recipe, run_dir=tmp_path, stop_after="7")
    done = train("resnet8", tiny_data(), recipe=recipe, run_dir=tmp_path, resume=True)
    average: dict[str, torch.Tensor] = {}
    for path in sorted((tmp_path / "checkpoints").glob("iteration-*.pt")):
        if path.name == "iteration-0000000.pt":
            continue
        for key, value in torch.load(path, weights_only=True)["model"].items():
            if value.is_floating_point():
                average[key] = 0.7 * average[key] + 0.3 * value.double() if key in average else value.double()
    trained = load_trained(tmp_path)
    for key, value in average.items():
        torch.testing.assert_close(trained.model.state_dict()[key].double(), value, atol=1e-6, rtol=1e-5)
    val = tiny_data().split("val")
    assert done.figures["val_error"] == evaluate(trained.model, val, trained.normalization).top1_error
