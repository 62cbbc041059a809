"""A new user's way from a folder of photos to a submission, by the commands of docs/fine-tune.md, on real photos."""

import csv
import json
import shutil
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reslab
from reslab.cli.main import main
from reslab.errors import ReslabWarning

pytestmark = [pytest.mark.usefixtures("operators_read_once", "short_turns"), pytest.mark.timeout(240)]
NET = "resnet18[widths=8-16-16-32]"
# A machine that tests run on is busy with others.
QUICK = ("--hardware.threads", "1", "--workers", "0", "--batch-size", "8", "--iterations", "16", "--quiet")


@pytest.fixture(scope="session")
def few_insects(shared, made_once) -> Path:
    """Ants and bees: fourteen photos of each, and six more of each to predict."""

    def fill(folder: Path) -> None:
        with tarfile.open(shared / "data" / "hymenoptera.tar") as archive:
            for name in ("ants", "bees"):
                within = f"hymenoptera_data/train/{name}/"
                paths = sorted(path for path in archive.getnames() if path.startswith(within) and path.endswith(".jpg"))
                for number, path in enumerate(paths[:20]):
                    place = folder / ("train" if number < 14 else "new") / name
                    place.mkdir(parents=True, exist_ok=True)
                    (place / Path(path).name).write_bytes(archive.extractfile(path).read())

    return made_once("few-insects", fill)


@pytest.fixture(scope="session")
def pretrained(photos, made_once) -> Path:
    """A run on three other classes at 32 pixels."""

    def fill(folder: Path) -> None:
        for place in sorted((photos / "train").iterdir())[:3]:
            (folder / "others").mkdir(exist_ok=True)
            (folder / "others" / place.name).symlink_to(place.resolve())
        sizes = {f"data.images.{name}": "32" for name in ("train_size", "test_size", "test_resize")}
        fields = {"hardware.threads": "1", "hardware.workers": "0", "data.batch_size": "4", **sizes}
        reslab.train(NET, folder / "others", recipe="photos", iterations=3, fields=fields, run_dir=folder / "run")

    return made_once("pretrained-photos", fill) / "run"


@pytest.fixture
def run(capsys):
    """Runs a command, and gives what it prints on stdout."""

    def command(*words: object, rc: int = 0) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReslabWarning)
            assert main([*map(str, words)]) == rc, capsys.readouterr().err
        return str(capsys.readouterr().out)

    return command


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_from_photos_to_a_submission(run, few_insects, pretrained):
    shutil.copytree(few_insects / "train", "photos")
    assert "nothing is wrong" in run("data", "check", "photos")
    run("train", NET, "--data", "photos", "--recipe", "fine-tune", "--weights", pretrained, "--run-dir", "run", *QUICK)
    record = json.loads(Path("run/run.json").read_text())
    assert (record["recipe"]["name"], record["recipe"]["data"]["images"]["test_size"]) == ("fine-tune", 32)
    card = json.loads(Path("run/card.json").read_text())
    assert card["normalization"] == json.loads((pretrained / "card.json").read_text())["normalization"]
    assert 4 <= len(record["val_names"]) <= 8

    tested = json.loads(run("eval", "run", "--json"))
    assert (tested["split"], tested["num_images"]) == ("val", len(record["val_names"]))
    assert f"top-1 error {tested['top1_error']:.2f} %" in run("report", "run")
    page = Path("run/report.html").read_text()
    assert "suspicious labels" in page
    assert all(f"{name}</t" in page for name in ("ants", "bees"))

    files = sorted(few_insects.glob("new/*/*.jpg"))
    before = json.loads(run("predict", "run", few_insects / "new", "--json"))
    assert len(before) == len(files)
    assert run("explain", "run", files[0], "--out", "maps").startswith(str(files[0]))
    (drawn,) = Path("maps").iterdir()
    with Image.open(drawn) as image:
        assert min(image.size) > 100

    run("export", "onnx", "run")
    run("quantize", "run", "--engine", "onnxruntime", "--max-drop", 100, "--force", "--threads", 1, "--images", 12)
    after = json.loads(run("predict", "run/model.onnx", few_insects / "new", "--json"))
    assert [entry["labels"] for entry in after] == [entry["labels"] for entry in before]
    for one, other in zip(after, before, strict=True):
        np.testing.assert_allclose(one["probabilities"], other["probabilities"], atol=1e-4)
    exported = json.loads(run("eval", "run/model.onnx", "--data", "photos", "--split", "train", "--json"))
    own = json.loads(run("eval", "run", "--data", "photos", "--split", "train", "--json", "--no-cache"))
    assert exported["top1_error"] == own["top1_error"]
    assert Path("run/model-int8.onnx").stat().st_size < Path("run/model.onnx").stat().st_size

    sample = "id,label\n" + "".join(f"{path.stem},ants\n" for path in files)
    Path("sample_submission.csv").write_text(sample)
    words = ("--submission", "sample_submission.csv", "--out", "submission.csv")
    run("predict", "run/model.onnx", few_insects / "new", *words)
    with open("submission.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    labels = {Path(entry["path"]).stem: entry["labels"][0] for entry in before}
    assert {row["id"]: row["label"] for row in rows} == labels


def test_classes_in_capitals_and_roles_by_other_names(run, few_insects, pretrained):
    for role, place in (("Train", "train"), ("Valid", "new")):
        for name in ("ants", "bees"):
            shutil.copytree(few_insects / place / name, f"DATA/{role}/{name.upper()}")
            for path in list(Path(f"DATA/{role}/{name.upper()}").iterdir()):
                path.rename(path.with_suffix(".JPG"))
    run("train", NET, "--data", "DATA", "--recipe", "fine-tune", "--weights", pretrained, "--run-dir", "run", *QUICK)
    assert json.loads(run("eval", "run", "--json"))["num_images"] == 12
    (found,) = json.loads(run("predict", "run", sorted(Path("DATA/Valid/BEES").iterdir())[0], "--json"))
    assert set(found["labels"]) == {"ANTS", "BEES"}


def test_a_table_beside_loose_images(run, few_insects, pretrained):
    Path("contest/images").mkdir(parents=True)
    rows = []
    for path in sorted(few_insects.glob("*/*/*.jpg")):
        shutil.copy(path, "contest/images")
        rows += [f"{path.stem},{path.parent.name}\n"] if path.parts[-3] == "train" else []
    Path("contest/train.csv").write_text("id,species\n" + "".join(rows))
    words = ("--data", "contest/train.csv", "--recipe", "fine-tune", "--weights", pretrained, "--run-dir", "run")
    run("train", NET, *words, *QUICK)
    assert json.loads(Path("run/run.json").read_text())["classes"] == ["ants", "bees"]
    assert json.loads(run("eval", "run", "--json"))["split"] == "val"
    assert "report.html" in run("report", "run")


def test_a_messy_folder(run, few_insects, pretrained, capsys):
    shutil.copytree(few_insects / "train", "messy")
    first = sorted(Path("messy/ants").iterdir())
    shutil.copy(first[0], "messy/ants/Copy of it.jpg")
    with Image.open(first[1]) as image:
        image.resize((image.width // 2, image.height // 2)).save("messy/ants/small.png")
        image.convert("L").save("messy/ants/grey.jpeg")
    Path("messy/ants/.DS_Store").write_bytes(b"\0\0\0\1Bud1")
    Path("messy/__MACOSX").mkdir()
    Path("messy/ants/._1.jpg").write_bytes(b"\0\5\26\7")
    Path("messy/README.txt").write_text("my photos")
    Path("messy/loose.jpg").write_bytes(first[2].read_bytes())
    Path("messy/bees/IMG_0001.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    checked = run("data", "check", "messy")
    assert all(name in checked for name in ("Copy of it.jpg", "IMG_0001.HEIC", "1 image beside its folders"))
    run("train", NET, "--data", "messy", "--recipe", "fine-tune", "--weights", pretrained, "--run-dir", "run", *QUICK)
    names = set(json.loads(Path("run/run.json").read_text())["val_names"])
    alike = {f"ants/{name}" for name in (first[0].name, "Copy of it.jpg")}
    assert alike <= names or not alike & names
    Path("messy/bees/torn.jpg").write_bytes(first[0].read_bytes()[:2000])
    assert main(["train", NET, "--data", "messy", "--recipe", "fine-tune", "--run-dir", "again", *QUICK]) == 2
    assert "torn.jpg" in capsys.readouterr().err
    rows = json.loads(run("predict", "run", "messy/bees", "--json", rc=1))
    assert [Path(row["path"]).name for row in rows if row["error"]] == ["IMG_0001.HEIC", "torn.jpg"]
