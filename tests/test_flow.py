"""From training to labels, through the command line and through Python: the same numbers and the same bytes."""

import json
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

import reslab
from reslab.cli.main import main
from reslab.deploy import Gate
from reslab.evaluation.measured_run import measure_run
from reslab.models.conversion import convert_weights

pytestmark = pytest.mark.usefixtures("operators_read_once", "short_turns")
WEIGHTS = "weights.safetensors"
# Whatever the speeds and errors are on this machine and after so short a training.
ANY = Gate(max_drop=100, force=True, threads=1)


@pytest.fixture
def said(capsys):
    """Runs a command that succeeds, and gives the JSON that it prints."""

    def say(*arguments):
        assert main([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return say


def same_figures(one, other):
    """Whether records of two ways are the same but for where their files are."""
    names = ("top1_error", "top5_error", "loss", "num_images", "calibration_error", "data_sha256", "weights_sha256")
    assert {name: one.get(name) for name in names} == {name: other.get(name) for name in names}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_network_of_small_images_goes_the_whole_way_in_both_ways_alike(said, trained, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(trained / "run", "cli")
    result = json.loads((trained / "out").read_text())
    done = reslab.train("resnet8", "digits", iterations=60, fields={"hardware.threads": "1"}, run_dir="python")
    assert read("cli", WEIGHTS) == read("python", WEIGHTS)
    assert {name: done.figures[name] for name in ("train_error", "val_error")} == {
        name: result[name] for name in ("train_error", "val_error")
    }

    one, other = said("eval", "cli"), reslab.load("python").evaluate()
    same_figures(one, other.record)
    assert (one["split"], one["num_images"]) == ("test", 360)

    one, other = said("precise-bn", "cli", "--out", "cli-precise"), measure_run("python", out="python-precise")
    assert (one["val_error_before"], one["val_error_after"]) == (other.val_error_before, other.val_error_after)
    assert one["val_error_before"] == result["val_error"]
    assert read("cli-precise", WEIGHTS) == read("python-precise", WEIGHTS) != read("cli", WEIGHTS)
    one, other = said("eval", "cli-precise", "--data", "digits"), reslab.load("python-precise").evaluate("digits")
    same_figures(one, other.record)
    # Weights beside their card are a network, too.
    same_figures(one, reslab.load(f"cli-precise/{WEIGHTS}").evaluate("digits").record)

    for number in range(3):
        Image.fromarray(digits.split("test").images[number, ..., 0]).save(f"{number}.png")
    files = ("0.png", "1.png", "2.png")
    expected = said("predict", "cli", *files)
    with reslab.load("python", threads=1) as network:
        found = network.predict(files)
    assert [entry.labels for entry in found] == [tuple(entry["labels"]) for entry in expected]
    np.testing.assert_allclose(
        [entry.probabilities for entry in found], [entry["probabilities"] for entry in expected], atol=1e-6
    )

    tested = said("eval", "cli")["top1_error"]
    for format, suffix in (("onnx", "onnx"), ("openvino", "xml")):
        one = said("export", format, "cli", "--out", f"cli.{suffix}")
        other = reslab.load("python").export(f"python.{suffix}")
        for name in ("largest_difference", "largest_logit", "num_nodes", "input_shape"):
            assert one[name] == json.loads(json.dumps(other.to_dict()))[name]
        same_answers(said, f"cli.{suffix}", f"python.{suffix}", files, expected)
        assert said("eval", f"cli.{suffix}", "--data", "digits")["top1_error"] == tested
    assert read(".", "cli.onnx") == read(".", "python.onnx")
    # OpenVINO numbers operations from the start of the process, in the .xml; the weights are in the .bin.
    assert read(".", "cli.bin") == read(".", "python.bin")

    gate = ("--max-drop", 100, "--force", "--threads", 1, "--images", 40)
    one = said("quantize", "cli", "--engine", "onnxruntime", *gate, "--out", "cli-int8.onnx")
    other = reslab.load("python").quantize("python-int8.onnx", engine="onnxruntime", num_images=40, gate=ANY)
    for name in ("model", "int8_error", "float32_error", "agreement", "num_bytes", "calibration_images"):
        assert one[name] == other.to_dict()[name]
    assert one["float32_error"] == result["val_error"]
    same_answers(said, "cli-int8.onnx", "python-int8.onnx", files)

    one = said("convert", "cli", "--to", "timm", "--out", "cli-timm.safetensors")
    other = convert_weights("python", to="timm", out="python-timm.safetensors")
    assert one["matched"] == other.loaded.num_matched
    assert read(".", "cli-timm.safetensors") == read(".", "python-timm.safetensors")
    # Without its card nobody knows how it sees images; classes and channels are the data's.
    back = said("eval", "resnet8=cli-timm.safetensors", "--data", "digits", "--mean", "0.3", "--no-cache")
    assert (back["num_images"], back["normalization"]["mean"]) == (360, [pytest.approx(0.3)])


def read(*path):
    with open("/".join(path), "rb") as stream:
        return stream.read()


def same_answers(said, one, other, files, expected=None):
    """Two files say the same, at the command line and in Python; and what was expected."""
    record = said("eval", one, "--data", "digits")
    same_figures(record, reslab.load(other, threads=1).evaluate("digits").record)
    first, second = said("predict", one, *files), said("predict", other, *files)
    assert first == second
    if expected is not None:
        assert [entry["labels"][0] for entry in first] == [entry["labels"][0] for entry in expected]
        np.testing.assert_allclose(
            [entry["probabilities"] for entry in first], [entry["probabilities"] for entry in expected], atol=1e-4
        )
    with reslab.load(one, threads=1) as network:
        assert [entry.labels for entry in network.predict(files)] == [tuple(entry["labels"]) for entry in first]


# Photos


@pytest.fixture(scope="session")
def insects(shared, made_once):
    """Ants and bees: twelve photos of each to train with, and six for validation."""

    def fill(folder):
        with tarfile.open(shared / "data" / "hymenoptera.tar") as archive:
            for role, count in (("train", 12), ("val", 6)):
                for name in ("ants", "bees"):
                    (folder / role / name).mkdir(parents=True)
                    within = f"hymenoptera_data/{role}/{name}/"
                    paths = sorted(path for path in archive.getnames() if path.startswith(within))
                    for path in [path for path in paths if path.endswith(".jpg")][:count]:
                        (folder / role / name / path.rpartition("/")[2]).write_bytes(archive.extractfile(path).read())

    return made_once("insects", fill)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_network_of_photos_gives_the_same_answers_whatever_it_is_run_by(said, insects, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sizes = ("--train-size", 32, "--data.images.test-size", 32, "--data.images.test-resize", 36)
    # No --recipe: a folder of photos decides for `photos` itself.
    said(
        "train", "resnet18[widths=8-16-32-64]", "--data", insects, *sizes, "--iterations", 6, "--batch-size", 8,
        "--hardware.workers", 0, "--hardware.threads", 1, "--run-dir", "run", "--quiet",
    )  # fmt: skip
    assert json.loads(read("run", "run.json"))["recipe"]["name"] == "photos"

    tested = said("eval", "run", "--no-cache")
    assert (tested["split"], tested["num_images"]) == ("val", 12)
    assert (tested["protocol_fields"]["resize"], tested["protocol_fields"]["crop"]) == (36, [32, 32])
    files = sorted(insects.glob("val/*/*.jpg"))
    with reslab.load("run", threads=1) as network:
        expected = network.predict(files, top=2)
    wrong = [entry.labels[0] != path.parent.name for entry, path in zip(expected, files, strict=True)]
    assert tested["top1_error"] == pytest.approx(100 * np.mean(wrong))

    names = []
    for format, suffix in (("onnx", "onnx"), ("openvino", "xml")):
        assert said("export", format, "run")["input_shape"] == [32, 32, 3]
        names.append(f"run/model.{suffix}")
    gate = ("--max-drop", 100, "--force", "--threads", 1, "--images", 24)
    report = said("quantize", "run", *gate)
    assert (report["split"], report["calibration_images"]) == ("val", 24)
    for name in names:
        found = said("eval", name, "--data", insects)
        assert (found["top1_error"], found["data_sha256"]) == (tested["top1_error"], tested["data_sha256"])
        assert found["loss"] == pytest.approx(tested["loss"], rel=1e-3)
    int8 = said("eval", report["path"], "--data", insects)
    assert int8["top1_error"] == report["int8_error"]

    for name in ("run", *names):
        with reslab.load(name, threads=1) as network:
            assert network.about.classes == ("ants", "bees")
            same_labels(network.predict(insects / "val", top=2), expected)  # all of a folder
            same_labels(network.predict([path.read_bytes() for path in files], top=2), expected)
            opened = [Image.open(path) for path in files]
            same_labels(network.predict(opened, top=2), expected)
            # An array has no note of how the camera was held; these photos have none either.
            same_labels(network.predict([np.asarray(image.convert("RGB")) for image in opened], top=2), expected)
            single = network.predict(str(files[0]), top=2)
            assert (single.path, single.labels) == (files[0], expected[0].labels)

    measured = said("precise-bn", "run", "--out", "precise", "--images", 24)
    assert (measured["num_images"], measured["val_error_before"]) == (24, tested["top1_error"])
    again = said("eval", "precise", "--data", insects)
    assert again["top1_error"] == measured["val_error_after"]
    assert said("eval", "run", "--no-cache")["loss"] == tested["loss"]  # nothing of all this has changed the run


def same_labels(found, expected):
    assert [entry.labels for entry in found] == [entry.labels for entry in expected]
    np.testing.assert_allclose(
        [entry.probabilities for entry in found], [entry.probabilities for entry in expected], atol=1e-3
    )
