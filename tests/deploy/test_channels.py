"""Exports of networks for other images than RGB: their input is float, and the file is compared as ever."""

import numpy as np
import pytest
import torch

import reslab
from reslab.cli.main import main
from reslab.deploy.engines import quiet_import
from reslab.errors import DataError

onnxruntime = quiet_import("onnxruntime")  # without its telemetry


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_float_files_of_any_number_of_channels(channels, tmp_path):
    network = reslab.load(f"resnet8[widths=4-4-4,in_channels={channels}]", input_size=16)
    report = network.export(tmp_path / "net.onnx", input="float")
    assert report.input_shape == (channels, 16, 16)
    images = np.random.default_rng(0).normal(size=(5, channels, 16, 16)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (logits,) = session.run(None, {"images": images})
    with torch.no_grad():
        np.testing.assert_allclose(logits, network.trained.model(torch.from_numpy(images)), atol=1e-4)


def test_the_command_writes_them_and_predict_says_what_images_give(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "onnx", "resnet8[in_channels=4,widths=4-4-4]", "--input", "float", "--out", "net.onnx"]) == 0
    assert "images (batch, 4, 32, 32)" in capsys.readouterr().out
    network = reslab.load("resnet8[in_channels=4,widths=4-4-4]", mean=(0.5,), std=(0.5,))
    with pytest.raises(DataError, match="image files give 1 channel or 3, and the network takes 4"):
        network.predict(np.zeros((32, 32, 3), np.uint8))
