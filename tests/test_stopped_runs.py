"""A run that was stopped is a network, too: its newest checkpoint, or the best one where the recipe asks for that."""

import json
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import reslab
from reslab.checkpoints import load_checkpoint
from reslab.cli.main import main
from reslab.evaluation import evaluate
from reslab.trained import load_trained

pytestmark = pytest.mark.usefixtures("operators_read_once", "short_turns")
MODEL = "resnet8[blocks=1,widths=8]"
FIELDS = {
    "hardware.threads": "1",
    "hardware.compile": "off",
    "hardware.fused_norms": "off",
    "monitoring.checkpoint_every": "4",
    "monitoring.eval_every": "4",
}


pytestmark = pytest.mark.usefixtures("quick_curves")


def stop(folder, **fields):
    """A run of 20 iterations that was stopped after 10, with validation after 4 and 8."""
    done = reslab.train(MODEL, "digits", iterations=20, fields=FIELDS | fields, run_dir=folder, stop_after="10")
    assert (done.iteration, done.figures) == (10, None)
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    return stop(tmp_path_factory.mktemp("runs") / "stopped")


@pytest.fixture(scope="module")
def best_asked(tmp_path_factory):
    return stop(tmp_path_factory.mktemp("runs") / "best", **{"monitoring.weights": "best-on-val"})


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def state_of(folder, name):
    return load_checkpoint(folder / "checkpoints" / name, unsealed_too=False)["model"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_commands_use_the_newest_checkpoint_and_say_so(stopped, digits, capsys):
    said = f"{stopped} is not finished: its state after iteration 10 is used (iteration-0000010.pt)."
    Image.fromarray(digits.split("test").images[0, ..., 0]).save("digit.png")
    quantize = ("--engine", "onnxruntime", "--images", "20", "--threads", "1", "--force", "--max-drop", "100")
    for command in (
        ("eval", str(stopped)),
        ("predict", str(stopped), "digit.png"),
        ("export", "onnx", str(stopped), "--out", "net.onnx"),
        ("quantize", str(stopped), "--out", "int8.onnx", *quantize),
        ("convert", str(stopped), "--to", "timm", "--out", "timm.safetensors"),
    ):
        assert main([*command, "--json"]) == 0
        captured = capsys.readouterr()
        assert captured.err.splitlines()[0] == said
        assert json.loads(captured.out)
        assert "Traceback" not in captured.err
    assert not (stopped / "weights.safetensors").exists()  # it can be gone on with as before


def test_its_error_is_the_checkpoints(stopped, digits, capsys):
    trained = load_trained(stopped)
    assert same(trained.model.state_dict(), state_of(stopped, "iteration-0000010.pt"))
    expected = evaluate(trained.model, digits.split("test"), trained.normalization)
    assert main(["eval", str(stopped), "--json", "--no-cache"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["top1_error"], found["loss"]) == (expected.top1_error, pytest.approx(expected.loss, rel=1e-5))


def test_an_ended_runs_weights_are_the_checkpoints(stopped, tmp_path, capsys):
    copy = shutil.copytree(stopped, tmp_path / "run")
    assert main(["eval", str(copy), "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert main(["train", "--finish", "--run-dir", str(copy), "--json", "--quiet"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["iterations"], result["stopped_at"]) == (20, 10)
    assert same(load_file(copy / "weights.safetensors"), state_of(copy, "iteration-0000010.pt"))
    assert main(["eval", str(copy), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""  # it is finished, and nothing need be said
    after = json.loads(captured.out)
    assert (after["top1_error"], after["loss"]) == (before["top1_error"], before["loss"])


def test_the_state_that_is_best_on_val_is_taken_where_the_recipe_asks_for_it(best_asked, tmp_path, capsys):
    rows = [json.loads(line) for line in (best_asked / "metrics.jsonl").read_text().splitlines()]
    errors = {row["iteration"]: row["val_error"] for row in rows if "val_error" in row}
    best = min(errors, key=lambda iteration: errors[iteration])
    assert sorted(errors) == [4, 8]
    trained = load_trained(best_asked)
    assert trained.about.note.endswith(f"its state after iteration {best} is used (best-on-val.pt).")
    assert same(trained.model.state_dict(), state_of(best_asked, "best-on-val.pt"))
    assert not same(trained.model.state_dict(), state_of(best_asked, "iteration-0000010.pt"))
    copy = shutil.copytree(best_asked, tmp_path / "run")
    assert main(["train", "--finish", "--run-dir", str(copy), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["val_error"] == errors[best]
    assert same(load_file(copy / "weights.safetensors"), state_of(copy, "best-on-val.pt"))


def test_where_there_is_no_checkpoint_yet_there_is_a_sentence(stopped, tmp_path, capsys):
    copy = shutil.copytree(stopped, tmp_path / "run")
    for path in (copy / "checkpoints").iterdir():
        path.unlink()
    for command in (
        ("eval", "run"),
        ("predict", "run", "x.png"),
        ("export", "onnx", "run"),
        ("quantize", "run"),
        ("precise-bn", "run", "--out", "new"),
        ("convert", "run"),
        ("train", "--finish", "--run-dir", "run"),
    ):
        assert main(command) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.splitlines()[-1].startswith("reslab: run is not ") or "no checkpoint yet" in captured.err


def test_a_damaged_checkpoint_is_passed_over_or_named(stopped, tmp_path, capsys):
    copy = shutil.copytree(stopped, tmp_path / "run")
    newest, before = sorted((copy / "checkpoints").glob("iteration-*"), reverse=True)
    newest.write_bytes(newest.read_bytes()[:-100])
    assert main(["eval", "run", "--json"]) == 0
    assert f"({before.name})" in capsys.readouterr().err
    assert newest.exists()  # who only reads leaves it where it is
    before.write_bytes(b"")
    assert main(["eval", "run"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert "checkpoint" in captured.err


def test_weights_of_a_run_named_with_their_model_have_its_card(trained, capsys):
    """Its normalisation, data and classes: the same answer as of the run itself."""
    weights = trained / "run" / "weights.safetensors"
    assert main(["eval", str(trained / "run"), "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)
    assert main(["eval", f"resnet8={weights}", "--json"]) == 0
    theirs = json.loads(capsys.readouterr().out)
    differing = {name for name in ours if ours[name] != theirs[name]}
    assert differing <= {"model", "run", "cached"}
    assert theirs["normalization"]["kind"] == "per-pixel-mean"
    assert main(["eval", f"resnet14={weights}", "--data", "digits", "--mean", "0.5"]) == 2  # of another network
    assert "does not fit the model" in capsys.readouterr().err
