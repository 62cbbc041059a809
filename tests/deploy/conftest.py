"""A small trained network, exported and quantised once for all that is asked of the files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from reslab.data.normalization import Normalization
from reslab.deploy import Preprocessing
from reslab.deploy.engine_files import ENGINE_FILES
from reslab.models import create_model
from reslab.trained import Description, Trained

NET = "resnet8[blocks=1-1,widths=16-32,in_channels=1]"


@dataclass(frozen=True)
class Files:
    """The same network as files, and the network."""

    trained: Trained
    folder: Path

    @property
    def float32(self):
        return {"onnxruntime": self.folder / "net.onnx", "openvino": self.folder / "net.xml"}

    @property
    def int8(self):
        return {"onnxruntime": self.folder / "int8.onnx", "openvino": self.folder / "int8.xml"}


def train(split, normalization):
    """A net that knows the digits well enough after some seconds, so that int8 can be better or worse."""
    torch.manual_seed(0)
    model = create_model(NET).train()
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
    return model


@pytest.fixture(scope="session", autouse=True)
def quick_exports(operators_read_once):
    """For all tests of this folder."""


@pytest.fixture(scope="session")
def small_net(digits, made_once):
    """A `Trained` that knows the digits, with a mean for every pixel."""
    split = digits.split("train")
    normalization = Normalization.measure(split.images, "per-pixel-mean")
    folder = made_once("small_net", lambda folder: torch.save(train(split, normalization).state_dict(), folder / "net"))
    model = create_model(NET)
    model.load_state_dict(torch.load(folder / "net"))
    preprocessing = Preprocessing(height=16, width=16, channels=1, resize=16)
    about = Description(
        name="a small net",
        model=NET,
        preprocessing=preprocessing,
        sees_whole=True,
        num_classes=10,
        classes=digits.classes,
        normalization=normalization,
    )
    return Trained(model.eval(), about)


@pytest.fixture(scope="session")
def files(small_net, digits, made_once):
    def make(folder):
        made = Files(small_net, folder)
        for engine, files in ENGINE_FILES.items():
            files.export(small_net, made.float32[engine])
            files.quantize(made.float32[engine], [digits.split("train").images[:100]], made.int8[engine])

    return Files(small_net, made_once("deployed", make))
