"""`reslab train --track tensorboard`: the rows of metrics.jsonl, each once, after kills and resumes, at no risk."""

import os
import signal
import subprocess
import sys
import time
import warnings

import pytest
from tensorboard.backend.event_processing import event_accumulator

from reslab.checkpoints import newest_checkpoint
from reslab.cli.main import main
from reslab.errors import ReslabError
from reslab.runs import Run
from reslab.training import train
from reslab.training.recipes import RECIPES
from reslab.training.tracking import Tracker, TrackingWarning

pytestmark = pytest.mark.usefixtures("quick_curves")
FIELDS = {
    "data.batch_size": "4",
    "data.val_images": "0",
    "monitoring.log_every": "2",
    "monitoring.eval_every": "4",
    "monitoring.checkpoint_every": "6",
    "hardware.threads": "1",
}


def tracked(folder):
    """What TensorBoard itself reads: scalars by tag, as pairs of step and value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = event_accumulator.EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def recorded(folder):
    rows = Run(folder).rows()
    tags = dict.fromkeys(name for row in rows for name in row if name != "iteration")
    return {tag: [(row["iteration"], row[tag]) for row in rows if tag in row] for tag in tags}


def assert_same(folder):
    ours, theirs = recorded(folder), tracked(folder)
    assert ours.keys() == theirs.keys() >= {"loss", "learning_rate", "train_error", "images_per_second"}
    for tag, points in ours.items():
        assert [step for step, _ in theirs[tag]] == [step for step, _ in points]
        assert [value for _, value in theirs[tag]] == pytest.approx([value for _, value in points], rel=1e-6)


def start(tiny_data, folder, **more):
    recipe = RECIPES["digits-quick"]
    return train(
        "resnet8[widths=4-4-4]", tiny_data(), recipe=recipe, iterations=20, fields=FIELDS, run_dir=folder, **more
    )


def test_the_rows_are_there_after_stops_and_resumes(tiny_data, tmp_path):
    start(tiny_data, tmp_path / "run", stop_after="9", track="tensorboard")
    assert [step for step, _ in tracked(tmp_path / "run")["loss"]] == [2, 4, 6, 8]
    assert "val_error" in tracked(tmp_path / "run")
    start(tiny_data, tmp_path / "run", stop_after="14", resume=True)  # is tracked on without being asked
    assert_same(tmp_path / "run")
    newest_checkpoint(Run(tmp_path / "run").checkpoints).unlink()  # as a kill leaves it: rows beyond the last state
    start(tiny_data, tmp_path / "run", stop_after="13", resume=True)
    assert_same(tmp_path / "run")
    assert [step for step, _ in tracked(tmp_path / "run")["loss"]][-1] == 12
    start(tiny_data, tmp_path / "run", resume=True)
    assert_same(tmp_path / "run")
    assert [step for step, _ in tracked(tmp_path / "run")["loss"]][-1] == 20
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1


@pytest.mark.slow
def test_tracking_changes_no_weight_and_can_begin_later(tiny_data, tmp_path):
    for name, more in (("plain", {}), ("tracked", {"track": "tensorboard"})):
        start(tiny_data, tmp_path / name, **more)
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("plain", "tracked")]
    assert weights[0] == weights[1]
    assert not (tmp_path / "plain" / "tensorboard").exists()
    start(tiny_data, tmp_path / "late", stop_after="7")
    start(tiny_data, tmp_path / "late", resume=True, track="tensorboard")
    assert_same(tmp_path / "late")


@pytest.mark.slow
def test_a_killed_process_leaves_no_row_double_or_lost(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "reslab", "train", "resnet8", "--iterations", "40", "--run-dir", str(folder)]
    command += ["--hardware.threads", "1", "--monitoring.log-every", "2", "--checkpoint-every", "15", "--quiet"]
    process = subprocess.Popen([*command, "--track", "tensorboard"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (folder / "metrics.jsonl").exists() or (folder / "metrics.jsonl").read_bytes().count(b"\n") < 10:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)  # after row 20: beyond the checkpoint at 15
    finally:
        process.kill()
        process.wait()
    train(run_dir=folder, resume=True)
    assert [step for step, _ in tracked(folder)["loss"]] == [step for step, _ in recorded(folder)["loss"]]
    assert_same(folder)


def test_what_cannot_be_written_costs_no_run(tiny_data, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").write_text("a file where the folder should be")
    with pytest.warns(TrackingWarning, match="cannot be written to .*; the training goes on without"):
        assert start(tiny_data, tmp_path / "run", track="tensorboard").figures
    assert len(Run(tmp_path / "run").rows()) == 10


def test_a_full_disk_ends_the_tracking_alone(tmp_path, largest_file):
    tracker = Tracker(tmp_path / "tensorboard")
    row = {"iteration": 1, "loss": 2.0}
    tracker.begin([row])
    with warnings.catch_warnings(record=True) as said, largest_file(200):
        warnings.simplefilter("always")
        for _ in range(20):
            tracker.add(row)
    assert [entry.category for entry in said] == [TrackingWarning]
    assert "File too large" in str(said[0].message)
    tracker.add(row)  # says nothing any more
    tracker.close()
    assert tracked(tmp_path)["loss"][0] == (1, 2.0)


def test_a_missing_package_is_told_before_anything_begins(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    folder = str(tmp_path / "run")
    assert main(["train", "resnet8", "--run-dir", folder, "--track", "tensorboard"]) == 2
    assert capsys.readouterr().err == "reslab: --track tensorboard needs tensorboard: pip install 'reslab[track]'.\n"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ReslabError, match="no tracker 'wandb': choose tensorboard"):
        train("resnet8", run_dir=folder, track="wandb")
    assert main(["train", "resnet8", "--run-dir", folder, "--track", "wandb"]) == 2
