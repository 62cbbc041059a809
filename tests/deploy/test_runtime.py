"""Deployed files in both engines: what they compute, and what becomes of files that are damaged or not ours."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, top_k_accuracy_score

from reslab.deploy import DeployError, deploy_network, evaluate_deployed, load_deployed
from reslab.deploy.engines import quiet_import
from reslab.deploy.evaluation import deployed_outcome
from reslab.errors import DataError
from reslab.evaluation import evaluate

onnxruntime = quiet_import("onnxruntime")  # without its telemetry

ENGINES = ["onnxruntime", "openvino"]


@pytest.fixture(scope="module")
def images(digits):
    return digits.split("test").images


@pytest.fixture(scope="module")
def expected(files, images):
    """What PyTorch makes of them, normalised by hand."""
    normalization = files.trained.about.normalization
    normalized = (images / 255 - normalization.mean.astype(np.float64)) / normalization.std
    with torch.no_grad():
        return files.trained.model(torch.from_numpy(normalized.transpose(0, 3, 1, 2).astype(np.float32))).numpy()


@pytest.mark.parametrize(("suffix", "engine"), [("onnxruntime", None), ("onnxruntime", "openvino"), ("openvino", None)])
def test_a_file_computes_what_the_network_computes(suffix, engine, files, images, expected):
    with load_deployed(files.float32[suffix], engine, threads=1) as deployed:
        assert deployed.engine == (engine or suffix)
        for size in (1, 3, 360):
            np.testing.assert_allclose(deployed(images[:size]), expected[:size], atol=1e-4 * np.abs(expected).max())


def test_pytorch_is_behind_the_same_interface(files, images, expected):
    with deploy_network(files.trained, threads=1) as deployed:
        np.testing.assert_allclose(deployed(images), expected, atol=1e-4 * np.abs(expected).max())
        assert deployed.preprocessing == files.trained.about.preprocessing


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stream_keeps_the_order_of_batches_of_any_size(engine, files, images):
    batches = [images[:1], images[1:40], images[40:41], images[41:100], images[100:103]]
    with load_deployed(files.int8[engine], threads=2) as deployed:
        found = list(deployed.stream(iter(batches), ahead=3))
        assert [len(logits) for logits in found] == [len(batch) for batch in batches]
        np.testing.assert_allclose(np.concatenate(found), deployed(images[:103]), atol=1e-5)
        assert list(deployed.stream(())) == []


def test_onnxruntime_alone_gives_the_same_logits(files, images):
    session = onnxruntime.InferenceSession(files.int8["onnxruntime"], providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images})
    with load_deployed(files.int8["onnxruntime"]) as deployed:
        np.testing.assert_array_equal(deployed(images), logits)


@pytest.mark.parametrize("engine", ENGINES)
def test_error_rates_are_those_of_the_network_and_of_scikit_learn(engine, files, digits):
    split = digits.split("test")
    with load_deployed(files.float32[engine]) as deployed:
        found = evaluate_deployed(deployed, split, batch_size=50)
        logits = np.concatenate([deployed(split.images[:200]), deployed(split.images[200:])])
    ours = evaluate(files.trained.model, split, files.trained.about.normalization)
    assert (found.top1_error, found.top5_error) == (ours.top1_error, ours.top5_error)
    np.testing.assert_array_equal(found.confusion, ours.confusion)
    assert found.loss == pytest.approx(ours.loss, rel=1e-4)
    assert found.top1_error == pytest.approx(100 * (1 - accuracy_score(split.labels, logits.argmax(axis=1))))
    assert found.top5_error == pytest.approx(100 * (1 - top_k_accuracy_score(split.labels, logits, k=5)))
    assert found.loss == pytest.approx(log_loss(split.labels, torch.from_numpy(logits).double().softmax(1).numpy()))
    np.testing.assert_array_equal(found.confusion, confusion_matrix(split.labels, logits.argmax(axis=1)))


def test_images_of_another_shape_or_type_are_refused(files, images, tiny_data, digits):
    with load_deployed(files.float32["onnxruntime"]) as deployed:
        for wrong in (images[0], images.astype(np.float32), images[:, :8], np.repeat(images, 3, axis=3)):
            with pytest.raises(DataError, match="takes uint8 images of shape 16x16x1, not"):
                deployed(wrong)
        with pytest.raises(DataError, match="no images"):
            deployed(images[:0])
        with pytest.raises(DataError, match=r"takes images of 16x16x1, but those of tiny are 8x8x1"):
            deployed_outcome(deployed, tiny_data(num_classes=10, channels=1))
        with pytest.raises(DataError, match=r"tiny has the class 'class0', which the network does not know.*knows '0'"):
            deployed.about.fit(tiny_data(size=16, channels=1))
        assert deployed.about.fit(digits).classes == digits.classes


def rewritten(path, target, **changes):
    """A copy of an ONNX file with other metadata; None leaves an entry out."""
    content = onnx.load(path)
    metadata = {entry.key: entry.value for entry in content.metadata_props}
    metadata |= {f"reslab.{key}": value for key, value in changes.items()}
    del content.metadata_props[:]
    helper.set_model_props(content, {key: value for key, value in metadata.items() if value is not None})
    onnx.save(content, target)
    return target


OTHERS = {"height": 17, "width": 16, "channels": 1, "resize": 16, "interpolation": "bilinear"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preprocessing": None}, "does not say how its input is made"),
        ({"preprocessing": "{"}, "cannot read the preprocessing"),
        ({"preprocessing": "[" * 100_000}, "cannot read the preprocessing"),
        ({"preprocessing": "[]"}, "cannot read the preprocessing"),
        ({"preprocessing": json.dumps({**OTHERS, "height": 1e99})}, "must be whole numbers"),
        ({"preprocessing": json.dumps({**OTHERS, "resize": 4})}, "hold no crop"),
        ({"preprocessing": json.dumps(OTHERS)}, "takes images of another shape than it says"),
        ({"classes": '["a", "b"]'}, "does not say which 10 classes"),
        ({"classes": json.dumps([1] * 10)}, "does not say which 10 classes"),
        ({"classes": "7"}, "does not say which 10 classes"),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_contradicts_itself_gets_a_sentence(engine, changes, message, files, tmp_path):
    path = rewritten(files.float32["onnxruntime"], tmp_path / "net.onnx", **changes)
    with pytest.raises((DeployError, DataError), match=message):
        load_deployed(path, engine)


def test_a_file_that_reads_other_files_is_refused(files, tmp_path):
    content = onnx.load(files.float32["onnxruntime"])
    tensor = content.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    (tmp_path / "net.onnx").write_bytes(content.SerializeToString())
    with pytest.raises(DeployError, match="keeps its weights in other files"):
        load_deployed(tmp_path / "net.onnx")


DAMAGES = {
    "empty": lambda content: b"",
    "text": lambda content: b"hello, I am a text",
    "cut": lambda content: content[: len(content) // 2],
    "zip": lambda content: b"PK\x03\x04" + content,
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["net.onnx", "net.xml", "net.bin"])
def test_a_damaged_file_gets_a_sentence(name, damage, files, tmp_path, capfd):
    for suffix in (".onnx", ".xml", ".bin"):
        shutil.copy(files.folder / f"net{suffix}", tmp_path)
    path = tmp_path / name
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    for engine in ENGINES if name == "net.onnx" else ["openvino"]:
        with pytest.raises(DeployError) as caught:
            load_deployed(path if name != "net.bin" else tmp_path / "net.xml", engine)
        message = str(caught.value)
        assert "\n" not in message
        assert name in message or "net.xml" in message
    assert capfd.readouterr() == ("", "")


def test_missing_files_and_wrong_engines_get_a_sentence(files, tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    shutil.copy(files.float32["openvino"], tmp_path / "lonely.xml")
    (tmp_path / "closed.onnx").symlink_to(tmp_path / "closed.onnx")
    for path, engine, message in (
        (tmp_path / "absent.onnx", None, "there is no file"),
        (tmp_path / "folder.onnx", None, "there is no file"),
        (tmp_path / "closed.onnx", None, "there is no file"),
        (tmp_path / "lonely.xml", None, "needs lonely.bin beside it"),
        (tmp_path / "net.pt2", None, "ends in .onnx or .xml"),
        (files.float32["openvino"], "onnxruntime", "which is OpenVINO's"),
        (files.float32["openvino"], "tensorrt", "there is no engine 'tensorrt'"),
    ):
        with pytest.raises(DeployError, match=message):
            load_deployed(path, engine)
    with pytest.raises(DeployError, match="must be positive"):
        load_deployed(files.float32["openvino"], threads=0)


@pytest.mark.parametrize(("engine", "library"), [("openvino", "openvino"), ("onnxruntime", "onnxruntime")])
def test_missing_libraries_get_a_sentence(engine, library, files, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DeployError, match=f"needs {library}: pip install"):
        load_deployed(files.float32[engine])


PRIVATE = """
import socket, sys
asked = []
def refuse(*arguments):
    asked.append(arguments)
    raise OSError("no connection")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
import time
import numpy as np
from pathlib import Path
from reslab.deploy import load_deployed, quantize_onnx, quantize_openvino
folder, out, images = Path(sys.argv[1]), Path(sys.argv[2]), np.zeros((4, 16, 16, 1), np.uint8)
quantize_onnx(folder / "net.onnx", [images], out / "private.onnx")
quantize_openvino(folder / "net.xml", [images], out / "private.xml")
for name in ("private.onnx", "private.xml"):
    with load_deployed(out / name) as deployed:
        deployed(images)
time.sleep(1)  # a sender would be another thread
print(asked, list(Path.home().rglob("*")))
"""


def test_no_connection_is_opened_and_nothing_is_left_at_home(files, tmp_path):
    """In a process of its own, since NNCF sends nothing under pytest anyway."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PRIVATE, str(files.folder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert done.stderr == ""
    assert done.stdout == "[] []\n"


SIGNALLED = """
import os, signal, sys, threading
from reslab.deploy import load_deployed
signal.signal(signal.SIGUSR1, lambda *_: print("noted"))
loaded = [load_deployed(sys.argv[1], sys.argv[2], threads=1)]
last_user = threading.Thread(target=lambda: loaded.pop().close())
last_user.start()
last_user.join()
os.kill(os.getpid(), signal.SIGUSR1)
print("alive")
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_signals_are_handled_after_another_thread_has_dropped_the_last_network(engine, files):
    """OpenVINO's Core lends its first thread a stack for signals, which it must not free elsewhere."""
    command = [sys.executable, "-c", SIGNALLED, str(files.float32[engine]), engine]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, "noted\nalive\n", "")
