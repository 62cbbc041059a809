"""`reslab predict`: its words, its formats and its mistakes."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from reslab.cli.main import main


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def exported(finished, operators_read_once):
    """The run with its files."""
    assert main(["export", "onnx", str(finished)]) == 0
    assert main(["export", "openvino", str(finished)]) == 0
    return finished


@pytest.fixture
def photos(digits, tmp_path):
    """Three digits and a file that is none."""
    (tmp_path / "photos").mkdir()
    for index in (0, 1, 2):
        Image.fromarray(digits.split("test").images[index, ..., 0]).save(tmp_path / "photos" / f"{index}.png")
    (tmp_path / "photos" / "1.jpg").write_text("hello")
    return tmp_path / "photos"


def test_a_run_and_its_files_say_the_same(exported, photos, capsys):
    results = []
    for target in (exported, exported / "model.onnx", exported / "model.xml"):
        assert main(["predict", str(target), "photos", "--top", "3", "--json"]) == 1
        captured = capsys.readouterr()
        assert captured.err == "reslab: photos/1.jpg: it is not an image, or is damaged.\n"
        results.append(json.loads(captured.out))
    assert [entry["path"] for entry in results[0]] == [
        f"photos/{name}" for name in ("0.png", "1.jpg", "1.png", "2.png")
    ]
    assert [entry["error"] is None for entry in results[0]] == [True, False, True, True]
    for entries in zip(*results, strict=True):
        assert len({tuple(entry["labels"]) for entry in entries}) == 1
        for entry in entries:
            assert entry["probabilities"] == pytest.approx(entries[0]["probabilities"], abs=1e-4)
            assert len(entry["labels"]) == (0 if entry["error"] else 3)


def test_text_and_tables_say_the_same(exported, photos, capsys, tmp_path):
    (photos / "1.jpg").unlink()
    target = str(exported / "model.onnx")
    assert main(["predict", target, "photos", "--top", "2", "--engine", "openvino", "--batch-size", "2"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = [line.split("\t") for line in captured.out.splitlines()]
    assert [line[0] for line in lines] == ["photos/0.png", "photos/1.png", "photos/2.png"]
    assert main(["predict", target, "photos/0.png", "photos", "absent.png", "--out", "new/labels.csv"]) == 1
    with (tmp_path / "new" / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["path"] for row in rows] == [f"photos/{index}.png" for index in (0, 0, 1, 2) for _ in range(5)] + [
        "absent.png"
    ]
    assert rows[-1] == {
        "path": "absent.png",
        "rank": "",
        "label": "",
        "probability": "",
        "error": "there is no such file.",
        "abstained": "false",
    }
    for line in lines:
        first, second = (row for row in rows[5:] if row["path"] == line[0] and row["rank"] in ("1", "2"))
        assert line[1:] == [f"{row['label']} {float(row['probability']):.4f}" for row in (first, second)]
    assert capsys.readouterr().err == "reslab: absent.png: there is no such file.\n"


def test_what_a_run_and_its_files_rest_on_is_the_same(exported, photos, capsys):
    """By `reslab explain`, whose other tests export nothing."""
    explained, occlusion = [], ["--method", "occlusion", "--window", "5"]
    for target in (exported, exported / "model.onnx", exported / "model.xml"):
        assert main(["explain", str(target), "photos/0.png", "photos/1.jpg", "--json", *occlusion]) == 1
        captured = capsys.readouterr()
        assert captured.err == "reslab: photos/1.jpg: it is not an image, or is damaged.\n"
        explained.append([entry for entry in json.loads(captured.out) if entry["error"] is None])
        with Image.open(explained[-1][0]["picture"]) as image:
            explained[-1][0]["pixels"] = np.asarray(image.convert("RGB"), int)
    first, *others = explained
    for entries in others:
        assert np.abs(entries[0].pop("pixels") - first[0]["pixels"]).mean() < 0.1
        assert [entry["explained"][0]["label"] for entry in entries] == [entry["labels"][0] for entry in first]
        found, wanted = ([entry["probabilities"][0] for entry in listed] for listed in (entries, first))
        assert found == pytest.approx(wanted, abs=1e-4)


def test_nothing_at_all_is_still_json(exported, capsys, tmp_path):
    (tmp_path / "none").mkdir()
    assert main(["predict", str(exported / "model.onnx"), "none", "--json"]) == 1
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["path"] == "none"
    assert entry["label"] is None
    assert (entry["labels"], entry["probabilities"], entry["error"]) == ([], [], "it is a folder without images.")


WRONG = [
    (["net.onnx", "photos"], "there is no file net.onnx"),
    (
        ["resnet20", "photos"],
        "is neither an exported file nor the folder of a run; for a network's name give its --weights",
    ),
    (["photos", "photos"], "photos is not the folder of a run"),
    (["net.onnx", "photos", "--top", "0"], "--top must be a whole number of at least 1"),
    (["net.onnx", "photos", "--batch-size", "0"], "--batch-size must be a whole number of at least 1"),
    (["net.onnx", "photos", "--threads", "-1"], "--threads must be a whole number of at least 1"),
    (["net.onnx", "photos", "--mean", "0.5"], "--mean is for a model's name"),
    (["resnet20", "photos", "--weights", "absent.pth", "--engine", "openvino"], "--engine is for exported files"),
    (["resnet20", "photos", "--weights", "absent.pth"], "no weight file absent.pth"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_a_mistake_gives_a_sentence(arguments, message, photos, capsys):
    assert main(["predict", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("reslab: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_as_a_process_it_is_quiet_and_exits_with_1(exported, photos):
    command = [sys.executable, "-m", "reslab", "predict", str(exported / "model.xml"), "photos"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert done.stderr == "reslab: photos/1.jpg: it is not an image, or is damaged.\n"
    assert len(done.stdout.splitlines()) == 3
