"""What contends in training: the same images, the same step; without processes."""

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from reslab.bench import training_peers
from reslab.bench.training import make_trainer
from reslab.bench.training_peers import peer_work
from reslab.bench.training_task import TrainingTask, check_task, class_folders, task_spec, training_images
from reslab.bench.turns import BenchmarkError, CannotRun
from reslab.errors import DataError, ModelError
from reslab.training.recipe_files import recipe_from_dict

RECIPE = recipe_from_dict(
    {
        "name": "tiny",
        "data": {"batch_size": 4, "images": {"kind": "small", "pad": 1}},
        "hardware": {"compile": "off", "threads": 1},
    }
)


@pytest.fixture
def photos(tmp_path, rng):
    """Two classes of two photos of different sizes."""
    for label in ("cat", "dog"):
        (tmp_path / "val" / label).mkdir(parents=True)
        for index, (height, width) in enumerate([(40, 60), (70, 50)]):
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "val" / label / f"{index}.jpg")
    return tmp_path


def test_ours_is_the_trainer_and_learns(tmp_path):
    with ExitStack() as stack:
        trainer = make_trainer(TrainingTask("resnet8", RECIPE, "digits"), tmp_path, stack)
        before = trainer.state.model.conv1.weight.clone()
        trainer.iterate()
    assert trainer.state.iteration == 1
    assert not torch.equal(before, trainer.state.model.conv1.weight)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["eager-nchw", "eager-channels-last"])
def test_a_peer_takes_a_step_on_batches_from_a_loader(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(training_peers, "_WORKERS", 0)
    work = peer_work(kind, TrainingTask("resnet8", RECIPE, "digits"), tmp_path)
    work.step()
    assert work.amount == 4
    assert work.details["channels_last"] == (kind == "eager-channels-last")
    assert "RandomCrop(16, padding=1)" in work.details["input"]


def test_ours_is_measured_at_the_full_size(tmp_path):
    growing = replace(RECIPE, data=replace(RECIPE.data, initial_scale=0.5))
    with ExitStack() as stack:
        assert make_trainer(TrainingTask("resnet8", growing, "digits"), tmp_path, stack).initial_iterations == 0


def test_photos_of_any_size_become_images_in_memory_for_us_and_random_crops_for_peers(photos):
    task = TrainingTask("resnet18", RECIPE, str(photos), input_size=32)
    data = training_images(task)
    assert data.split("train").images.shape == (4, 32, 32, 3)
    assert data.split("train").labels.tolist() == [0, 0, 1, 1]
    dataset, spec, words = training_peers._dataset("torchvision", task)
    assert dataset[0][0].shape == (3, 32, 32)
    assert spec.num_classes == 2
    assert "ImageFolder: RandomResizedCrop(32)" in words
    assert class_folders(photos) == photos / "val"


def test_generated_images_are_the_same_in_every_process():
    first, second = (training_images(TrainingTask("resnet20", RECIPE)) for _ in range(2))
    assert first.split("train").digest == second.split("train").digest
    assert first.image_shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("kind", "model"), [("torchvision", "resnet20"), ("timm", "resnet20"), ("timm", "resnet18[stem=cifar]")]
)
def test_a_library_without_the_network_cannot_run(kind, model, tmp_path):
    with pytest.raises(CannotRun, match=rf"{kind} has no resnet"):
        peer_work(kind, TrainingTask(model, RECIPE), tmp_path)


@pytest.mark.parametrize("kind", ["torchvision", "timm"])
def test_a_library_with_the_network_gives_its_own(kind):
    spec = task_spec(TrainingTask("resnet18", RECIPE), training_images(TrainingTask("resnet20", RECIPE)))
    network = training_peers._network(kind, "resnet18", spec)
    assert type(network).__module__.startswith(kind)
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (TrainingTask("resnet21", RECIPE), ModelError, "did you mean"),
        (TrainingTask("resnet20", RECIPE, "nowhere"), DataError, "no data at 'nowhere'"),
        (TrainingTask("resnet20", RECIPE, None, 4), BenchmarkError, "--input-size must be between 8"),
        (TrainingTask("resnet20", RECIPE, "digits", 32), BenchmarkError, "digits has its own"),
    ],
)
def test_a_bad_task_is_refused_before_anything_starts(task, error, message):
    with pytest.raises(error, match=message):
        check_task(task)


def test_a_batch_larger_than_the_images_is_refused(photos, tmp_path):
    recipe = recipe_from_dict({"name": "tiny", "data": {"batch_size": 5}, "hardware": {"threads": 1}})
    with pytest.raises(BenchmarkError, match="a batch of 5 takes more images than there are"):
        peer_work("eager-nchw", TrainingTask("resnet18", recipe, str(photos), 32), tmp_path)
