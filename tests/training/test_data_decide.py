"""What data decide of a training: the recipe, classes and channels; and their test images have no say in it."""

import json

import numpy as np
import pytest
from PIL import Image

from reslab import load_data, train
from reslab.cli.main import main
from reslab.errors import DataError, RecipeError

pytestmark = pytest.mark.usefixtures("quick_curves")
MODEL = "resnet8[blocks=1,widths=4]"
FEW = {"data.batch_size": "4", "hardware.threads": "1", "hardware.compile": "off", "hardware.fused_norms": "off"}
QUICK = ("--hardware.threads", "1", "--hardware.compile", "off", "--hardware.fused-norms", "off", "--quiet")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def write(tmp_path, rng):
    """Writes a random image below the folder `data`."""

    def write(name, *, size=(12, 12), mode="L", number=0):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng([number, *map(ord, name)])
        pixels = generator.integers(0, 256, (*size[::-1], *(() if mode == "L" else (3,))), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def small(write, tmp_path):
    """Grey images of one size with a split of each role."""
    for role, count in (("train", 8), ("val", 2), ("test", 2)):
        for name in ("cat", "dog"):
            for number in range(count):
                write(f"{role}/{name}/{number}.png")
    return tmp_path / "data"


def trained(*arguments, code=0):
    assert main(["train", MODEL, "--data", "data", "--batch-size", "4", *QUICK, *arguments]) == code


def record(folder):
    return json.loads((folder / "run.json").read_text())


def test_small_images_are_trained_with_the_papers_recipe(small, tmp_path):
    trained("--iterations", "2", "--run-dir", "run")
    found = record(tmp_path / "run")
    assert (found["recipe"]["name"], found["recipe"]["data"]["images"]["kind"]) == ("cifar-paper", "small")
    assert (found["data"]["num_classes"], found["data"]["channels"]) == (2, 1)
    assert (found["net"]["num_classes"], found["net"]["in_channels"]) == (2, 1)
    assert found["recipe_asked"]["rescaled_to"] == "2 iterations"
    python = train(MODEL, small, iterations=2, fields=FEW, run_dir="python")
    assert python.run.record["recipe"]["name"] == "cifar-paper"


def test_so_few_images_for_so_long_a_recipe_are_refused_before_a_run_begins(small, tmp_path, capsys):
    trained("--run-dir", "run", code=2)
    assert "made for 50,000 images" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    with pytest.raises(RecipeError, match="made for 50,000 images"):
        train(MODEL, small, run_dir="run")


def test_images_of_several_sizes_are_photos(small, write, tmp_path):
    """However small: of one size in memory, of several in their files."""
    write("train/cat/large.png", size=(40, 30), mode="RGB")
    sizes = ("--train-size", "8", "--data.images.test-size", "8", "--data.images.test-resize", "8")
    trained("--iterations", "2", "--run-dir", "run", "--hardware.workers", "0", *sizes)
    found = record(tmp_path / "run")
    assert (found["recipe"]["name"], found["recipe"]["data"]["images"]["kind"]) == ("photos", "photos")


def test_small_images_may_be_called_photos_and_photos_not_small(small, write, tmp_path, capsys):
    sizes = ("--train-size", "8", "--data.images.test-size", "8", "--data.images.test-resize", "8")
    for name, more in (("field", ("--data.images", "photos")), ("recipe", ("--recipe", "photos"))):
        trained("--iterations", "2", *more, *sizes, "--hardware.workers", "0", "--run-dir", name)
        assert record(tmp_path / name)["recipe"]["data"]["images"]["kind"] == "photos"
    write("train/cat/large.png", size=(40, 30))
    trained("--recipe", "cifar-paper", "--iterations", "2", "--run-dir", "other", code=2)
    assert "resize the images to one size, or use a recipe for photos" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_test_images_have_no_say_in_the_number_of_channels(small, write, tmp_path):
    write("test/cat/0.png", mode="RGB")
    write("test/dog/1.png", mode="RGB")
    trained("--iterations", "2", "--run-dir", "run")
    assert record(tmp_path / "run")["data"]["channels"] == 1
    assert main(["eval", "run", "--json"]) == 0  # they are made grey, as the network is


def test_train_and_val_images_have(small, write, tmp_path):
    write("val/dog/1.png", mode="RGB")
    trained("--iterations", "2", "--run-dir", "run")
    assert record(tmp_path / "run")["data"]["channels"] == 3


def test_another_test_image_does_not_hinder_a_resume_and_a_damaged_one_stops_eval_alone(small, write, tmp_path, capsys):
    trained("--iterations", "4", "--run-dir", "whole")
    trained("--iterations", "4", "--run-dir", "run", "--stop-after", "2")
    image = write("test/cat/0.png", number=1, mode="RGB")
    write("test/dog/new.png")
    image.write_bytes(image.read_bytes()[:50])
    capsys.readouterr()
    assert main(["train", "--resume", "--run-dir", "run", "--quiet", "--json"]) == 0
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == (
        tmp_path / "whole" / "weights.safetensors"
    ).read_bytes()
    trained("--iterations", "4", "--run-dir", "again")  # neither does it hinder a new run
    capsys.readouterr()
    assert main(["eval", "run", "--split", "val", "--json"]) == 0
    capsys.readouterr()
    assert main(["eval", "run"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert f"cannot use the image {image}: it is damaged: it is truncated" in captured.err
    assert main(["precise-bn", "run", "--out", "precise", "--images", "8"]) == 0
    assert main(["export", "onnx", "run", "--input-size", "12", "--out", "net.onnx"]) == 0


def test_a_run_of_data_that_were_loaded_with_test_images_is_resumed_without_them(small, tmp_path):
    data = load_data(small)
    assert "test" in data.splits
    arguments = {"recipe": "cifar-paper", "iterations": 4, "fields": FEW}
    train(MODEL, data, run_dir="whole", **arguments)
    train(MODEL, data, run_dir="run", stop_after="2", **arguments)
    for resumed in (load_data(small, roles=["train", "val"]), data):
        train(MODEL, resumed, run_dir="run", resume=True, **arguments)
        for name in ("weights.safetensors", "card.json"):
            assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("role", ["train", "val"])
def test_another_image_of_train_or_val_does(small, write, capsys, role):
    trained("--iterations", "4", "--run-dir", "run", "--stop-after", "2")
    write(f"{role}/cat/0.png", number=1)
    capsys.readouterr()
    assert main(["train", "--resume", "--run-dir", "run", "--quiet"]) == 2
    captured = capsys.readouterr()
    assert "cannot be resumed so: " in captured.err
    assert f"splits.{role}" in captured.err


def test_a_damaged_image_of_train_is_named(small):
    path = small / "train" / "dog" / "3.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"cannot use the image .*dog/3\.png: it is damaged: it is truncated"):
        train(MODEL, small, iterations=2, run_dir="run")
