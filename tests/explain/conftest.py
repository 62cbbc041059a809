"""Small networks of each kind with random statistics, so that no layer is the identity, and a run on the digits."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import reslab
from reslab.data.normalization import Normalization
from reslab.data.preprocessing import Preprocessing
from reslab.models import create_model
from reslab.trained import Description, Trained


@pytest.fixture(scope="session")
def network_of() -> Callable[..., Trained]:
    """Makes a network with fresh weights, whose norms have statistics as if it had been trained."""

    def make(spelling: str, side: int = 32, channels: int = 3) -> Trained:
        torch.manual_seed(0)
        model = create_model(spelling)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.2)
        about = Description(
            name=spelling,
            model=spelling,
            preprocessing=Preprocessing(height=side, width=side, channels=channels, resize=side),
            sees_whole=True,
            num_classes=model.num_classes,
            classes=tuple(f"class {number}" for number in range(model.num_classes)),
            normalization=Normalization.per_channel((0.4,) * channels, (0.25,) * channels, channels),
        )
        return Trained(model.eval(), about)

    return make


@pytest.fixture
def pixels(rng: np.random.Generator) -> Callable[..., np.ndarray]:
    """Makes random images with some structure, (N, side, side, C) uint8."""

    def make(count: int, side: int = 32, channels: int = 3) -> np.ndarray:
        coarse = rng.integers(0, 256, (count, side // 4, side // 4, channels), dtype=np.uint8)
        return coarse.repeat(4, axis=1).repeat(4, axis=2)

    return make


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small net's run on the digits, for one file's tests to write into."""
    return shutil.copytree(trained / "run", tmp_path_factory.mktemp("explain") / "run")


@pytest.fixture(scope="module")
def network(run: Path) -> Iterator["reslab.Network"]:
    """That run, as Python has it."""
    with reslab.load(run, threads=1) as found:
        yield found


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No scores of other tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
