"""The order of labels: by a folder's names, by a file, by a network; and errors that a large class would hide."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reslab
from reslab.cli.main import main
from reslab.data import load_data
from reslab.data.listing import DataWarning
from reslab.errors import DataError
from reslab.evaluation.outcomes import judge
from reslab.tasks import Classification
from reslab.training.start import train

NET = "resnet8[widths=4-4-4]"
NUMBERS = [str(number) for number in range(12)]
OPTIONS: dict[str, Any] = {"recipe": "cifar-paper", "iterations": 2, "fields": {"data.batch_size": "4"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve numbered classes, of three images for training and one to test on."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "numbers"
    for role, count in (("train", 3), ("val", 1)):
        for name in NUMBERS:
            (root / role / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / role / name / f"{number}.png")
    (root.parent / "classes.txt").write_text("\n".join(NUMBERS))
    return root


@pytest.fixture(scope="module")
def run(folder: Path, quick_curves: None) -> Path:
    """A network whose outputs stand in the order of the numbers."""
    path = folder.parent / "run"
    assert main(["train", NET, "--data", str(folder), "--classes", str(folder.parent / "classes.txt"), "--quiet",
                 "--recipe", "cifar-paper", "--iterations", "2", "--batch-size", "4",
                 "--run-dir", str(path)]) == 0  # fmt: skip
    return path


def test_a_run_by_a_file_of_classes_states_and_keeps_their_order(folder: Path, run: Path) -> None:
    for name in ("run.json", "card.json"):
        assert json.loads((run / name).read_text())["classes"] == NUMBERS
    outcome = reslab.load(run).evaluate(folder)
    assert outcome.data.split("val").labels.tolist() == [int(name) for name in sorted(NUMBERS)]
    train(run_dir=run, resume=True)  # finds the order again, without a word
    with pytest.raises(reslab.ReslabError, match="cannot be resumed so: classes is"):
        train(run_dir=run, resume=True, classes=sorted(NUMBERS))


def test_without_a_file_the_order_is_doubted_once(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], quick_curves: None
) -> None:
    with pytest.warns(DataWarning, match="label 2 is '10'; by their numbers it would be '2'"):
        train(NET, folder, run_dir=tmp_path / "python", **OPTIONS)
    assert json.loads((tmp_path / "python" / "run.json").read_text())["classes"] == sorted(NUMBERS)
    capsys.readouterr()
    assert main(["train", NET, "--data", str(folder), "--quiet", "--recipe", "cifar-paper", "--iterations", "2",
                 "--batch-size", "4", "--run-dir", str(tmp_path / "command")]) == 0  # fmt: skip
    assert capsys.readouterr().err.count("label 2 is '10'") == 1


def test_weights_without_names_are_tested_in_the_order_of_a_file(folder: Path, run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "weights.safetensors", weights := tmp_path / "natural.safetensors")
    options: dict[str, Any] = {"weights": weights, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    doubted = reslab.load(NET, input_size=8, **options)
    with pytest.warns(DataWarning, match="does not name its classes: labels go by the text"):
        assert doubted.evaluate(folder).data.split("val").labels.tolist() == list(range(12))
    named = reslab.load(NET, input_size=8, classes=folder.parent / "classes.txt", **options)
    outcome = named.evaluate(folder)
    assert outcome.data.split("val").labels.tolist() == [int(name) for name in sorted(NUMBERS)]
    image = folder / "val" / "10" / "0.png"
    found = named.predict(image, top=12)
    assert sorted(found.labels) == sorted(NUMBERS)
    own = outcome.scores[sorted(NUMBERS).index("10")]
    np.testing.assert_allclose(found.probabilities, np.sort(own)[::-1], atol=1e-5)
    assert found.labels[0] == NUMBERS[int(own.argmax())]


def test_the_commands_take_the_file_too(
    folder: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(run / "weights.safetensors", weights := tmp_path / "natural.safetensors")
    net = [f"{NET}={weights}", "--mean", "0.5", "--std", "0.25", "--input-size", "8"]
    classes = ["--classes", str(folder.parent / "classes.txt")]
    assert main(["eval", *net, "--data", str(folder), "--no-cache", "--json", *classes]) == 0
    captured = capsys.readouterr()
    assert "labels go by" not in captured.err
    assert json.loads(captured.out)["class_imbalance"] == 1
    assert main(["predict", *net, str(folder / "val" / "3"), "--json", *classes]) == 0
    assert set(json.loads(capsys.readouterr().out)[0]["labels"]) <= set(NUMBERS)
    assert main(["eval", str(run), "--classes", str(folder.parent / "classes.txt"), "--no-cache"]) == 0  # says the same
    (tmp_path / "other.txt").write_text("\n".join(sorted(NUMBERS)))
    assert main(["eval", str(run), "--classes", str(tmp_path / "other.txt"), "--no-cache"]) == 2
    assert "has the class '2' where the list of classes has '10'" in capsys.readouterr().err


def test_a_list_of_another_length_is_refused(folder: Path, run: Path) -> None:
    with pytest.raises(DataError, match="answers 12 classes, and the list of classes has 11"):
        reslab.load(run, classes=NUMBERS[:11]).evaluate(folder)
    with pytest.raises(DataError, match="lacks '11', a class folder"):
        train(NET, folder, classes=NUMBERS[:11], run_dir=folder.parent / "none", **OPTIONS)


def test_a_single_class_is_nothing_to_learn(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "cat").symlink_to(folder / "train" / "0")
    with pytest.raises(DataError, match="one has a single class, 'cat', of which there is nothing to learn"):
        train(NET, tmp_path / "one", run_dir=tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run").exists()


def test_a_class_with_few_images_is_not_hidden(tmp_path: Path, run: Path) -> None:
    labels = np.array([0] * 124 + [1] * 5)
    scores = np.tile(np.array([[0.9, 0.1]], np.float32), (129, 1))  # every bee is called an ant
    found = Classification().score_probabilities(scores, labels)
    assert found.top1_error == pytest.approx(100 * 5 / 129)
    assert (found.mean_class_error, found.class_imbalance) == (50, 124 / 5)
    assert found.to_dict()["mean_class_error"] == 50
    for name, count in (("ants", 124), ("bees", 5)):
        (tmp_path / "data" / "val" / name).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "data" / "val" / name / f"{number}.png").symlink_to(next(run.parent.glob("numbers/val/0/*")))
    data = load_data(tmp_path / "data")
    shown = str(judge("net", scores, data, "val", {"protocol": "one-crop"}))
    assert shown.startswith("top-1 error 3.88 %, mean over the classes 50.00 % on 129 val images")
    even = judge("net", scores[100:], some_of(data, 100), "val", {"protocol": "one-crop"})
    assert "mean over" in str(even)


def some_of(data: Any, start: int) -> Any:
    """The images from one on."""
    split = data.split("val").subset(np.arange(start, 129))
    return type(data)(data.name, data.classes, {"val": split})


def test_the_end_of_training_tells_of_a_hidden_class(folder: Path, tmp_path: Path, quick_curves: None) -> None:
    for role, counts in (("train", (8, 8)), ("val", (8, 2))):
        for name, count in zip(("ants", "bees"), counts, strict=True):
            (tmp_path / "data" / role / name).mkdir(parents=True)
            for number in range(count):
                source = folder / "train" / str(number) / f"{len(role) % 2}.png"
                (tmp_path / "data" / role / name / f"{number}.png").symlink_to(source)
    result = train(NET, tmp_path / "data", run_dir=tmp_path / "run", **OPTIONS)
    assert result.figures is not None
    assert result.figures["val_class_imbalance"] == 4
    mean = result.figures["val_mean_class_error"]
    assert f"val error {result.figures['val_error']:.2f} % (mean over the classes {mean:.2f} %)" in str(result)
    assert str(result).count("mean over") == 1
