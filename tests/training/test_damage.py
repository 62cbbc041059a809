"""A bit that flips in a run's folder is named in a sentence, or changes nothing; and a run knows what belongs to it."""

import contextlib
import json
import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reslab import train
from reslab.checkpoints import DamagedCheckpointWarning, load_checkpoint, newest_checkpoint, save_checkpoint
from reslab.errors import CheckpointError, ReslabError, WeightsError
from reslab.files.records import write_record
from reslab.files.rows import RowLog
from reslab.files.torch_file import save_torch_file
from reslab.models.weights import read_card, read_state_dict
from reslab.runs import Run, asked_digest
from reslab.trained import load_trained
from reslab.training.recipe import (
    DataRecipe,
    HardwareRecipe,
    MonitoringRecipe,
    NoWarmUp,
    Recipe,
    Sgd,
    SmallImages,
    Steps,
    iterations,
)

pytestmark = pytest.mark.usefixtures("quick_curves")
MODEL = "resnet8[widths=4-8-16]"
RECIPE = Recipe(
    name="short",
    optimizer=Sgd(learning_rate=0.05),
    schedule=Steps(length=iterations(8), milestones=(iterations(6),), deep_warmup=NoWarmUp()),
    data=DataRecipe(batch_size=12, images=SmallImages(pad=1)),
    hardware=HardwareRecipe(device="cpu", threads=1),
    monitoring=MonitoringRecipe(log_every=iterations(1), eval_every=iterations(3), checkpoint_every=iterations(3)),
)
TIMINGS = ("train_seconds", "images_per_second", "peak_memory_bytes")
VERIFIED = ("run.json", "result.json", "card.json", "metrics.jsonl", "weights.safetensors", "normalization.safetensors")
DERIVED = ("curves.png", ".lock", "train.log")


@pytest.fixture
def asked(tiny_data):
    return {"model": MODEL, "data": tiny_data(), "recipe": RECIPE}


@pytest.fixture
def finished(asked, tmp_path) -> Run:
    return train(**asked, run_dir=tmp_path / "finished").run


@pytest.fixture
def stopped(asked, tmp_path) -> Run:
    run = train(**asked, run_dir=tmp_path / "stopped", stop_after="7").run
    assert [path.name for path in sorted(run.checkpoints.iterdir())] == [
        "best-on-val.pt", "iteration-0000006.pt", "iteration-0000007.pt",
    ]  # fmt: skip
    return run


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position // 8] ^= 1 << position % 8
    path.write_bytes(content)


def positions(path: Path, count: int) -> list[int]:
    """Bits of a file: some at random, and those at its beginning and end."""
    bits = 8 * path.stat().st_size
    return [*np.random.default_rng(bits).integers(0, bits, count).tolist(), 3, bits - 4]


def seen(run: Run) -> tuple:
    """All that is read of a finished run."""
    trained = load_trained(run.folder)
    state = {name: value.numpy().tobytes() for name, value in trained.model.state_dict().items()}
    return run.record, run.rows(), run.figures(), state, trained.normalization.digest, trained.classes, trained.sha256


@pytest.mark.parametrize("name", [*VERIFIED, *DERIVED])
def test_a_flipped_bit_in_a_finished_run_is_named_or_changes_nothing(finished, name, tmp_path):
    expected, path = seen(finished), finished.folder / name
    if name in DERIVED:
        path.write_bytes(b"whatever it says")
    content = path.read_bytes()
    messages = []
    for position in positions(path, 40):
        flip(path, position)
        try:
            assert seen(Run(finished.folder)) == expected
        except (CheckpointError, WeightsError) as error:
            messages.append(str(error))
        path.write_bytes(content)
    assert all(name in message and "\n" not in message for message in messages)
    assert len(messages) >= (20 if name in VERIFIED else 0)


@pytest.mark.parametrize("name", ["iteration-0000007.pt", "best-on-val.pt"])
def test_a_flipped_bit_in_a_checkpoint_is_noticed_wherever_it_is(stopped, name):
    path = stopped.checkpoints / name
    content = path.read_bytes()
    for position in positions(path, 300) + list(range(8 * (len(content) - 100), 8 * len(content))):
        flip(path, position)
        with pytest.raises(CheckpointError, match=name):
            load_checkpoint(path)
        path.write_bytes(content)
    assert load_checkpoint(path)["iteration"] in (6, 7, 3)


def test_torch_and_other_programs_still_read_a_checkpoint(stopped):
    path = newest_checkpoint(stopped.checkpoints)
    assert torch.load(path, weights_only=True)["iteration"] == 7


STOPPED = ("run.json", "metrics.jsonl", "checkpoints/iteration-0000006.pt", "checkpoints/iteration-0000007.pt",
           "checkpoints/best-on-val.pt")  # fmt: skip


@pytest.mark.parametrize("name", STOPPED)
def test_a_flipped_bit_in_a_stopped_run_is_named_or_changes_nothing(stopped, asked, name, tmp_path):
    whole = train(**asked, run_dir=tmp_path / "whole").run
    messages, same = [], 0
    for number, position in enumerate(positions(stopped.folder / name, 4)):
        folder = shutil.copytree(stopped.folder, tmp_path / str(number))
        flip(folder / name, position)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", DamagedCheckpointWarning)
                done = train(**asked, run_dir=folder, resume=True)
        except ReslabError as error:
            messages.append(str(error))
        else:
            same += 1
            messages += [str(warning.message) for warning in caught]
            assert read_card(folder)["sha256"] == read_card(whole.folder)["sha256"]
            assert figures(done.figures) == figures(whole.figures())
    assert all(Path(name).name in message and "\n" not in message for message in messages)
    assert messages or name in ("checkpoints/iteration-0000006.pt", "checkpoints/best-on-val.pt")
    assert same or not name.startswith("checkpoints")


def figures(result: dict) -> dict:
    return {name: value for name, value in result.items() if name not in TIMINGS}


def edited(path: Path, change) -> None:
    """Changes a record by hand, and leaves its checksum as it was."""
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(seed=1),
        lambda record: record["recipe"]["optimizer"].update(learning_rate=0.06),
        lambda record: record.pop("shards"),
        lambda record: record.update(more=True),
        lambda record: record.update(schema_version=1),
    ],
)
def test_a_record_that_was_changed_is_named(stopped, asked, change):
    edited(stopped.record_path, change)
    with pytest.raises(CheckpointError, match=r"run\.json is damaged, or was changed after it was written"):
        train(**asked, run_dir=stopped.folder, resume=True)


def test_figures_and_rows_that_were_changed_are_named(finished):
    edited(finished.folder / "result.json", lambda record: record.update(val_error=0.0))
    with pytest.raises(CheckpointError, match=r"result\.json is damaged, or was changed"):
        finished.figures()
    edited(finished.folder / "card.json", lambda record: record["errors"].update(val_error=0.0))
    with pytest.raises(WeightsError, match=r"card\.json is damaged, or was changed"):
        read_card(finished.folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:2] + lines[3:], "line 3, is damaged"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "line 1, is damaged"),
        (lambda lines: lines[:-1], "has other rows than the run had when it was finished"),
        (lambda lines: [], "has other rows than the run had when it was finished"),
    ],
)
def test_rows_that_are_missing_or_swapped_are_named(finished, change, message):
    lines = finished.metrics_path.read_text().splitlines(keepends=True)
    finished.metrics_path.write_text("".join(change(lines)))
    with pytest.raises(CheckpointError, match=rf"metrics\.jsonl.* {message}"):
        finished.rows()


def test_rows_that_a_checkpoint_counts_on_must_be_there(stopped, asked):
    lines = stopped.metrics_path.read_text().splitlines(keepends=True)
    stopped.metrics_path.write_text("".join(lines[:-1]))
    message = r"metrics\.jsonl lacks rows that .*iteration-0000007\.pt counts on: it has 6 of 7"
    with pytest.raises(CheckpointError, match=message):
        train(**asked, run_dir=stopped.folder, resume=True)
    (stopped.checkpoints / "iteration-0000007.pt").unlink()
    assert train(**asked, run_dir=stopped.folder, resume=True).run.finished


def test_files_of_another_run_are_named(finished, asked, tmp_path):
    other = train(**asked, seed=1, run_dir=tmp_path / "other").run
    before = finished.metrics_path.read_bytes()
    shutil.copy(other.metrics_path, finished.metrics_path)
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl, line 1, is damaged, or .* are of another run"):
        finished.rows()
    finished.metrics_path.write_bytes(before)
    for name in ("weights.safetensors", "card.json"):
        shutil.copy(other.folder / name, finished.folder / name)
    with pytest.raises(WeightsError, match=r"card\.json is of another run than .*run\.json"):
        load_trained(finished.folder)
    shutil.copy(other.folder / "result.json", finished.folder / "result.json")
    with pytest.raises(CheckpointError, match=r"result\.json is of another run than"):
        finished.figures()


def test_weights_beside_a_card_are_verified_whoever_reads_them(finished):
    path = finished.folder / "weights.safetensors"
    flip(path, 8 * path.stat().st_size - 5)
    with pytest.raises(WeightsError, match="its sha256 differs"):
        read_state_dict(path)


# What a checkpoint belongs to


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 7},
        {"model": "resnet8[widths=4-8-16,dropout=0.1]"},
        {"recipe": replace(RECIPE, optimizer=Sgd(learning_rate=0.06))},
        {"weights": "other.pth"},
    ],
)
def test_a_run_without_its_record_is_not_taken_up_by_another(stopped, asked, other, tmp_path):
    if "weights" in other:
        other = {"weights": tmp_path / other["weights"]}
        save_torch_file(torch.load(newest_checkpoint(stopped.checkpoints))["model"], other["weights"])
    before = {path.name: path.read_bytes() for path in stopped.checkpoints.iterdir()}
    stopped.record_path.unlink()
    with pytest.raises(CheckpointError, match=r"iteration-0000007\.pt is the checkpoint of another run"):
        train(**asked | other, run_dir=stopped.folder)
    assert not stopped.exists
    assert {path.name: path.read_bytes() for path in stopped.checkpoints.iterdir()} == before
    assert train(**asked, run_dir=stopped.folder).run.finished  # as itself, it goes on


def test_a_run_without_its_record_is_not_taken_up_with_other_images(stopped, asked, tiny_data):
    stopped.record_path.unlink()
    data = tiny_data()
    data.split("val").images[0, 0, 0, 0] ^= 1
    with pytest.raises(CheckpointError, match="of another run"):
        train(**asked | {"data": data}, run_dir=stopped.folder)


def test_a_result_without_a_record_is_not_taken_for_a_new_runs(finished, asked):
    finished.record_path.unlink()
    with pytest.raises(CheckpointError, match=r"holds the result of a run, and its run\.json is missing"):
        train(**asked, seed=7, run_dir=finished.folder)


def test_a_checkpoint_of_another_run_is_refused_on_a_resume(stopped, asked, tmp_path):
    other = train(**asked, seed=1, run_dir=tmp_path / "other", stop_after="7").run
    shutil.copy(newest_checkpoint(other.checkpoints), newest_checkpoint(stopped.checkpoints))
    with pytest.raises(CheckpointError, match="is the checkpoint of another run"):
        train(**asked, run_dir=stopped.folder, resume=True)


def test_the_digest_is_of_what_decides_the_weights(stopped):
    record, digest = stopped.record, stopped.asked
    assert record["shards"] == 1
    hardware = {**record["recipe"]["hardware"], "workers": 7}
    for same in (
        {"recipe": {**record["recipe"], "hardware": hardware}},
        {"environment": {}},
        {"test_curve": True},
    ):
        assert asked_digest({**record, **same}) == digest
    for other in ({"seed": 1}, {"model": "resnet14"}, {"shards": 2}, {"weights": "a"}, {"recipe": {}}):
        assert asked_digest({**record, **other}) != digest


# A damaged checkpoint


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(stopped, asked, tmp_path, capsys):
    whole = train(**asked, run_dir=tmp_path / "whole").run
    flip(stopped.checkpoints / "iteration-0000007.pt", 10_000)
    train(**asked, run_dir=stopped.folder, resume=True, progress=True)
    said = " ".join(capsys.readouterr().err.split())
    assert "iteration-0000007.pt is damaged (its sha256 is not the one that it states). Going on from" in said
    assert f"Resuming {stopped.folder} at iteration 6." in said
    assert read_card(stopped.folder)["sha256"] == read_card(whole.folder)["sha256"]
    assert (stopped.checkpoints / "iteration-0000007.pt.damaged").exists()


def test_without_progress_it_is_a_warning(stopped, asked):
    flip(stopped.checkpoints / "iteration-0000007.pt", 10_000)
    with pytest.warns(DamagedCheckpointWarning, match=r"iteration-0000007\.pt is damaged"):
        train(**asked, run_dir=stopped.folder, resume=True)


def test_if_none_is_whole_nothing_is_trained(stopped, asked):
    for name in ("iteration-0000006.pt", "iteration-0000007.pt"):
        flip(stopped.checkpoints / name, 10_000)
    with pytest.raises(CheckpointError, match=r"no checkpoint is whole: .*0000007\.pt.*0000006\.pt.*Put back copies"):
        train(**asked, run_dir=stopped.folder, resume=True)


def test_a_checkpoint_that_may_not_be_read_is_not_passed_over(stopped, asked, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("reslab.checkpoints.load_sealed", refused)
    with pytest.raises(CheckpointError, match="cannot be read: Permission denied"):
        train(**asked, run_dir=stopped.folder, resume=True)


# What is on the disk when


def test_rows_are_on_the_disk_before_a_checkpoint_counts_on_them(asked, tmp_path, monkeypatch):
    events, sync, save = [], RowLog.sync, save_checkpoint

    def noted_sync(log):
        sync(log)
        events.append(("rows", log.mark["num_rows"]))

    def noted_save(folder, state, **more):
        events.append(("checkpoint", state["rows"]["num_rows"]))
        return save(folder, state, **more)

    monkeypatch.setattr(RowLog, "sync", noted_sync)
    monkeypatch.setattr("reslab.training.loop.save_checkpoint", noted_save)
    train(**asked, run_dir=tmp_path)
    assert events == [(kind, count) for count in (3, 6, 8) for kind in ("rows", "checkpoint")]


@pytest.mark.parametrize("gone", ["folder", "record", "lock", "replaced"])
def test_a_run_whose_folder_is_gone_ends_with_a_sentence(asked, tmp_path, monkeypatch, gone):
    from reslab.training.loop import Trainer

    folder, iterate = tmp_path / "run", Trainer.iterate

    def remove(trainer):
        iterate(trainer)
        if trainer.state.iteration == 4:
            if gone in ("folder", "replaced"):
                folder.rename(tmp_path / "elsewhere")
            if gone == "replaced":
                shutil.copytree(tmp_path / "elsewhere", folder)
            if gone in ("record", "lock"):
                os.unlink(folder / {"record": "run.json", "lock": ".lock"}[gone])

    monkeypatch.setattr(Trainer, "iterate", remove)
    with pytest.raises(CheckpointError, match="was removed or replaced while the run was being trained; nothing more"):
        train(**asked, run_dir=folder)
    assert gone != "folder" or not folder.exists()


def test_a_measured_normalization_is_verified(tmp_path, tiny_data):
    from reslab.data.normalization import Normalization
    from reslab.errors import DataError

    images, path = tiny_data().split("train").images, tmp_path / "normalization.safetensors"
    written = Normalization.measure(images, "per-pixel-mean")
    written.save(path)
    content = path.read_bytes()
    for position in positions(path, 300):
        flip(path, position)
        with contextlib.suppress(DataError):
            assert Normalization.load(path).digest == written.digest
        path.write_bytes(content)
    flip(path, 8 * len(content) - 5)
    with pytest.raises(DataError, match="its sha256 is not the one that it states"):
        Normalization.load(path)


def test_a_record_can_be_written_anew_by_whoever_knows_what_it_says(stopped, asked):
    write_record(stopped.record_path, {**stopped.record, "environment": {}})
    assert train(**asked, run_dir=stopped.folder, resume=True).run.finished
