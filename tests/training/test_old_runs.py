"""Runs of version 0.1.0, whose files carry few checksums, are read, evaluated and resumed."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from reslab import train
from reslab.environment import describe_environment
from reslab.errors import CheckpointError, WeightsError
from reslab.evaluation import evaluate
from reslab.evaluation.precise_bn import Measurement, measure_batch_norm, save_measured
from reslab.models import NetSpec
from reslab.runs import Run
from reslab.trained import load_trained
from reslab.training.recipe_files import recipe_from_dict

DATA = Path(__file__).parent / "data"
TIMINGS = ("train_seconds", "images_per_second", "peak_memory_bytes")


@pytest.fixture
def finished(tmp_path) -> Run:
    return Run(shutil.copytree(DATA / "run-0.1.0-finished", tmp_path / "finished"))


@pytest.fixture
def stopped(tmp_path) -> Run:
    return Run(shutil.copytree(DATA / "run-0.1.0-stopped", tmp_path / "stopped"))


def again(run: Run, data, **more):
    """A training as a run's record asks for it."""
    record = run.record
    net, recipe = NetSpec.from_dict(record["net"]), recipe_from_dict(record["recipe"])
    return train(net, data, **{"recipe": recipe, "seed": record["seed"], "run_dir": run.folder} | more)


def same_machine(run: Run) -> bool:
    """Whether its weights are computed bitwise as they were."""
    recorded, here = run.record["environment"], describe_environment()
    return all(recorded[name] == here[name] for name in ("packages", "processor"))


def test_a_finished_one_is_read_and_evaluated(finished, digits):
    assert finished.figures()["iterations"] == 24
    assert [row["iteration"] for row in finished.rows()] == [4, 8, 12, 16, 20, 24]
    trained = load_trained(finished.folder)
    error = evaluate(trained.model, digits.split("val"), trained.normalization).top1_error
    assert error == pytest.approx(finished.figures()["val_error"], abs=1)
    before = finished.figures()
    assert again(finished, digits, test_curve=True, resume=True).figures == before


def test_a_stopped_one_is_resumed_to_the_end_of_a_training_without_a_stop(stopped, finished, digits, tmp_path):
    same = same_machine(stopped)
    resumed = again(stopped, digits, resume=True)
    whole = again(stopped, digits, run_dir=tmp_path / "whole")
    for name, value in whole.figures.items():
        if name not in TIMINGS:
            assert resumed.figures[name] == (
                value if same or not isinstance(value, float) else pytest.approx(value, abs=5)
            )
    if not same:
        pytest.skip("another processor or other versions: the weights agree but for rounding")
    ours, theirs = (load_file(run.folder / "weights.safetensors") for run in (resumed.run, finished))
    straight = load_file(tmp_path / "whole" / "weights.safetensors")
    assert all(ours[name].equal(theirs[name]) and ours[name].equal(straight[name]) for name in theirs)


def test_what_is_written_now_has_checksums(stopped, digits):
    again(stopped, digits, resume=True)
    for name in ("result.json", "card.json"):
        assert "checksum" in json.loads((stopped.folder / name).read_text())
    assert all("checksum" in line for line in stopped.metrics_path.read_text().splitlines())
    stopped.metrics_path.write_text(stopped.metrics_path.read_text().replace("89.84375", "69.84375"))
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl, line 3"):
        stopped.rows()


def test_the_checksums_that_its_checkpoints_have_are_verified(stopped, digits):
    newest = stopped.checkpoints / "iteration-0000012.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match=r"iteration-0000012\.pt is damaged \(the checksum of its member .* differs"):
        again(stopped, digits, resume=True, stop_after="11")


def test_its_weights_are_replaced_with_measured_ones(finished, digits):
    trained = load_trained(finished.folder)
    wanted = Measurement(num_images=100, batch_size=32, seed=0, iteration=24)
    done = measure_batch_norm(trained.model, digits.split("train"), trained.normalization, wanted)
    assert (done.num_images, done.batch_size) == (96, 32)
    save_measured(finished, finished.folder, trained, "measured", None)
    assert load_trained(finished.folder).sha256 != trained.sha256
    with pytest.raises(WeightsError, match="were replaced while they were measured"):
        save_measured(finished, finished.folder, trained, "measured", None)


def test_another_run_does_not_go_on_from_its_checkpoints(stopped, digits):
    recipe, net = recipe_from_dict(stopped.record["recipe"]), NetSpec.from_dict(stopped.record["net"])
    stopped.record_path.unlink()
    with pytest.raises(CheckpointError, match=r"iteration-0000012\.pt is no checkpoint of this run"):
        train(net, digits, recipe=recipe, seed=7, run_dir=stopped.folder)
    assert not stopped.exists


def test_a_record_without_what_was_asked_for_is_a_sentence(stopped):
    stopped.record_path.write_text('{"schema_version": 1}')
    with pytest.raises(CheckpointError, match=r"run\.json is damaged: it lacks model\."):
        stopped.rows()
