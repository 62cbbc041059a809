"""`reslab eval` and `reslab precise-bn`: protocols, ensembles, scores, reports, the cache, and mistakes."""

import csv
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reslab.analysis.fonts import fonts_for
from reslab.analysis.plots import plot_contact_sheet
from reslab.cli.main import main
from reslab.data.imagenet import imagenet_names
from reslab.models import create_model
from reslab.models.conversion import write_state_dict
from reslab.models.weights import read_card
from reslab.training import train

TINY = "resnet18[blocks=1-1-1-1,widths=8-8-8-8]"
SMALL = "resnet8[blocks=1,widths=8]"
HANGUL = ("강아지", "고양이", "호랑이")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def photos(shared, tmp_path_factory):
    """The folder of 200 photos, one of a class."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    with tarfile.open(shared / "data" / "imagenet-sample-200.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def few_photos(photos, tmp_path_factory):
    """Twelve of them."""
    folder = tmp_path_factory.mktemp("data") / "few"
    for path in sorted(photos.glob("val/*/*"))[::17]:
        (folder / "val" / path.parent.name).mkdir(parents=True)
        shutil.copy(path, folder / "val" / path.parent.name)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file for TINY with 1000 classes whose logits differ from image to image."""
    torch.manual_seed(1)
    model = create_model(TINY)
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 96, 96))
        model.fc.weight.mul_(20)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    write_state_dict(model, path)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(SMALL, "digits", recipe="digits-quick", iterations=30, run_dir=folder)
    return folder


@pytest.fixture
def hangul(tmp_path, rng):
    """A folder of small images in three classes with Korean names."""
    for number, name in enumerate(HANGUL):
        for index in range(4):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) // (1 + number)
            path = tmp_path / "동물" / "test" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path / "동물"


def evaluated(capsys, *arguments):
    assert main(["eval", *map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def scores_of(name):
    with np.load(f"{name}.npz") as content:
        return dict(content)


KNOWN = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")


def test_labels_and_scores_have_the_networks_class_indices(photos, weights, capsys):
    """A folder of 200 of ImageNet's classes, and a network of all 1000."""
    found = evaluated(
        capsys, f"{TINY}={weights}", *KNOWN, "--data", photos, "--resize", 40, "--crop", 32, "--scores", "scores.npz"
    )
    assert (found["num_images"], found["split"], found["protocol"]) == (200, "val", "one-crop")
    assert found["protocol_fields"] == {
        "name": "one-crop",
        "resize": 40,
        "crop": [32, 32],
        "interpolation": "bilinear",
    }
    content = scores_of("scores")
    scores, labels, paths = content["scores"], content["labels"], content["paths"]
    assert (scores.dtype, scores.shape, labels.dtype) == (np.float32, (200, 1000), np.int64)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    wnids = list(imagenet_names())
    assert [wnids[label] for label in labels] == [path.split("/")[1] for path in paths]
    assert len(set(labels.tolist())) == 200
    assert found["top1_error"] == 100 * (scores.argmax(axis=1) != labels).mean()
    assert np.ptp(scores, axis=0).max() > 0.05


@pytest.mark.parametrize(
    ("protocol", "fields"),
    [
        (["one-crop", "--crop", "56"], {"resize": 64, "crop": [56, 56]}),
        (["ten-crop", "--resize", "80", "--crop", "64"], {"resize": 80, "average": "probabilities"}),
        (["ten-crop", "--resize", "80", "--crop", "64", "--average", "logits"], {"average": "logits"}),
        (["dense", "--scales", "64,96", "--pool", "global"], {"scales": [64, 96], "pool": "global", "window": [7, 7]}),
        (["dense", "--scales", "64", "--flips"], {"flips": True, "pool": "sliding"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_protocol_says_its_fields(few_photos, weights, capsys, protocol, fields):
    found = evaluated(capsys, TINY, "--weights", weights, *KNOWN, "--data", few_photos, "--protocol", *protocol)
    assert found["protocol"] == protocol[0]
    assert found["protocol_fields"].items() >= fields.items()
    assert {"top1_error", "top5_error", "loss", "num_images", "data_sha256", "weights_sha256"} <= set(found)


def test_photos_are_seen_as_the_network_was_made_for(few_photos, weights, capsys):
    found = evaluated(capsys, f"{TINY}={weights}", *KNOWN, "--data", few_photos)
    assert (found["protocol_fields"]["resize"], found["protocol_fields"]["crop"]) == (256, [224, 224])
    found = evaluated(capsys, f"{TINY}={weights}", *KNOWN, "--data", few_photos, "--protocol", "ten-crop")
    assert (found["protocol_fields"]["resize"], found["protocol_fields"]["crop"]) == (256, [224, 224])


def test_an_ensemble_of_a_network_with_itself_is_the_network(few_photos, weights, capsys):
    small = ("--resize", "72", "--crop", "64", "--data", few_photos)
    alone = evaluated(capsys, f"{TINY}={weights}", *KNOWN, *small, "--scores", "alone.npz")
    together = evaluated(
        capsys, f"{TINY}={weights}", f"{TINY}={weights}", *KNOWN, *small, "--ensemble", "--scores", "together.npz"
    )
    for name in ("top1_error", "top5_error", "loss", "num_images", "data_sha256", "protocol"):
        assert together[name] == alone[name]
    assert (together["top1_gain"], len(together["members"])) == (0, 2)
    np.testing.assert_array_equal(scores_of("alone")["scores"], scores_of("together")["scores"])


def test_an_ensemble_averages_what_its_members_say(finished, capsys, tmp_path):
    shutil.copytree(finished, tmp_path / "second")
    assert main(["precise-bn", "second", "--in-place"]) == 0
    names = (str(finished), "second")
    for number, name in enumerate(names):
        assert main(["eval", name, "--scores", f"{number}.npz"]) == 0
    capsys.readouterr()
    assert main(["eval", *names, "--ensemble", "--scores", "all.npz"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == [*names, "ensemble"]
    assert "than the best of its members" in lines[3]
    one, other, both = (scores_of(name) for name in ("0", "1", "all"))
    assert np.abs(one["scores"] - other["scores"]).max() > 0.01
    np.testing.assert_allclose(both["scores"], (one["scores"] + other["scores"]) / 2, atol=1e-6)
    wrong = 100 * (both["scores"].argmax(axis=1) != both["labels"]).mean()
    assert f"top-1 error {wrong:.2f} %" in lines[2]
    assert both["paths"].tolist()[:2] == ["0", "1"]


def test_scores_are_computed_once(finished, capsys, tmp_path):
    for number in range(2):
        assert main(["eval", str(finished), "--scores", f"{number}.npz"]) == 0
    told = capsys.readouterr().err
    assert told.count("are in the cache; --no-cache computes them.") == 1
    (kept,) = (tmp_path / "cache" / "reslab" / "scores").iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])
    assert main(["eval", str(finished), "--scores", "2.npz"]) == 0
    assert main(["eval", str(finished), "--no-cache", "--scores", "3.npz"]) == 0
    assert capsys.readouterr().err == ""
    for number in range(1, 4):
        np.testing.assert_array_equal(scores_of(number)["scores"], scores_of(0)["scores"])


def test_fresh_weights_are_warned_of_and_the_same_every_time(few_photos, capsys):
    small = ("--crop", "32", "--data", str(few_photos))
    found = []
    for flags in (["--no-cache"], ["--no-cache"], []):
        assert main(["eval", TINY, *small, "--json", *flags]) == 0
        captured = capsys.readouterr()
        assert captured.err.count("gets fresh, random weights, which have learned nothing") == 1
        found.append(json.loads(captured.out))
    assert found[0]["loss"] == found[1]["loss"] == found[2]["loss"]
    assert len({entry["weights_sha256"] for entry in found}) == 1
    assert found[0]["normalization"]["mean"] == pytest.approx([0.485, 0.456, 0.406])


def test_small_images_are_seen_whole_and_take_the_protocols(hangul, capsys):
    whole = evaluated(capsys, SMALL, "--data", hangul)
    assert (whole["split"], whole["num_images"], whole["protocol_fields"]["crop"]) == ("test", 12, None)
    same = evaluated(capsys, SMALL, "--data", hangul, "--crop", 16)
    assert same["loss"] == pytest.approx(whole["loss"], abs=1e-5)
    ten = evaluated(capsys, SMALL, "--data", hangul, "--protocol", "ten-crop", "--crop", 12)
    assert (ten["protocol_fields"]["resize"], ten["protocol_fields"]["crop"]) == (16, [12, 12])
    dense = evaluated(capsys, SMALL, "--data", hangul, "--protocol", "dense")
    assert (dense["protocol_fields"]["scales"], dense["protocol_fields"]["window"]) == ([16, 18, 27, 34, 46], [16, 16])
    none = evaluated(capsys, SMALL, "--data", hangul, "--protocol", "shifted", "--shift", 0)
    assert none["loss"] == pytest.approx(whole["loss"], abs=1e-5)


def test_what_shifted_images_leave_free_is_as_in_training(finished, hangul, tmp_path, capsys):
    digits = evaluated(capsys, finished, "--protocol", "shifted", "--shift", 2)
    mean = np.mean(digits["normalization"]["mean"])
    assert digits["protocol_fields"]["border"] == [round(255 * mean)]
    assert round(255 * mean) > 0
    black = evaluated(capsys, finished, "--protocol", "shifted", "--shift", 2, "--border", "black")
    assert black["protocol_fields"] == digits["protocol_fields"] | {"border": [0]}
    assert black["loss"] != digits["loss"]
    weights = evaluated(capsys, SMALL, "--data", hangul, "--protocol", "shifted")
    assert weights["protocol_fields"]["border"] == [0]
    flags = ["--data.images.pad-with", "black", "--iterations", "2", "--run-dir", str(tmp_path / "run"), "--quiet"]
    assert main(["train", SMALL, "--data", "digits", "--recipe", "digits-quick", *flags]) == 0
    capsys.readouterr()
    assert evaluated(capsys, tmp_path / "run", "--protocol", "shifted")["protocol_fields"]["border"] == [0]
    assert main(["eval", str(finished), "--protocol", "shifted"]) == 0
    assert ", shifted by up to 1 over the colour " in capsys.readouterr().out


def test_photos_are_not_shifted(few_photos, weights, capsys):
    assert main(["eval", f"{TINY}={weights}", *KNOWN, "--data", str(few_photos), "--protocol", "shifted"]) == 2
    assert "shifted is for small images; photos have room for --protocol ten-crop" in capsys.readouterr().err


def test_a_report_has_pictures_and_tables_in_any_script(hangul, capsys):
    assert main(["eval", SMALL, "--data", str(hangul), "--report", "report", "--json"]) == 0
    captured = capsys.readouterr()
    told = "No font on this machine has the characters" in captured.err
    assert told == bool(fonts_for(HANGUL)[1])
    report = json.loads(Path("report/report.json").read_text(encoding="utf-8"))
    assert report["top1_error"] == json.loads(captured.out)["top1_error"]
    assert [row["class"] for row in report["classes"]] == list(HANGUL)
    errors = np.array([row["error"] for row in report["classes"]])
    assert errors.mean() == pytest.approx(report["top1_error"])
    with Path("report/classes.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["class"], row["num_images"]) for row in rows] == [(name, "4") for name in HANGUL]
    assert len(report["worst_mistakes"]) == round(12 * report["top1_error"] / 100)
    assert sum(pair["num_images"] for pair in report["confused_pairs"]) == len(report["worst_mistakes"])
    assert sum(row["num_images"] for row in report["calibration"]["bins"]) == 12
    for name in ("confusion", "reliability", "mistakes"):
        with Image.open(f"report/{name}.png") as picture:
            assert min(picture.size) > 200


def test_names_in_any_script_are_drawn_without_a_warning(tmp_path):
    names = ["강아지", "猫", "قطة", "ไก่", "$5 and $6", "a" * 100, ""]
    images = [Image.new("L" if index else "RGB", (20 + index, 30)) for index in range(len(names))]
    plot_contact_sheet(images, [[name, name] for name in names], "동물", tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    assert fonts_for(["Hund chat собака قطة"]) == (("DejaVu Sans",), "")


def test_imagenets_classes_have_readable_names(few_photos, capsys):
    evaluated(capsys, TINY, "--crop", "32", "--data", few_photos, "--report", "report")
    report = json.loads(Path("report/report.json").read_text(encoding="utf-8"))
    assert report["classes"][0]["class"] == "tench (n01440764)"
    assert len(report["classes"]) == 12


def test_several_networks_are_listed(hangul, capsys):
    both = evaluated(capsys, SMALL, "resnet8[blocks=1,widths=4]", "--data", hangul)
    assert [entry["model"] for entry in both] == [SMALL, "resnet8[blocks=1,widths=4]"]
    assert main(["eval", SMALL, "resnet8[blocks=1,widths=4]", "--data", str(hangul)]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        SMALL,
        "resnet8[blocks=1,widths=4]",
    ]


def test_precise_statistics_are_written_with_a_card_that_says_so(finished, capsys):
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    assert main(["precise-bn", str(finished), "--images", "500", "--out", "precise", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["num_images"], found["batch_size"]) == (480, 32)
    assert {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()} == before
    card, old = read_card(Path("precise")), read_card(finished)
    assert card["batch_norm"].startswith("strict averages over 480 train images of digits in batches of 32")
    assert card["sha256"] != old["sha256"]
    assert card["errors"]["val_error"] == found["val_error_after"]
    assert "train_error_clean" not in card["errors"]
    checked = evaluated(capsys, "precise", "--data", "digits", "--split", "test")
    assert checked["weights_sha256"] == card["sha256"]
    result = json.loads((finished / "result.json").read_text())
    assert found["val_error_before"] == result["val_error"]


WRONG = [
    (["nothing"], "nothing is not the folder of a run, and there is no model named 'nothing'"),
    ([SMALL], "on which images? Give --data"),
    ([SMALL, "--data", "digits", "--scales", "32"], "--scales is for dense, not for one-crop"),
    ([SMALL, "--data", "digits", "--protocol", "dense", "--crop", "8"], "--crop is for one-crop and ten-crop"),
    ([SMALL, "--data", "digits", "--average", "logits"], "--average is for ten-crop, shifted and dense"),
    ([SMALL, "--data", "digits", "--flips"], "--flips is for shifted and dense"),
    ([SMALL, "--data", "digits", "--protocol", "dense", "--shift", "1"], "--shift is for shifted, not for dense"),
    (
        [SMALL, "--data", "digits", "--protocol", "shifted", "--shift", "9"],
        "--shift must be a whole number from 0 to 8, not 9",
    ),
    ([SMALL, "--data", "digits", "--protocol", "ten-crop"], "for ten crops give --crop or --resize"),
    ([SMALL, "--data", "digits", "--protocol", "ten-crop", "--crop", "30"], "hold no crop of 30x30"),
    ([SMALL, "--data", "digits", "--resize", "0"], "--resize must be a whole number from 1"),
    (
        [SMALL, "--data", "digits", "--protocol", "dense", "--scales", "big"],
        "--scales must be whole numbers from 1 to 16,384, joined by dashes, not big",
    ),
    ([SMALL, "--data", "digits", "--protocol", "dense", "--scales", "0"], "whole numbers from 1"),
    ([SMALL, "--data", "digits", "--ensemble"], "an ensemble takes two networks or more"),
    ([SMALL, SMALL, "--data", "digits", "--scores", "a.npz"], "for one network, or for an --ensemble"),
    ([SMALL, SMALL, "--data", "digits", "--weights", "a.pth"], "write each as MODEL=WEIGHTS"),
    ([f"{SMALL}=absent.pth", "--data", "digits"], "give --mean"),
    ([f"{SMALL}=absent.pth", "--data", "digits", "--mean", "0.5"], "no weight file absent.pth"),
    ([SMALL, "--data", "digits", "--device", "abacus"], "--device abacus is not on this machine"),
    ([SMALL, "--data", "digits", "--batch-size", "0"], "--batch-size must be a whole number of at least 1"),
    (
        ["net.onnx", "--data", "digits", "--protocol", "dense"],
        "net.onnx is an exported file, which is tested with one view as it says",
    ),
    (["net.onnx", "--data", "digits", "--scores", "a.npz"], "there is no file net.onnx"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_a_mistake_gives_a_sentence(arguments, message, capsys):
    assert main(["eval", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    assert line.startswith("reslab: ")
    assert message in line
    assert "Traceback" not in captured.err


def test_members_for_other_classes_are_refused(finished, hangul, capsys):
    assert main(["eval", str(finished), "--data", str(hangul)]) == 2
    assert "has the class '강아지', which the network does not know" in capsys.readouterr().err
    assert main(["eval", SMALL, "resnet8[num_classes=5]", "--data", str(hangul), "--ensemble"]) == 2
    assert "is for 5 classes" in capsys.readouterr().err


def test_what_is_not_there_is_named(few_photos, finished, tmp_path, weights, capsys):
    assert main(["eval", TINY, "--data", str(few_photos), "--split", "train"]) == 2
    assert "few has no train images; it has val" in capsys.readouterr().err
    shutil.copytree(few_photos, tmp_path / "other")
    (tmp_path / "other" / "val" / "n01440764").rename(tmp_path / "other" / "val" / "unicorn")
    many = f"{TINY[:-1]},num_classes=1000]={weights}"
    assert main(["eval", many, *KNOWN, "--data", "other"]) == 2
    assert "is for 1000 classes, and other has 12; its classes have no names" in capsys.readouterr().err
    assert main(["eval", str(finished), "--data", "digits", "--mean", "0.5"]) == 2
    assert "--mean is for weight files without a card" in capsys.readouterr().err


PRECISE_WRONG = [
    (["absent", "--in-place"], "absent is not the folder of a run"),
    (["RUN"], "either --out DIR, or --in-place"),
    (["RUN", "--out", "new", "--in-place"], "either --out DIR, or --in-place"),
    (["RUN", "--out", "RUN"], "is the run itself"),
    (["RUN", "--out", "new", "--images", "1"], "--images must be a whole number of at least 2"),
    (["RUN", "--out", "new", "--batch-size", "1"], "--batch-size must be a whole number of at least 2"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), PRECISE_WRONG, ids=[" ".join(arguments) for arguments, _ in PRECISE_WRONG]
)
def test_a_mistake_with_precise_bn_gives_a_sentence(arguments, message, finished, capsys):
    assert main(["precise-bn", *(str(finished) if item == "RUN" else item for item in arguments)]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert message in captured.err
