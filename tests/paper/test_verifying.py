"""A part of a record's training is done again: its losses come out to the bit, and any change is seen."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reslab.cli.main import main
from reslab.errors import ReslabError
from reslab.paper.record import Record
from reslab.paper.verifying import verify_record

RESULTS = Path(__file__).resolve().parents[2] / "results"


@pytest.fixture
def folder(tiny, tiny_folder, tmp_path):
    """The small experiment's record alone, without its runs."""
    shutil.copy(tiny_folder / "results.json", tmp_path)
    return tmp_path


def change(folder, arm="plain8", losses=None, **content):
    """Writes a record with other losses of an arm, by row, or with other content."""
    record = json.loads((folder / "results.json").read_text())
    for item in record["series"]:
        if item["measure"] == "errors" and item["arm"] == arm:
            for row, loss in (losses or {}).items():
                item["loss"][row] = loss
    Record({**record, **content}).write(folder)


def losses_of(folder, arm):
    return Record.read(folder).series("errors", arm)[0]["loss"]


def test_losses_come_out_to_the_bit(folder):
    found = verify_record(folder, seed=0)
    assert found.agrees
    assert found.same_processor
    assert found.largest_difference == 0
    assert 1 <= found.rows <= 5
    assert found.iterations == found.rows  # of this recipe, which has a row for each
    assert found.arm in ("plain8", "resnet8")
    assert "comes out again on such a processor, to the bit" in str(found)
    assert found.to_dict()["agrees"] is True


@pytest.mark.slow
def test_the_seed_chooses_the_arm_and_the_length(folder):
    chosen = {seed: verify_record(folder, seed=seed) for seed in (0, 0, 1, 2)}
    assert verify_record(folder, seed=1) == chosen[1]
    assert len({(found.arm, found.rows) for found in chosen.values()}) > 1


@pytest.mark.slow
def test_as_many_iterations_as_asked_for_at_most(folder, tiny_folder):
    found = verify_record(folder, iterations=7, seed=3)
    assert (found.iterations, found.rows, found.agrees) == (7, 7, True)
    whole = verify_record(folder, iterations=10_000, seed=3)
    assert (whole.iterations, whole.rows, whole.agrees) == (30, 30, True)
    with pytest.raises(ReslabError, match="--iterations must be at least 1, where the first loss"):
        verify_record(folder, iterations=0)


@pytest.mark.parametrize("difference", [1e-6, 0.5])
def test_one_changed_loss_is_seen(folder, capsys, difference):
    for arm in ("plain8", "resnet8"):
        change(folder, arm, {2: losses_of(folder, arm)[2] + difference})
    assert main(["paper", "verify", str(folder), "--iterations", "5"]) == 1
    assert "does NOT come out again" in capsys.readouterr().out
    assert main(["paper", "verify", str(folder), "--iterations", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["agrees"] is True


def test_on_another_processor_losses_may_differ_as_by_rounding(folder):
    environment = Record.read(folder).content["environment"]
    for arm in ("plain8", "resnet8"):
        change(folder, arm, {1: losses_of(folder, arm)[1] * (1 + 5e-4)}, environment={**environment, "processor": "?"})
    found = verify_record(folder, iterations=3)
    assert (found.same_processor, found.agrees) == (False, True)
    assert found.largest_difference == pytest.approx(5e-4, rel=1e-3)
    assert 1e-3 <= found.allowed < 1e-2
    assert f"on another processor, within the {found.allowed:.2g} that rounding may do" in str(found)
    for arm in ("plain8", "resnet8"):
        change(folder, arm, {1: losses_of(folder, arm)[1] * 1.02})
    assert not verify_record(folder, iterations=3).agrees


@pytest.mark.slow
@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX512", reason="this processor has nothing more")
def test_a_record_comes_out_on_a_processor_with_shorter_vectors(tmp_path):
    """After 30 iterations of nets of 20 and 56 layers rounding has become percents, and nobody is accused of it."""
    shutil.copy(RESULTS / "fig1-digits" / "results.json", tmp_path)
    record = Record.read(tmp_path)
    Record({**record.content, "environment": {**record.content["environment"], "processor": "?"}}).write(tmp_path)
    less = {**os.environ, "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, "-m", "reslab", "paper", "verify", str(tmp_path), "--iterations", "30", "--json"]
    done = subprocess.run(command, env=less, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["agrees"]
    assert found["largest_difference"] > 1e-5


def test_a_loss_that_is_no_number_is_damage(folder):
    for arm in ("plain8", "resnet8"):
        change(folder, arm, {0: None})
    with pytest.raises(ReslabError, match=r"is damaged: a loss of .* is no number"):
        verify_record(folder, iterations=2)


def test_other_images_get_a_sentence(folder, tmp_path):
    """Ten classes of grey images of the same size: a training works, and is another one."""
    generator = np.random.default_rng(0)
    for role in ("train", "test"):
        for number in range(10):
            (tmp_path / "others" / role / str(number)).mkdir(parents=True)
            for image in range(5):
                pixels = generator.integers(0, 256, (16, 16), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "others" / role / str(number) / f"{image}.png")
    with pytest.raises(ReslabError, match="the training images of others are others than the record's"):
        verify_record(folder, data=str(tmp_path / "others"), iterations=1)


def test_records_without_trainings_get_a_sentence(folder):
    change(folder, experiment="table1", series=[])
    with pytest.raises(ReslabError, match="a record of table1, in which nothing is trained"):
        verify_record(folder)
    (folder / "results.json").unlink()
    with pytest.raises(ReslabError, match="run the experiment first"):
        verify_record(folder)


def test_data_that_are_not_there_get_a_sentence(folder):
    data = Record.read(folder).data
    change(folder, data={**data, "name": "my-photos"})
    with pytest.raises(ReslabError, match="my-photos"):
        verify_record(folder, iterations=1)
