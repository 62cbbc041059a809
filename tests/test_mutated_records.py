"""Records with a value of another kind in any place: the same answer as before, or a sentence that names the file."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from reslab import train
from reslab.checkpoints import load_checkpoint, newest_checkpoint, save_checkpoint
from reslab.cli.main import main
from reslab.data.normalization import Normalization
from reslab.errors import ReslabError
from reslab.files.records import read_record, write_record
from reslab.files.torch_file import save_sealed
from reslab.models import create_model
from reslab.models.conversion import convert_weights
from reslab.models.weights import save_weights
from reslab.runs import Run, describe_run
from reslab.trained import Reference, load_trained
from reslab.training.recipe import Duration, HardwareRecipe
from reslab.training.recipe_files import load_recipe

NAME = "resnet8[widths=4-4-4]"
OTHERS = (None, True, 3, 2.5, "text", [], ["a"], {}, {"a": 1})
OPTIONAL = ("data_spec", "test_error")  # null or missing where nobody knows
FIGURES = {"model": NAME, "train_error": 5.0, "test_error": 7.5, "seed": 0, "iterations": 2, "warmup_ended_at": None}
DATA = {
    "name": "digits",
    "num_classes": 3,
    "height": 8,
    "width": 8,
    "channels": 3,
    "splits": {"train": {"num_images": 9, "sha256": "ab" * 32}},
}


def make_run(folder, *, finished):
    """A run's folder as training leaves it, without a training."""
    torch.manual_seed(0)
    model = create_model(NAME, num_classes=3)
    run = Run(folder)
    asked = {
        "model": NAME,
        "net": model.spec.to_dict(),
        "data": DATA,
        "recipe": load_recipe("digits-quick").to_dict(),
        "seed": 0,
        "weights": None,
        "shards": 1,
    }
    rest = {"data_spec": "digits", "test_curve": False, "iterations": 2, "numerics": 1, "classes": ["a", "b", "c"]}
    run.start({**asked, **rest, "execution": {"device": "cpu"}, "environment": {"torch": "2"}})
    log = run.row_log()
    for iteration in (1, 2):
        log.append({"iteration": iteration, "loss": 2.5, "train_error": 10.0 - iteration, "learning_rate": 0.1})
    normalization = Normalization.per_channel((0.4, 0.5, 0.6), (0.2, 0.3, 0.4), 3)
    card = {
        "model": NAME,
        "net": model.spec.to_dict(),
        "data": DATA,
        "data_spec": "digits",
        "val_images": 0,
        "classes": ["a", "b", "c"],
        "normalization": normalization.to_dict(),
        "preprocessing": None,
        "pad_with": "mean",
        "recipe": "digits-quick",
        "asked": run.asked,
    }
    seen = {"mean": torch.tensor(normalization.mean), "std": torch.tensor(normalization.std)}
    weights = {"model": model.state_dict(), "average": {}}
    save_checkpoint(
        run.checkpoints, {"iteration": 2, "asked": run.asked, "card": card, "seen": seen, **weights}, keep=1
    )
    if finished:
        save_weights(model, folder, card)
        run.finish(FIGURES, log.mark)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("finished") / "run", finished=True)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("stopped") / "run", finished=False)


def answers(folder):
    """All that is answered from the files of a run, as a text."""
    described = describe_run(Run(folder))
    trained = load_trained(folder)
    about = trained.about
    with torch.no_grad():
        logits = trained.model(torch.ones(1, 3, 8, 8))
    seen = trained.normalization(np.full((1, 8, 8, 3), 100, np.uint8))
    reference = Reference.parse(folder)
    of_images = [about.preprocessing, about.classes, about.pad_with, about.data, about.held_out, about.sees_whole]
    return repr([described, about.model, *of_images, logits.tolist(), float(seen.sum()), reference.batch_size])


def places(value, way=()):
    """Ways to all entries of a record, tables and lists themselves too."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in inner:
        if not isinstance(item, torch.Tensor):
            yield (*way, key)
            yield from places(item, (*way, key))


def kind(value):
    return "number" if type(value) in (int, float) else type(value).__name__


def copied(value):
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def mutations(record):
    """The record with one entry of another kind, or without it."""
    for way in places(record):
        for other in (*OTHERS, KeyError):
            if other in (None, KeyError) and way[-1] in OPTIONAL:
                continue
            changed = copied(record)
            inner = changed
            for key in way[:-1]:
                inner = inner[key]
            whole_to_broken = type(inner[way[-1]]) is int and other == 2.5
            if other is KeyError:
                del inner[way[-1]]
            elif kind(inner[way[-1]]) == kind(other) and not whole_to_broken:
                continue
            else:
                inner[way[-1]] = other
            yield f"{'.'.join(map(str, way))} = {other!r}", changed


def check(folder, records, write):
    """Every mutation gives the answers from before, or a sentence that names a file of the folder."""
    before, wrong = answers(folder), []
    for what, changed in records:
        write(changed)
        try:
            if answers(folder) != before:
                wrong.append(f"{what}: another answer")
        except ReslabError as error:
            if str(folder) not in str(error):
                wrong.append(f"{what}: {error}")
        except Exception as error:  # whatever it is, it is listed
            wrong.append(f"{what}: {type(error).__name__} {error}")
    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize("name", ["run.json", "card.json", "result.json"])
def test_a_record_with_a_value_of_another_kind(finished, name):
    path = finished / name
    record = read_record(path, schema_version=2, error=ReslabError, if_missing="", checksum=True)
    asked = ("net", "recipe", "environment", "execution")  # what asks for another run, or is not read
    changes = mutations(record)
    if name == "run.json":  # of what is covered by one digest, a part
        changes = [item for at, item in enumerate(changes) if not item[0].startswith(asked) or at % 7 == 0]
    before = path.read_bytes()
    try:
        check(finished, changes, lambda changed: write_record(path, changed))
    finally:
        path.write_bytes(before)


def test_rows_with_a_value_of_another_kind(stopped):
    run, path = Run(stopped), stopped / "metrics.jsonl"
    before, rows = path.read_bytes(), run.rows()

    def write(changed):
        log = run.row_log()
        log.keep_none()
        for row in changed:
            log.append(row)

    try:
        check(stopped, ((what, changed) for what, changed in mutations(rows) if isinstance(changed[0], dict)), write)
    finally:
        path.write_bytes(before)


def test_a_checkpoint_with_a_value_of_another_kind(stopped):
    (path,) = (stopped / "checkpoints").iterdir()
    before, state = path.read_bytes(), load_checkpoint(path)
    net = ("card.net.", "card.data.")  # of which card.json's test has all
    changes = [item for at, item in enumerate(mutations(state)) if not item[0].startswith(net) or at % 5 == 0]
    try:
        check(stopped, changes, lambda changed: save_sealed(changed, path))
    finally:
        path.write_bytes(before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "checkpoint"])
def test_a_resume_comes_to_the_same_weights_or_says_what_is_wrong(name, tiny_data, tmp_path, quick_curves):
    """The records of a stopped run, each with a value of another kind, and then `train --resume`."""
    data = tiny_data()
    recipe = replace(load_recipe("digits-quick").resolved(40).rescaled(4), hardware=HardwareRecipe(threads=1))
    recipe = replace(recipe, monitoring=replace(recipe.monitoring, log_every=Duration(1)))
    made = {"data": data, "recipe": recipe}
    whole = train(NAME, run_dir=tmp_path / "whole", **made).run.folder / "weights.safetensors"
    stopped = train(NAME, run_dir=tmp_path / "stopped", stop_after="2", **made).run
    checkpoint = newest_checkpoint(stopped.checkpoints)
    for other in stopped.checkpoints.iterdir():  # the one before it would be gone on from, with a warning
        if other != checkpoint:
            other.unlink()
    kept = {path: path.read_bytes() for path in (stopped.record_path, stopped.folder / "metrics.jsonl", checkpoint)}
    records = {"run.json": stopped.record, "metrics.jsonl": stopped.rows(), "checkpoint": load_checkpoint(checkpoint)}
    changes = [item for item in mutations(records[name]) if name != "metrics.jsonl" or isinstance(item[1][0], dict)]
    outcomes, wrong = {"same": 0, "refused": 0}, []
    always = ("best_", "seconds", "iteration", "meter.seconds", "plateau", "warmup.recent")  # used long after reading
    step = max(1, len(changes) // 80)
    for what, changed in (item for at, item in enumerate(changes) if at % step == 0 or item[0].startswith(always)):
        folder = tmp_path / "again"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(stopped.folder, folder)
        run = Run(folder)
        if name == "run.json":
            write_record(run.record_path, changed)
        elif name == "checkpoint":
            save_sealed(changed, run.checkpoints / checkpoint.name)
        else:
            log = run.row_log()
            log.keep_none()
            for row in changed:
                log.append(row)
        try:
            train(NAME, run_dir=folder, resume=True, **made)
            outcomes["same"] += 1
            if (folder / "weights.safetensors").read_bytes() != whole.read_bytes():
                wrong.append(f"{what}: other weights")
        except ReslabError as error:
            outcomes["refused"] += 1
            if str(folder) not in str(error):
                wrong.append(f"{what}: {error}")
        except Exception as error:  # whatever it is, it is listed
            wrong.append(f"{what}: {type(error).__name__} {error}")
    assert wrong == [], "\n".join(wrong)
    assert outcomes["refused"] > 0
    assert all(path.read_bytes() == content for path, content in kept.items())


CONTENTS = {
    "empty": b"",
    "zeros": bytes(4096),
    "not UTF-8": b'{"model": "\xff\xfe"}',
    "a list": b"[]",
    "a text": b'"text"',
    "a number": b"3",
    "null": b"null",
    "cut short": b'{"model": "resnet',
    "NaN": b'{"schema_version": 2, "model": NaN, "checksum": "x"}',
    "a number of 5,000 digits": b'{"schema_version": ' + b"1" * 5000 + b"}",
    "half a character": b'{"schema_version": 2, "model": "\\ud800", "checksum": "x"}',
    "20,000 brackets": b"[" * 20_000,
    "20,000 tables": b'{"a":' * 20_000,
    "a version that is a list": b'{"schema_version": [2]}',
    "a version that is true": b'{"schema_version": true}',
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("name", ["run.json", "card.json", "result.json", "metrics.jsonl"])
def test_a_file_that_is_no_record(finished, name, content):
    path = finished / name
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        with pytest.raises(ReslabError, match=name) as caught:
            answers(finished)
        assert "\n" not in str(caught.value)
    finally:
        path.write_bytes(before)


def test_a_record_of_gigabytes_is_not_read(finished):
    """A sparse file, which takes no room on the disk."""
    for name in ("run.json", "metrics.jsonl"):
        path = finished / name
        before = path.read_bytes()
        with path.open("r+b") as stream:
            stream.truncate(5 << 30)
        try:
            with pytest.raises(ReslabError, match=rf"{name}.* 5,368,709,120 bytes, and .* are read at most"):
                answers(finished)
        finally:
            path.write_bytes(before)


def test_the_command_line_says_it(finished, capsys):
    path = finished / "run.json"
    before = path.read_bytes()
    write_record(path, {**json.loads(before), "seed": "0"})
    try:
        assert main(["eval", str(finished)]) == 2
        assert f"{path} is damaged: seed must be a whole number, and is a text" in capsys.readouterr().err
    finally:
        path.write_bytes(before)


def test_a_converted_run_holds_its_card_to_its_kinds(finished, tmp_path):
    path = finished / "card.json"
    before = path.read_bytes()
    card = json.loads(before)
    try:
        for net in (3, {}, {**card["net"], "blocks": "1-1-1"}, {**card["net"], "widths": [10**9] * 3}):
            write_record(path, {**card, "net": net})
            with pytest.raises(ReslabError, match=r"card.json"):
                convert_weights(finished, out=tmp_path / "w.pth")
    finally:
        path.write_bytes(before)
