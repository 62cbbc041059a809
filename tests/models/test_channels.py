"""Grey images for RGB weights, and the other way round."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from reslab.errors import WeightsError
from reslab.models import create_model
from reslab.models.channels import adapt_channels
from reslab.models.weights import ChannelsAdaptedWarning, load_weights
from reslab.training.start import train

NET = "resnet8[widths=4-4-4,in_channels={}]"


def make(channels: int, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return create_model(NET.format(channels)).eval()


@pytest.mark.parametrize(("had", "has"), [(3, 1), (1, 3), (3, 4), (3, 2), (1, 2), (4, 1)])
def test_equal_channels_give_the_same_logits(had: int, has: int) -> None:
    theirs, ours = make(had), make(has, seed=1)
    with pytest.warns(ChannelsAdaptedWarning, match=f"{had} channels in the file, {has} in the model"):
        report = load_weights(ours, theirs.state_dict())
    assert str(report).endswith(f"{had} channels in the file, {has} in the model")
    grey = torch.randn(2, 1, 16, 16)
    # Repeated in turn, channels weigh unequally unless their number is a multiple: filters of equal channels are.
    if has % had == 0 or has == 1:
        with torch.no_grad():
            torch.testing.assert_close(ours(grey.expand(2, has, 16, 16)), theirs(grey.expand(2, had, 16, 16)))


@pytest.mark.parametrize("has", [1, 2, 4, 7])
def test_they_are_timms(has: int) -> None:
    timm = pytest.importorskip("timm.models._manipulate")
    weight = torch.randn(8, 3, 3, 3)
    adapted, sentence = adapt_channels({"conv1.weight": torch.empty(8, has, 3, 3)}, {"conv1.weight": weight})
    torch.testing.assert_close(adapted["conv1.weight"], timm.adapt_input_conv(has, weight))
    assert f"3 channels in the file, {has} in the model" in sentence


def test_what_is_no_matter_of_channels_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"conv1\.weight is 4x2x3x3 in the file and 4x3x3x3 in the model"):
        load_weights(make(3), make(2).state_dict())
    with pytest.raises(WeightsError, match="of another shape"):
        load_weights(make(1), create_model("resnet8[widths=8-8-8]").state_dict())
    with pytest.raises(WeightsError, match=r"conv1\.weight is 4x3x3x3 in the file"):
        load_weights(make(1), make(3).state_dict(), replace_head=False)


def test_training_on_grey_images_takes_rgb_weights_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rng: np.random.Generator, quick_curves: None
) -> None:
    save_file(make(3).state_dict(), tmp_path / "rgb.safetensors")
    for name in ("cat", "dog"):
        (tmp_path / "grey" / name).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "grey" / name / f"{number}.png")
    # fmt: off
    train("resnet8[widths=4-4-4]", tmp_path / "grey", recipe="cifar-paper", iterations=1, run_dir=tmp_path / "run",
          fields={"data.batch_size": "4"}, weights=tmp_path / "rgb.safetensors", progress=True)
    # fmt: on
    assert "are summed: 3 channels in the file, 1 in the model" in capsys.readouterr().err
