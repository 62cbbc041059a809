"""A small trained network, exported and quantised once for all that is asked of the files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from reslab.data.normalization import Normalization
from reslab.deploy import Preprocessing, Source, export_onnx, export_openvino, quantize_onnx, quantize_openvino
from reslab.models import create_model


@dataclass(frozen=True)
class Files:
    """The same network as files, and the network."""

    source: Source
    folder: Path

    @property
    def float32(self):
        return {"onnxruntime": self.folder / "net.onnx", "openvino": self.folder / "net.xml"}

    @property
    def int8(self):
        return {"onnxruntime": self.folder / "int8.onnx", "openvino": self.folder / "int8.xml"}


def trained_on(split, normalization, classes):
    """A net that knows the digits well enough after some seconds, so that int8 can be better or worse."""
    torch.manual_seed(0)
    model = create_model("resnet8[blocks=1-1,widths=16-32,in_channels=1]").train()
    steps = 120
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=steps)
    generator = np.random.default_rng(0)
    for _ in range(steps):
        chosen = generator.integers(0, len(split), 64)
        images = torch.from_numpy(normalization(split.images[chosen])).permute(0, 3, 1, 2)
        loss = torch.nn.functional.cross_entropy(model(images), torch.from_numpy(split.labels[chosen]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    preprocessing = Preprocessing(height=16, width=16, channels=1, resize=16)
    return Source("a small net", model.eval(), preprocessing, normalization, classes, None)


@pytest.fixture(scope="session")
def small_net(digits):
    """A `Source` that knows the digits, with a mean for every pixel."""
    train = digits.split("train")
    return trained_on(train, Normalization.measure(train.images, "per-pixel-mean"), digits.classes)


@pytest.fixture(scope="session")
def files(small_net, digits, tmp_path_factory):
    made = Files(small_net, tmp_path_factory.mktemp("deployed"))
    about = {"normalization": small_net.normalization, "image_size": (16, 16), "metadata": small_net.metadata()}
    export_onnx(small_net.model, made.float32["onnxruntime"], **about)
    export_openvino(small_net.model, made.float32["openvino"], **about)
    calibration = [digits.split("train").images[:100]]
    quantize_onnx(made.float32["onnxruntime"], calibration, made.int8["onnxruntime"])
    quantize_openvino(made.float32["openvino"], calibration, made.int8["openvino"])
    return made
