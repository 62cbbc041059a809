"""`reslab quantize`, and `reslab eval` of what it writes."""

import json
import tarfile

import pytest

from reslab.cli.main import main
from reslab.models import create_model
from reslab.models.weights import save_weights

TINY = "resnet8[blocks=1,widths=16]"
QUICK = pytest.mark.usefixtures("operators_read_once", "short_turns")
AKAMASTER = ["resnet20[shortcut_padding=split]", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def cifar10_jpeg(shared, tmp_path_factory):
    """CIFAR-10 as JPEG files in class folders."""
    folder = tmp_path_factory.mktemp("data")
    with tarfile.open(shared / "data" / "cifar10-jpeg.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.rglob("train")
    return found.parent


@QUICK
def test_a_run_is_quantised_and_its_file_evaluated(finished, capsys):
    asked = ["quantize", str(finished), "--engine", "onnxruntime", "--images", "50", "--threads", "1"]
    assert main([*asked, "--max-drop", "-100", "--force", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("WARNING: this int8 network is worse than allowed, or no faster")
    report = json.loads(captured.out)
    file = finished / "model-int8.onnx"
    assert (report["path"], report["engine"], report["split"]) == (str(file), "onnxruntime", "val")
    assert report["calibration_images"] == 50
    assert report["num_bytes"] == file.stat().st_size
    assert report["error_rise"] == pytest.approx(report["int8_error"] - report["float32_error"])
    assert report["versions"].keys() == {"onnxruntime", "onnx"}
    asked = ["eval", str(file), "--data", "digits"]
    assert main([*asked, "--split", "val", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["top1_error"] == pytest.approx(report["int8_error"])
    assert (found["engine"], found["split"], found["num_images"]) == ("onnxruntime", "val", report["num_images"])
    assert len(found["file_sha256"]) == len(found["weights_sha256"]) == 64
    assert main([*asked, "--engine", "openvino", "--confusion", "confusion.png"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("test images of digits, one view each")
    assert second == "confusion.png"


@QUICK
def test_what_is_not_good_enough_is_refused_with_a_sentence(finished, capsys, tmp_path):
    asked = ["quantize", str(finished), "--engine", "onnxruntime", "--out", "int8.onnx", "--max-drop", "-100"]
    assert main(asked) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("reslab: the int8 network was not written: its top-1 error is")
    assert list(tmp_path.iterdir()) == []


WRONG = [
    (["quantize", TINY, "--data", "digits"], "has fresh weights, which have learned nothing; give --weights"),
    (["quantize", TINY, "--weights", "net.safetensors"], "calibrated on which images"),
    (["quantize", TINY, "--weights", "net.safetensors", "--data", "digits"], "does not say how its inputs were"),
    (["quantize", TINY, "--weights", "net.safetensors", "--data", "absent", "--mean", "0"], "no data at 'absent'"),
    (["quantize", TINY, "--weights", "absent.pth", "--data", "digits", "--mean", "0"], "no weight file absent.pth"),
    (["quantize", TINY, "--weights", "net.safetensors", "--data", "photos", "--mean", "0"], "photos"),
    (["quantize", "."], ". is not the folder of a run"),
    (["eval", "net.onnx", "--data", "digits"], "there is no file net.onnx"),
    (["eval", "net.onnx"], "on which images"),
    (["eval", "net.onnx", "--data", "digits", "--mean", "0"], "--mean is for a model's name"),
    (["eval", "bad.xml", "--data", "digits"], "needs bad.bin beside it"),
    (["eval", TINY, "--weights", "net.safetensors", "--data", "digits", "--engine", "openvino"], "--engine is for"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_a_mistake_gives_a_sentence(arguments, message, capsys, tmp_path):
    from PIL import Image

    model = create_model(TINY, in_channels=1)
    save_weights(model, tmp_path / "saved", {})
    (tmp_path / "saved" / "weights.safetensors").rename(tmp_path / "net.safetensors")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "unlabelled.png")
    (tmp_path / "bad.xml").write_text("<net/>")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("reslab: ")
    assert message in captured.err


@QUICK
def test_a_file_for_other_images_is_refused(finished, capsys, tmp_path, rng):
    from PIL import Image

    assert main(["export", "onnx", str(finished), "--out", "net.onnx"]) == 0
    for index in range(10):
        folder = tmp_path / "data" / "test" / str(index)
        folder.mkdir(parents=True)
        Image.new("L", (20, 20)).save(folder / "0.png")
    capsys.readouterr()
    assert main(["eval", "net.onnx", "--data", "data"]) == 2
    assert "net.onnx takes images of 16x16x1, but those of data are 20x20x1." in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("engine", "name"), [("openvino", "int8.xml"), ("onnxruntime", "int8.onnx")])
def test_akamasters_resnet20_loses_at_most_half_a_point(engine, name, shared, cifar10_jpeg, capsys):
    """18.97 % in float32 on these images, which are JPEGs of CIFAR-10's test images."""
    weights = str(shared / "weights" / "akamaster-resnet20-12fca82f.th")
    asked = ["quantize", *AKAMASTER, "--weights", weights, "--data", str(cifar10_jpeg), "--engine", engine]
    assert main([*asked, "--out", name]) == 0
    written, errors, speed = capsys.readouterr().out.splitlines()
    assert written.startswith(f"{name}: ")
    assert "10,000 train images of" in errors
    assert "which the network was trained on; they agree on" in errors
    assert speed.endswith(f"times as fast in {engine}, batches of 32")
    assert main(["eval", name, "--data", str(cifar10_jpeg), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["num_images"] == 10_000
    assert found["top1_error"] <= 19.47
