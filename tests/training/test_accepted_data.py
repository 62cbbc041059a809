"""Images that were moved, renamed or put right while a run was stopped."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reslab.cli.main import main
from reslab.errors import CheckpointError, ReslabWarning
from reslab.paper.jobs import existing_runs
from reslab.runs import Run
from reslab.training import train
from reslab.training.durations import iterations
from reslab.training.recipe import (
    DataRecipe,
    HardwareRecipe,
    MonitoringRecipe,
    NoWarmUp,
    Recipe,
    Sgd,
    SmallImages,
    Steps,
)

RECIPE = Recipe(
    name="tiny",
    optimizer=Sgd(learning_rate=0.05),
    schedule=Steps(length=iterations(8), milestones=(iterations(5), iterations(6)), deep_warmup=NoWarmUp()),
    data=DataRecipe(batch_size=12, images=SmallImages(pad=1)),
    hardware=HardwareRecipe(device="cpu", threads=1),
    monitoring=MonitoringRecipe(log_every=iterations(1), eval_every=iterations(4), checkpoint_every=iterations(4)),
)


def draw(path: Path, seed: int) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    for place, name in enumerate(("cat", "dog")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(40):
            draw(tmp_path / "images" / name / f"{number}.png", 100 * place + number)
    return tmp_path / "images"


@pytest.fixture
def stopped(folder, tmp_path):
    """A run that was stopped at its fourth iteration of eight."""
    return train("resnet8", folder, recipe=RECIPE, run_dir=tmp_path / "run", stop_after="4").run.folder


def weights(run: Path) -> bytes:
    return (run / "weights.safetensors").read_bytes()


def test_a_folder_that_was_moved_and_renamed_needs_nothing(folder, stopped, tmp_path):
    whole = train("resnet8", folder, recipe=RECIPE, run_dir=tmp_path / "whole").run.folder
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(folder, tmp_path / "elsewhere" / "photos of pets")
    ended = train(None, moved, run_dir=stopped, resume=True)
    assert weights(ended.run.folder) == weights(whole)
    record = Run(stopped).record
    assert record["data_spec"] == str(moved)  # where eval finds them
    assert record["data"]["name"] == "images"
    assert "accepted_data" not in record


def test_an_image_that_was_put_right_is_accepted_when_asked_and_written_down(folder, stopped):
    before = Run(stopped).record
    draw(folder / "cat" / "7.png", 999)
    with pytest.raises(
        CheckpointError, match=r"data\.splits\.train\.sha256 is .*--accept-data goes on with the images"
    ):
        train(run_dir=stopped, resume=True)
    assert Run(stopped).record == before
    with pytest.warns(ReslabWarning, match="goes on with other images than it began with"):
        ended = train(run_dir=stopped, resume=True, accept_data=True)
    assert ended.run.finished
    record = Run(stopped).record
    (accepted,) = record["accepted_data"]
    assert accepted["after"] == "iteration-0000004.pt"
    assert accepted["data"]["splits"]["train"]["sha256"] != before["data"]["splits"]["train"]["sha256"]
    assert {name: record[name] for name in before} == before
    assert [row["iteration"] for row in Run(stopped).rows()] == list(range(1, 9))
    # Known now, they need no flag; a run of these images from the start is another one.
    train(run_dir=stopped, resume=True)
    assert existing_runs(stopped.parent) == {}
    assert main(["eval", str(stopped), "--split", "train"]) == 0


def test_the_command_accepts_as_well(folder, stopped, capsys):
    draw(folder / "dog" / "3.png", 998)
    assert main(["train", "--resume", "--run-dir", str(stopped)]) == 2
    assert "--accept-data goes on with the images as they are now" in capsys.readouterr().err
    assert main(["train", "--resume", "--run-dir", str(stopped), "--accept-data", "--quiet"]) == 0
    assert "its weights will not be those that the same command gives" in capsys.readouterr().err


def test_more_images_or_other_classes_are_another_run(folder, stopped):
    draw(folder / "cat" / "more.png", 5)
    with pytest.raises(CheckpointError, match=r"num_images is 80 in the run and 81 now\. Start another run"):
        train(run_dir=stopped, resume=True, accept_data=True)
    (folder / "cat" / "more.png").unlink()
    (folder / "cat").rename(folder / "car")
    with pytest.raises(CheckpointError, match="Start another run"):
        train(run_dir=stopped, resume=True, accept_data=True)
