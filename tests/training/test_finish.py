"""The end of a run can be interrupted at any moment, and is then finished to bitwise the same files."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reslab import train
from reslab.data import load_data
from reslab.errors import CheckpointError
from reslab.evaluation import Measurement, measure_batch_norm
from reslab.evaluation.precise_bn import save_measured
from reslab.models import create_model
from reslab.models.weights import read_card
from reslab.runs import Run
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

MODEL = "resnet8[widths=4-8-16,stochastic_depth=0.5,dropout=0.3]"
RECIPE = Recipe(
    name="short",
    optimizer=Sgd(learning_rate=0.05),
    schedule=Steps(length=iterations(6), milestones=(iterations(4),), deep_warmup=NoWarmUp()),
    data=DataRecipe(batch_size=12, images=SmallImages(pad=1)),
    hardware=HardwareRecipe(device="cpu", threads=1),
    monitoring=MonitoringRecipe(
        log_every=iterations(2),
        eval_every=iterations(3),
        checkpoint_every=iterations(4),
        precise_bn_images=40,
        weights="best-on-val",
    ),
)
SET = ("weights.safetensors", "card.json", "normalization.safetensors")
TIMINGS = ("train_seconds", "images_per_second", "peak_memory_bytes")


class Killed(BaseException):
    """As if the process ended there."""


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, number: int):
    """Ends what is done inside before its file number `number` is put into place, or before a journal is removed."""
    left = iter(range(number))

    def counted(real: Callable, counts: Callable[[str], bool]) -> Callable:
        def call(path, *arguments, **more):
            if counts(os.path.basename(path)) and next(left, None) is None:
                raise Killed
            return real(path, *arguments, **more)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counted(os.replace, lambda name: True))
        patch.setattr(os, "unlink", counted(os.unlink, lambda name: name.startswith(".replacing-")))
        yield


def figures(run: Run) -> dict:
    return {name: value for name, value in run.figures().items() if name not in TIMINGS}


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in SET}


def test_a_run_killed_at_any_step_of_its_end_is_finished_bitwise(tiny_data, tmp_path, monkeypatch, quick_curves):
    whole = train(MODEL, tiny_data(), recipe=RECIPE, run_dir=tmp_path / "whole").run
    with monkeypatch.context() as patch:
        patch.setattr("reslab.training.loop.finish_run", _kill)
        with pytest.raises(Killed):
            train(MODEL, tiny_data(), recipe=RECIPE, run_dir=tmp_path / "last")
    assert (tmp_path / "last" / "checkpoints" / "iteration-0000006.pt").exists()
    for number in range(30):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "last", folder)
        killed = False
        with killed_at(monkeypatch, number):
            torch.manual_seed(number)  # whatever the caller's generator says
            try:
                train(MODEL, tiny_data(), recipe=RECIPE, run_dir=folder, resume=True)
            except Killed:
                killed = True
        found = load_trained(folder).about  # its weights; or what its checkpoint has learned, and it says so
        assert found.sha256 == read_card(whole.folder)["sha256"] or "is not finished: its state after" in found.note
        done = train(MODEL, tiny_data(), recipe=RECIPE, run_dir=folder, resume=True).run
        assert files(folder) == files(whole.folder)
        assert figures(done) == figures(whole)
        assert not [path for path in folder.rglob("*") if path.name.endswith(".partial") or "replacing" in path.name]
        if not killed:
            break
    assert not killed
    assert number >= 6  # checkpoint, journal, three files, the journal's removal, result


def _kill(*_):
    raise Killed


def test_measured_weights_replace_the_old_ones_at_once(tiny_data, tmp_path, monkeypatch, quick_curves):
    data = tiny_data()
    train(MODEL, data, recipe=RECIPE, run_dir=tmp_path / "run")
    old, seen = read_card(tmp_path / "run")["sha256"], set()
    for number in range(30):
        run = Run(shutil.copytree(tmp_path / "run", tmp_path / str(number)))
        trained = load_trained(run.folder)
        wanted = Measurement(num_images=24, batch_size=8, seed=0, iteration=6)
        measure_batch_norm(trained.model, data.split("train"), trained.normalization, wanted)
        killed = False
        with killed_at(monkeypatch, number):
            try:
                save_measured(run, run.folder, trained, "measured", 50.0)
            except Killed:
                killed = True
        now = load_trained(run.folder)
        seen.add(now.sha256)
        assert ("batch_norm" in read_card(run.folder)) == (now.sha256 != old)
        if not killed:
            break
    assert not killed
    assert len(seen) == 2


def test_what_is_measured_depends_on_seed_and_iteration_and_leaves_the_generator_alone(tiny_data):
    data = tiny_data()
    split = data.split("train")
    found = {}
    for name, seed, iteration, before in (("a", 0, 6, 1), ("b", 0, 6, 2), ("c", 1, 6, 1), ("d", 0, 7, 1)):
        torch.manual_seed(0)
        model = create_model(MODEL, num_classes=4)
        torch.manual_seed(before)
        expected = torch.rand(3)
        torch.manual_seed(before)
        counts: list[int] = []
        wanted = Measurement(num_images=1000, batch_size=12, seed=seed, iteration=iteration)
        done = measure_batch_norm(model, split, _normalization(split), wanted, counts.append)
        assert torch.equal(torch.rand(3), expected)
        assert (done.num_images, done.batch_size, counts) == (36, 12, [12, 12, 12])
        found[name] = torch.cat([value.flatten() for key, value in model.state_dict().items() if "running" in key])
    assert torch.equal(found["a"], found["b"])
    assert not torch.equal(found["a"], found["c"])
    assert not torch.equal(found["a"], found["d"])


def test_statistics_measured_at_the_end_and_afterwards_are_the_same(tiny_data, tmp_path, quick_curves):
    data, last = tiny_data(), replace(RECIPE.monitoring, weights="last")
    for name, images in (("at the end", 40), ("afterwards", 0)):
        recipe = replace(RECIPE, monitoring=replace(last, precise_bn_images=images))
        train(MODEL, data, recipe=recipe, run_dir=tmp_path / name)
    measured, moving = load_trained(tmp_path / "at the end"), load_trained(tmp_path / "afterwards")
    wanted = Measurement(num_images=40, batch_size=12, seed=0, iteration=6)
    measure_batch_norm(moving.model, data.split("train"), moving.normalization, wanted)
    for key, value in measured.model.state_dict().items():
        torch.testing.assert_close(moving.model.state_dict()[key], value)


def _normalization(split):
    from reslab.data.normalization import Normalization

    return Normalization.measure(split.images, "per-channel")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Path.unlink, r"best-on-val\.pt is missing\. The weights that are best on val are lost"),
        (damage, r"best-on-val\.pt is damaged .* The weights that are best on val are lost"),
        (
            lambda path: shutil.copy(path.with_name("iteration-0000004.pt"), path),
            r"best-on-val\.pt is not the state that was best on val: it is of iteration 4, and the best was [36],",
        ),
    ],
)
def test_weights_that_are_best_on_val_and_lost_are_not_replaced_by_others(
    tiny_data, tmp_path, quick_curves, monkeypatch, change, message
):
    with monkeypatch.context() as patch:
        patch.setattr("reslab.training.loop.finish_run", _kill)
        with pytest.raises(Killed):
            train(MODEL, tiny_data(), recipe=RECIPE, run_dir=tmp_path)
    change(tmp_path / "checkpoints" / "best-on-val.pt")
    with pytest.raises(CheckpointError, match=message):
        train(MODEL, tiny_data(), recipe=RECIPE, run_dir=tmp_path, resume=True)
    assert not (tmp_path / "result.json").exists()
    assert not (tmp_path / "weights.safetensors").exists()


def test_the_end_is_no_success_if_the_folder_is_gone(tiny_data, tmp_path, monkeypatch):
    def removed(*_):
        shutil.rmtree(tmp_path / "run")

    monkeypatch.setattr("reslab.training.finish.plot_curves", removed)
    with pytest.raises(CheckpointError, match="was removed or replaced while the run was being trained"):
        train(MODEL, tiny_data(), recipe=RECIPE, run_dir=tmp_path / "run")


EXIT = """
import os, sys
from pathlib import Path
import reslab.training.finish as finish
from reslab.cli.main import main

number, real = int(sys.argv[1]), os.replace

def replace(*arguments):
    global number
    number -= 1
    if number < 0:
        os._exit(9)
    real(*arguments)

os.replace = replace
finish.plot_curves = lambda rows, title, path, words: Path(path).write_bytes(b"curves")
sys.exit(main(["train", "--resume", "--run-dir", sys.argv[2], "--quiet"]))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_process_that_ends_without_a_word_is_followed_by_one_that_finishes_its_work(tmp_path, quick_curves):
    data = load_data("digits")
    whole = train(MODEL, data, recipe=RECIPE, run_dir=tmp_path / "whole").run
    train(MODEL, data, recipe=RECIPE, run_dir=tmp_path / "start", stop_after="5")
    codes = []
    for number in range(30):
        folder = shutil.copytree(tmp_path / "start", tmp_path / str(number))
        command = [sys.executable, "-c", EXIT, str(number), str(folder)]
        codes.append(subprocess.run(command, timeout=300).returncode)
        train(MODEL, data, recipe=RECIPE, run_dir=folder, resume=True)
        assert files(folder) == files(whole.folder)
        assert figures(Run(folder)) == figures(whole)
        assert not list(folder.rglob("*.partial"))
        if codes[-1] == 0:
            break
    assert codes == [9] * (len(codes) - 1) + [0]
    assert len(codes) >= 7  # checkpoint, journal, three files, result, and the one that ends well


def test_a_run_folder_without_normalization_file_has_none_in_its_card(tiny_data, tmp_path, quick_curves):
    recipe = replace(RECIPE, data=replace(RECIPE.data, normalization="per-channel"))
    train(MODEL, tiny_data(), recipe=recipe, run_dir=tmp_path)
    assert "normalization_sha256" not in read_card(tmp_path)
    assert not (tmp_path / "normalization.safetensors").exists()
    assert load_trained(tmp_path).normalization.mean.shape == (3,)
