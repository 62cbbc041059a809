"""Training on photographs: every ImageNet recipe from end to end, killed and resumed, with and without workers."""

import json
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
from safetensors.torch import load_file

from reslab import train
from reslab.data import load_data
from reslab.data.normalization import Normalization
from reslab.data.packing import pack_shards
from reslab.data.preprocessing import Preprocessing
from reslab.errors import DataError, RecipeError
from reslab.evaluation import evaluate
from reslab.trained import load_trained
from reslab.training.recipe import Duration, HardwareRecipe, Recipe
from reslab.training.recipe_files import load_recipe

RECIPES = ("imagenet-paper", "imagenet-90", "imagenet-v2", "imagenet-a1", "imagenet-a2", "imagenet-a3")
SMALL = "resnet18[widths=8-16-16-32]"


def small(name: str, workers: int = 0, iterations: int = 6) -> Recipe:
    """A recipe at 32 pixels, in batches of 8."""
    recipe = load_recipe(name).resolved(1_281_167).rescaled(iterations)
    each, three, two = (Duration(number) for number in (1, 3, 2))
    photos = replace(recipe.data.images, train_size=32, test_size=32, test_resize=36)
    return replace(
        recipe,
        optimizer=replace(recipe.optimizer, accumulate=min(2, recipe.optimizer.accumulate)),
        data=replace(recipe.data, batch_size=8, images=photos),
        hardware=HardwareRecipe(device="cpu", threads=1, workers=workers),
        monitoring=replace(recipe.monitoring, eval_every=three, checkpoint_every=two, log_every=each),
    )


@pytest.fixture
def some_photos(photos: Path, tmp_path: Path) -> Path:
    """Twelve classes of one photograph, in train/ and val/."""
    for role in ("train", "val"):
        (tmp_path / "some" / role).mkdir(parents=True)
        for folder in sorted((photos / role).iterdir())[:12]:
            (tmp_path / "some" / role / folder.name).symlink_to(folder.resolve())
    return tmp_path / "some"


def weights(folder: Path) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in load_file(folder / "weights.safetensors").items()}


def rows(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in ("images_per_second", "checksum")} for line in lines]


@pytest.mark.parametrize("name", ["imagenet-paper", "imagenet-a1"])
def test_stopped_and_resumed_with_workers_it_comes_to_the_same_weights(name, some_photos, tmp_path):
    train(SMALL, some_photos, recipe=small(name), run_dir=tmp_path / "whole")
    for stop in ("1", "4"):
        stopped = train(
            SMALL, some_photos, recipe=small(name), run_dir=tmp_path / "parts", resume=True, stop_after=stop
        )
        assert stopped.iteration == int(stop)
    done = train(SMALL, some_photos, recipe=small(name), run_dir=tmp_path / "parts", resume=True)
    workers = train(SMALL, some_photos, recipe=small(name), run_dir=tmp_path / "workers")
    for folder in ("parts", "workers"):
        assert weights(tmp_path / "whole") == weights(tmp_path / folder)
        assert rows(tmp_path / "whole") == rows(tmp_path / folder)
    assert done.figures["num_val_images"] == done.figures["num_train_clean_images"] == 12
    assert workers.run.finished


def test_the_card_says_how_photos_are_seen_and_the_errors_are_those_of_evaluate(some_photos, tmp_path):
    done = train(SMALL, some_photos, recipe=small("imagenet-v2"), run_dir=tmp_path / "run")
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    view = Preprocessing(**card["preprocessing"])
    assert (view.height, view.resize, view.interpolation) == (32, 36, "bilinear")
    trained = load_trained(tmp_path / "run")
    val = load_data(some_photos, kind="photos", view=view).split("val")
    assert evaluate(trained.model, val, trained.normalization).top1_error == done.figures["val_error"]
    # The weights are the average, not the last iteration's.
    last = torch.load(sorted((tmp_path / "run" / "checkpoints").glob("iteration-*"))[-1], weights_only=True)
    assert not torch.equal(last["model"]["conv1.weight"], trained.model.conv1.weight)
    assert torch.equal(last["average"]["module.conv1.weight"], trained.model.conv1.weight)


def test_the_mean_of_every_pixel_is_that_of_the_central_crops_and_is_measured_once(some_photos, tmp_path, monkeypatch):
    recipe = small("imagenet-paper")
    train(SMALL, some_photos, recipe=recipe, run_dir=tmp_path / "run", stop_after="2")
    view = Preprocessing(height=32, width=32, channels=3, resize=36)
    expected = (
        load_data(some_photos, kind="photos", view=view).split("train").read(0, 12).astype(float).mean(axis=0) / 255
    )
    measured = load_file(tmp_path / "run" / "normalization.safetensors")["mean"]
    np.testing.assert_allclose(measured, expected, atol=1e-6)

    def measured_again(*_: object) -> Normalization:
        raise AssertionError("it was measured before")

    monkeypatch.setattr(Normalization, "measure", measured_again)
    train(SMALL, some_photos, recipe=recipe, run_dir=tmp_path / "run", resume=True)


def test_what_does_not_fit_together_gets_a_sentence(some_photos, digits, tmp_path):
    with pytest.raises(RecipeError, match="the recipe is for photos, and digits has small images"):
        train(SMALL, digits, recipe="imagenet-90", run_dir=tmp_path / "run")
    with pytest.raises(DataError, match="cifar10 has small images and no photos"):
        train(SMALL, "cifar10", recipe="imagenet-90", run_dir=tmp_path / "run")
    loaded = load_data(some_photos, kind="photos", view=Preprocessing(height=32, width=32, channels=3, resize=36))
    with pytest.raises(RecipeError, match="photos need a recipe with"):
        train(SMALL, loaded, recipe="cifar-paper", run_dir=tmp_path / "run")
    with pytest.raises(DataError, match="use a recipe for photos, as in --recipe photos"):
        train(SMALL, some_photos, recipe="cifar-paper", run_dir=tmp_path / "run")
    with pytest.raises(RecipeError, match=r"schedule\.kind=plateau needs val images"):
        train(SMALL, some_photos / "train", recipe=small("imagenet-paper"), run_dir=tmp_path / "run")


def test_a_photo_damaged_while_training_is_named_and_the_run_can_go_on(some_photos, photos, tmp_path):
    damaged = some_photos / "train" / "extra"
    damaged.mkdir()
    (some_photos / "val" / "extra").symlink_to(damaged)
    whole = next(photos.glob("val/*/*")).read_bytes()
    (damaged / "1.jpg").write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    recipe = small("imagenet-90")
    run = tmp_path / "run"
    with pytest.raises(DataError, match=r"cannot use the image .*extra/1\.jpg: it "):
        train(SMALL, some_photos, recipe=recipe, run_dir=run)
    reached = torch.load(max((run / "checkpoints").glob("iteration-*")), weights_only=True)["iteration"]
    assert reached == len(rows(run))
    (damaged / "1.jpg").write_bytes(whole)  # as long as the zeros, by which the data are known
    assert train(SMALL, some_photos, recipe=recipe, run_dir=run, resume=True).run.finished


def test_an_evaluation_that_failed_is_made_up_for_on_a_resume(some_photos, tmp_path):
    recipe = small("imagenet-paper")
    train(SMALL, some_photos, recipe=recipe, run_dir=tmp_path / "whole")
    photo = next((some_photos / "val").glob("*/*"))
    (some_photos / "val" / photo.parent.name).unlink()  # the link; train's stays
    (some_photos / "val" / photo.parent.name).mkdir()
    content = photo_bytes(some_photos, photo)
    path = some_photos / "val" / photo.parent.name / photo.name
    path.write_bytes(bytes(len(content)))
    with pytest.raises(DataError, match="cannot use the image"):
        train(SMALL, some_photos, recipe=recipe, run_dir=tmp_path / "run")
    assert [row["iteration"] for row in rows(tmp_path / "run")] == [1, 2]
    path.write_bytes(content)
    train(SMALL, some_photos, recipe=recipe, run_dir=tmp_path / "run", resume=True)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def photo_bytes(folder: Path, photo: Path) -> bytes:
    """Of the photo in val that train has too."""
    return (folder / "train" / photo.parent.name / photo.name).read_bytes()


def test_a_run_can_be_stopped_while_the_mean_is_measured(some_photos, tmp_path):
    stopped = train(SMALL, some_photos, recipe=small("imagenet-paper"), run_dir=tmp_path / "run", stop_after="0.001s")
    assert (stopped.iteration, stopped.stopped_by) == (0, "0.001 s")
    assert not (tmp_path / "run" / "normalization.safetensors").exists()
    assert train(SMALL, some_photos, recipe=small("imagenet-paper"), run_dir=tmp_path / "run", resume=True).run.finished


@pytest.fixture(scope="module")
def shards(photos: Path, made_once) -> Path:
    view = Preprocessing(height=64, width=64, channels=3, resize=72)
    return made_once(
        "shards", lambda folder: pack_shards(load_data(photos, kind="photos", view=view), folder, shard_bytes=8 << 20)
    )


def command(folder: Path, run_dir: Path, recipe: str, workers: int) -> list[str]:
    # fmt: off
    return [sys.executable, "-m", "reslab", "train", "resnet18", "--data", str(folder), "--recipe", recipe,
            "--batch-size", "16", "--train-size", "64", "--iterations", "20", "--workers", str(workers),
            "--data.images.test-size", "64", "--data.images.test-resize", "72", "--hardware.threads", "1", "--quiet",
            "--checkpoint-every", "3", "--run-dir", str(run_dir), "--resume"]
    # fmt: on


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_killed_and_resumed_and_from_shards_comes_to_bitwise_the_same_weights(
    name, photos, shards, tmp_path
):
    subprocess.run(command(photos, tmp_path / "whole", name, 0), check=True, timeout=300)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for workers, length in ((2, 4), (0, 9), (2, 14)):
        with subprocess.Popen(command(photos, tmp_path / "killed", name, workers), env=environment) as process:
            metrics = tmp_path / "killed" / "metrics.jsonl"
            while not metrics.exists() or len(metrics.read_text().splitlines()) < length:
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    subprocess.run(command(photos, tmp_path / "killed", name, 0), check=True, timeout=300)
    subprocess.run(command(shards, tmp_path / "shards", name, 2), check=True, timeout=300)
    for folder in ("killed", "shards"):
        assert weights(tmp_path / "whole") == weights(tmp_path / folder)
        assert rows(tmp_path / "whole") == rows(tmp_path / folder)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_papers_recipe_runs_at_224_in_8_parts_of_32(photos, tmp_path):
    done = train("resnet18", photos, recipe="imagenet-paper", iterations=1, run_dir=tmp_path)
    row = rows(tmp_path)[0]
    assert done.run.record["recipe"]["data"]["batch_size"] == 256
    assert done.run.record["recipe"]["optimizer"]["accumulate"] == 8
    assert row["learning_rate"] == 0.1
    assert row["loss"] == pytest.approx(np.log(200), rel=0.15)
    mean = load_file(tmp_path / "normalization.safetensors")["mean"]
    assert mean.shape == (224, 224, 3)
    state = torch.load(tmp_path / "checkpoints" / "iteration-0000001.pt", weights_only=True)["model"]
    assert state["bn1.num_batches_tracked"] == 8
