from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from reslab import train
from reslab.errors import RecipeError
from reslab.training.loop import Trainer
from reslab.training.recipe import (
    DataRecipe,
    HardwareRecipe,
    MonitoringRecipe,
    NoWarmUp,
    Recipe,
    SmallImages,
    Steps,
    iterations,
)
from reslab.training.resizing import initial_iterations, initial_side, resized, work_until

RECIPE = Recipe(
    name="growing",
    schedule=Steps(length=iterations(20), milestones=(), deep_warmup=NoWarmUp()),
    data=DataRecipe(batch_size=12, initial_scale=0.5, initial_share=0.35, images=SmallImages(pad=1)),
    hardware=HardwareRecipe(device="cpu", threads=1),
    monitoring=MonitoringRecipe(log_every=iterations(3), eval_every=iterations(5), checkpoint_every=iterations(4)),
)


@pytest.mark.parametrize(
    ("side", "scale", "expected"),
    [(28, 0.7, 20), (32, 0.5, 16), (224, 0.7, 156), (8, 0.1, 4), (3, 0.5, 3), (30, 1.0, 30), (28, 0.99, 28)],
)
def test_sides_are_multiples_of_four_and_never_grow(side, scale, expected):
    assert initial_side(side, scale) == expected


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_batches_are_scaled_as_pillow_scales_them(rng, layout):
    pixels = rng.integers(0, 256, (32, 24, 3), dtype=np.uint8)
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().contiguous(memory_format=layout)
    small = resized(batch, 0.5)
    expected = np.asarray(Image.fromarray(pixels).resize((12, 16), Image.Resampling.BILINEAR), np.float32)
    assert small.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(small[0].permute(1, 2, 0), expected, atol=1.01)  # Pillow rounds after each direction


def test_the_first_iterations_see_smaller_images(tiny_data, tmp_path, monkeypatch):
    sides = []
    plain = Trainer._accumulate

    def recorded(self, images, labels):
        sides.append(tuple(images.shape[2:]))
        return plain(self, images, labels)

    monkeypatch.setattr(Trainer, "_accumulate", recorded)
    height, width, _ = tiny_data().image_shape
    train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path)
    assert initial_iterations(RECIPE) == 7
    small = (initial_side(height, 0.5), initial_side(width, 0.5))
    assert small != (height, width)
    assert sides == [small] * 7 + [(height, width)] * 13


@pytest.mark.parametrize("stops", [("6",), ("7",), ("3", "8")])
def test_stopped_on_either_side_of_the_change_it_comes_to_bitwise_the_same_weights(tiny_data, tmp_path, stops):
    whole = train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path / "whole").run
    for stop in stops:
        train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path / "parts", resume=True, stop_after=stop)
    parts = train("resnet8", tiny_data(), recipe=RECIPE, run_dir=tmp_path / "parts", resume=True).run
    files = [(run.folder / "weights.safetensors").read_bytes() for run in (whole, parts)]
    assert files[0] == files[1]


def test_work_counts_smaller_images_by_their_pixels():
    assert [work_until(RECIPE, iteration) for iteration in (0, 4, 7, 8, 20)] == [0, 1, 1.75, 2.75, 14.75]
    assert work_until(replace(RECIPE, data=DataRecipe(batch_size=12)), 9) == 9


def test_the_share_survives_a_change_of_length():
    assert initial_iterations(RECIPE.rescaled(200)) == 70
    assert initial_iterations(replace(RECIPE, data=DataRecipe(batch_size=12))) == 0


@pytest.mark.parametrize("fields", [{"initial_scale": 0.0}, {"initial_scale": 1.5}, {"initial_share": -0.1},
                                    {"initial_share": 1.1}, {"initial_scale": float("nan")}])  # fmt: skip
def test_shares_that_are_none_are_refused(fields):
    with pytest.raises(RecipeError, match=r"data\.initial_"):
        DataRecipe(**fields)
