"""`reslab data`, as it is called."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from reslab.cli.main import main


@pytest.fixture
def pets(tmp_path):
    for role, count in (("train", 3), ("val", 2)):
        for name in ("고양이", "dog"):
            (tmp_path / "pets" / role / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.full((40, 50, 3), 40 * number + (name == "dog"), np.uint8)
                pixels[number, number] = 255
                pixels[number + 9, 4] = role == "val"
                Image.fromarray(pixels).save(tmp_path / "pets" / role / name / f"{number}.png")
    return tmp_path / "pets"


def test_list_tells_where_data_are(capsys, tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert main(["data", "list", "--data-dir", str(tmp_path), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["cifar10"]["path"] == str(tmp_path / "cifar-10-batches-py")
    assert "scikit-learn" in rows["digits"]["path"]
    assert main(["data", "list"]) == 0
    assert "imagenet" in capsys.readouterr().out


def test_check_ends_with_1_only_where_something_cannot_be_used_and_stays(capsys, pets, tmp_path):
    assert main(["data", "check", str(pets)]) == 0
    assert "6 train, 4 val in 2 classes" in (shown := capsys.readouterr().out)
    assert "nothing is wrong" in shown
    (pets / "train" / "dog" / "bad.png").write_bytes(b"bad")
    assert main(["data", "check", str(pets)]) == 1
    assert "train/dog/bad.png: it is not an image" in capsys.readouterr().out
    assert main(["data", "check", str(pets), "--policy", "skip", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"]["unreadable"] == 1
    away = ["--policy", "quarantine", "--quarantine", str(tmp_path / "bad")]
    assert main(["data", "check", str(pets), *away]) == 0
    assert f"1 moved to {tmp_path / 'bad'}" in capsys.readouterr().out
    assert main(["data", "check", str(pets)]) == 0


def test_stats_are_those_of_the_train_images(capsys, pets, tmp_path):
    out = tmp_path / "mean.safetensors"
    assert main(["data", "stats", str(pets), "--size", "40", "--resize", "40", "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    images = [np.asarray(Image.open(path))[:, 5:45] / 255 for path in sorted((pets / "train").rglob("*.png"))]
    np.testing.assert_allclose(found["mean"], np.mean(images, axis=(0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(found["std"], np.std(images, axis=(0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(load_file(out)["mean"], np.mean(images, axis=0), atol=1e-6)
    assert main(["data", "stats", "digits"]) == 0
    assert "1,257 images of 16x16" in capsys.readouterr().out


def test_pack_writes_what_train_reads(capsys, pets, tmp_path):
    shards, run = tmp_path / "shards", tmp_path / "run"
    assert main(["data", "pack", str(pets), "--out", str(shards), "--shard-size", "10kB"]) == 0
    assert "6 train, 4 val images in" in capsys.readouterr().out
    weights = []
    # fmt: off
    for data in (pets, shards):
        assert main(["train", "resnet18[widths=8-8-8-8]", "--data", str(data), "--recipe", "imagenet-90",
                     "--iterations", "2", "--batch-size", "4", "--train-size", "32", "--data.images.test-size", "32",
                     "--data.images.test-resize", "32", "--hardware.workers", "0", "--quiet",
                     "--run-dir", str(run / data.name)]) == 0
        weights.append((run / data.name / "weights.safetensors").read_bytes())
    # fmt: on
    assert weights[0] == weights[1]
    capsys.readouterr()
    assert main(["data", "pack", str(pets), "--out", str(shards)]) == 2
    assert "has a packed data set already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "none"], "there is no folder none"),
        (["check", ".", "--policy", "quarantine"], "belong together"),
        (["check", ".", "--quarantine", "bad"], "belong together"),
        (["stats", "none"], "no data at 'none'"),
        (["stats", "imagenet"], "ImageNet cannot be downloaded"),
        (["pack", "none", "--out", "shards"], "no data at 'none'"),
        (["pack", "pets", "--out", "shards", "--shard-size", "much"], "cannot read the size"),
        (["mend"], "there is no command `reslab data mend`"),
    ],
)
def test_mistakes_get_a_sentence(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESLAB_DATA", raising=False)
    assert main(["data", *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "shards").exists()


def test_short_flags_of_train_are_checked_with_the_long_ones(pets, tmp_path, capsys):
    # fmt: off
    assert main(["train", "resnet18[widths=8-8-8-8]", "--data", str(pets), "--recipe", "imagenet-paper",
                 "--iterations", "2", "--batch-size=9", "--optimizer.accumulate", "3", "--train_size", "32",
                 "--data.images.crop.shorter-side", "36-48", "--data.images.test-size", "32",
                 "--data.images.test-resize", "32",
                 "--workers", "0", "--run-dir", str(tmp_path / "run")]) == 0
    # fmt: on
    recipe = json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]
    assert (recipe["data"]["batch_size"], recipe["data"]["images"]["train_size"], recipe["hardware"]["workers"]) == (
        9,
        32,
        0,
    )
    assert "the rate drops when the val error does not" in capsys.readouterr().err


def test_check_compares_the_checksums_of_shards(pets, tmp_path, capsys):
    shards = tmp_path / "shards"
    assert main(["data", "pack", str(pets), "--out", str(pets / "train")]) == 2
    assert "would be read with it" in capsys.readouterr().err
    assert main(["data", "pack", str(pets), "--out", str(shards)]) == 0
    assert main(["data", "check", str(shards)]) == 0
    assert "6 train, 4 val images in shards with the checksums" in capsys.readouterr().out
    with (shards / "val-000000.tar").open("r+b") as stream:
        stream.write(b"?")
    assert main(["data", "check", str(shards)]) == 2
    assert "is not the shard that the index was written for" in capsys.readouterr().err
