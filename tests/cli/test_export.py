"""`reslab export`, as a function: its words, its files and its mistakes."""

import json
import shutil
import sys

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

from reslab.cli.main import main
from reslab.deploy import Preprocessing, load_deployed
from reslab.deploy.engines import quiet_import
from reslab.models import create_model
from reslab.trained import load_trained

onnxruntime = quiet_import("onnxruntime")  # without its telemetry

TINY = "resnet8[blocks=1,widths=8]"
pytestmark = pytest.mark.usefixtures("operators_read_once")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_fresh_weights_are_exported_and_called_fresh(capsys, tmp_path):
    assert main(["export", "onnx", TINY, "--input-size", "16", "--out", "net.onnx"]) == 0
    captured = capsys.readouterr()
    first, second = captured.out.splitlines()
    assert first.startswith("net.onnx: ")
    assert "kB, opset 18, " in first
    assert first.endswith("images (batch, 3, 16, 16)")
    assert second.startswith("Agrees with PyTorch on batches of 1, 2 and 3 random images: largest difference ")
    assert "fresh, random weights, which have learned nothing" in captured.err
    assert captured.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_a_run_is_exported_with_what_its_inputs_need(finished, capsys):
    assert main(["export", "onnx", str(finished), "--input", "float", "--json"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert captured.err == ""
    assert (report["path"], report["weights"]) == (str(finished / "model.onnx"), str(finished))
    assert report["input_shape"] == [1, 16, 16]
    assert report["largest_difference"] <= report["tolerance"] * report["largest_logit"]
    trained = load_trained(finished)
    kept = {entry.key: entry.value for entry in onnx.load(finished / "model.onnx").metadata_props}
    assert tuple(json.loads(kept["reslab.classes"])) == trained.classes
    assert json.loads(kept["reslab.normalization"]) == trained.normalization.to_dict()
    assert kept["reslab.weights_sha256"] == trained.sha256
    images = np.random.default_rng(0).normal(size=(4, 1, 16, 16)).astype(np.float32)
    (found,) = onnxruntime.InferenceSession(finished / "model.onnx").run(None, {"images": images})
    with torch.no_grad():
        expected = trained.model.eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("kind", "name"), [("onnx", "model.onnx"), ("openvino", "model.xml")])
def test_a_runs_file_takes_pixels_and_says_how_they_are_made(kind, name, finished, digits, capsys):
    assert main(["export", kind, str(finished)]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("images (batch, 16, 16, 1) uint8")
    trained = load_trained(finished)
    images = digits.split("test").images[:20]
    with torch.no_grad():
        expected = trained.model.eval()(torch.from_numpy(trained.normalization(images)).permute(0, 3, 1, 2)).numpy()
    with load_deployed(finished / name) as deployed:
        np.testing.assert_allclose(deployed(images), expected, atol=1e-4 * np.abs(expected).max())
        assert deployed.classes == trained.classes
        assert deployed.preprocessing == Preprocessing(height=16, width=16, channels=1, resize=16)
        assert deployed.metadata["reslab.weights_sha256"] == trained.sha256
        assert json.loads(deployed.metadata["reslab.normalization"]) == trained.normalization.to_dict()


def test_a_mean_for_every_pixel_needs_the_runs_size(finished, capsys):
    assert main(["export", "onnx", str(finished), "--input-size", "20", "--out", "net.onnx"]) == 2
    assert "the normalisation is for images of shape 16x16x1" in capsys.readouterr().err
    assert main(["export", "onnx", str(finished), "--mean", "0.5"]) == 2
    assert f"--mean is for weight files without a card; {finished} says it itself" in capsys.readouterr().err


def test_a_weight_file_is_exported(capsys, tmp_path):
    model = create_model(TINY, num_classes=3)
    save_file(model.state_dict(), tmp_path / "net.safetensors")
    arguments = ["export", "torch-export", TINY, "--weights", "net.safetensors", "--input-size", "16"]
    assert main(arguments) == 2
    assert "3 classes in the file, 10 in the model. Give --num-classes as in the file." in capsys.readouterr().err
    assert main([*arguments, "--num-classes", "3"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "opset" not in captured.out
    name = "resnet8-blocks-1-widths-8-num_classes-3.pt2"
    assert captured.out.startswith(f"{name}: ")
    images = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load(name).module()(images), model.eval()(images))


def test_help_names_all_formats(capsys):
    assert main(["export"]) == 0
    text = capsys.readouterr().out
    assert all(f"reslab export {name}" in text for name in ("onnx", "openvino", "torch-export"))


WRONG = [
    (["tensorflow", "resnet20"], "no command `reslab export tensorflow`; there are onnx, openvino, torch-export"),
    (["onnx", "resnet21"], "did you mean"),
    (["onnx", "resnet20", "--weights", "absent.pth"], "no weight file absent.pth"),
    (["onnx", "resnet20", "--weights", "absent"], "no weights 'absent'"),
    (["onnx", "."], ". is not the folder of a run"),
    (["onnx", "runs/absent"], "there is no folder runs/absent"),
    (["onnx", TINY, "--out", "."], ". is a folder"),
    (["onnx", TINY, "--out", "net.pb"], "must end in .onnx"),
    (["torch-export", TINY, "--out", "net.onnx"], "must end in .pt2"),
    (["onnx", TINY, "--out", "file/net.onnx"], "cannot write file/net.onnx"),
    (["openvino", TINY, "--out", "net.onnx"], "must end in .xml"),
    (["onnx", TINY, "--input", "uint8"], "does not say how its inputs were normalised; give --mean"),
    (["onnx", TINY, "--std", "1"], "--std needs --mean too"),
    (["onnx", TINY, "--mean", "a"], "--mean must be numbers, joined by commas, not a"),
    (["onnx", TINY, "--mean", "0.5,0.5"], "mean has 2 numbers and the images have 3 channels"),
    (["onnx", TINY, "--opset", "9"], "must be between 18 and"),
    (["onnx", TINY, "--input-size", "0"], "--input-size must be a whole number from 1 to 16,384, not 0"),
    (["torch-export", "resnet8[shortcut=avgpool]", "--input-size", "15"], "15x15 images do not fit"),
    (["onnx", "vgg16[widths=8-8-8-8-8]", "--input-size", "8"], "8x8 images do not fit"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_a_mistake_gives_a_sentence_and_no_file(arguments, message, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["export", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("reslab: ")
    assert message in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_that_is_not_finished_or_is_described_anew_is_refused(finished, capsys, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "card.json").unlink()
    assert main(["export", "onnx", "run"]) == 2
    assert "the run is not finished" in capsys.readouterr().err
    assert main(["export", "onnx", str(finished), "--num-classes", "3"]) == 2
    assert "--num-classes is for weight files without a card" in capsys.readouterr().err


def test_missing_libraries_get_a_sentence(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", "onnx", TINY]) == 2
    assert "needs onnxscript: pip install 'reslab[deploy]'" in capsys.readouterr().err
