"""Networks with several labels an image, from a table to exported files."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

import reslab
import reslab.explain
from reslab.cli.main import main
from reslab.deploy import Gate, evaluate_deployed
from reslab.errors import CheckpointError, DataError, RecipeError, ReslabWarning
from reslab.explain.findings import precision_interval
from reslab.files.records import record_text
from reslab.models.weights import WEIGHTS_NAME

NAMES = ("bright", "red", "wide")
FIELDS = {
    "hardware.threads": "1",
    "hardware.workers": "0",
    "hardware.precision": "fp32",
    "data.batch_size": "16",
    "data.val_share": "0.25",
    "data.images.train_size": "24",
    "monitoring.eval_every": "20",
    "monitoring.log_every": "5",
    "monitoring.checkpoint_every": "15",
    "fine_tuning.head_first": "0",
    "optimizer.learning_rate": "0.01",
}
OPTIONS: dict[str, Any] = {"recipe": "fine-tune", "iterations": 80, "fields": FIELDS}
NET = "resnet18[widths=8-8-8-8]"

pytestmark = [
    pytest.mark.usefixtures("quick_curves"),
    pytest.mark.filterwarnings("ignore:No weights are given:reslab.errors.ReslabWarning"),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """112 JPEGs of two sizes, with any of three labels; 32 of them are test images."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("photos") / "shades"
    folder.mkdir()
    with (folder / "labels.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "labels", "split"))
        for number in range(112):
            bright, red, wide = (bool(number & bit) for bit in (1, 2, 4))
            shape = (36, 48, 3) if wide else (48, 36, 3)
            pixels = rng.integers(0, 60, shape) + (170 if bright else 40)
            pixels[..., 1:] -= 90 * red
            if wide:
                pixels[::4] = 0
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03}.jpg", quality=95)
            labels = [name for name, has in zip(NAMES, (bright, red, wide), strict=True) if has]
            writer.writerow((f"{number:03}.jpg", "|".join(labels), "test" if number >= 80 else "train"))
    return folder


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory, quick_curves) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    with pytest.warns(ReslabWarning, match="No weights are given"):
        reslab.train(NET, photos / "labels.csv", run_dir=folder, **OPTIONS)
    return folder


@pytest.fixture(scope="module")
def exported(run) -> Path:
    return reslab.load(run).export(run / "model.xml").path


def table_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_training_learns_the_labels_and_says_what_it_counts(run):
    record, figures = (json.loads((run / name).read_text()) for name in ("run.json", "result.json"))
    card = json.loads((run / "card.json").read_text())
    assert record["task"] == card["task"] == "multi-label"
    assert record["classes"] == list(NAMES)
    assert figures["val_error"] == 100 - figures["val_mean_average_precision"] < 20
    assert figures["train_error"] < 25
    assert figures["train_error_clean"] == figures["train_clean_label_error"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert min(row["val_error"] for row in rows if "val_error" in row) == figures["val_error"]  # the best was kept


def test_a_stopped_training_goes_on_bitwise(run, photos, tmp_path):
    for stop in ("7", "42"):
        reslab.train(NET, photos / "labels.csv", run_dir=tmp_path / "run", stop_after=stop, resume=True, **OPTIONS)
    done = reslab.train(resume=True, run_dir=tmp_path / "run")
    assert done.figures is not None
    assert (tmp_path / "run" / WEIGHTS_NAME).read_bytes() == (run / WEIGHTS_NAME).read_bytes()
    assert done.figures["train_error"] == json.loads((run / "result.json").read_text())["train_error"]
    assert "wrong labels in training" in str(done)
    assert "val mAP" in str(done)


def test_other_labels_are_no_resume(run, photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    table = tmp_path / "photos" / "labels.csv"
    table.write_text(table.read_text().replace("red", "blue"))
    shutil.copytree(run, tmp_path / "run")
    with pytest.raises(CheckpointError, match="cannot be resumed so: classes"):
        reslab.train(NET, table, run_dir=tmp_path / "run", resume=True, **OPTIONS)


def test_the_test_is_scikit_learns(run, photos, capsys):
    network = reslab.load(run)
    found = network.evaluate()
    split = found.data.split("test")
    assert len(split) == 32
    expected = average_precision_score(split.labels, found.scores, average=None)
    assert found.record["mean_average_precision"] == pytest.approx(100 * expected.mean())
    assert [row["average_precision"] for row in found.record["labels"]] == pytest.approx((100 * expected).tolist())
    assert found.record["mean_average_precision"] > 90
    assert main(["eval", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"mAP {100 * expected.mean():.2f} %, wrong labels ")
    assert lines[0].endswith("on 32 test images of shades, one view each")
    assert lines[2].split() == ["bright", f"{100 * expected[0]:.2f}", "%", "16"]
    assert main(["eval", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == found.record["labels"]
    assert not (run / "confusion-test.png").exists()


def test_views_are_averaged_after_the_sigmoid(run):
    one, ten, dense = (reslab.load(run).evaluate(protocol=name) for name in ("one-crop", "ten-crop", "dense"))
    for found in (ten, dense):
        assert found.scores.sum(axis=1).max() > 1.2  # a softmax adds up to 1
        assert np.abs(found.scores - one.scores).max() < 0.9


def test_a_file_is_tested_and_answers_alike(run, exported, photos):
    check_answers_alike(run, exported, photos)


@pytest.mark.slow
def test_an_onnx_file_does_so_too(run, photos):
    check_answers_alike(run, reslab.load(run).export(run / "model.onnx").path, photos)


def check_answers_alike(run, path, photos):
    images = sorted(photos.glob("*.jpg"))[:20]
    expected = reslab.load(run).predict(images)
    scores = reslab.load(run).evaluate().scores
    with reslab.load(path) as network:
        assert network.about.task == "multi-label"
        found = network.predict(images)
        assert [item.labels for item in found] == [item.labels for item in expected]
        assert [item.others for item in found] == [item.others for item in expected]
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-4)
        tested = network.evaluate(photos / "labels.csv")
        np.testing.assert_allclose(tested.scores, scores, atol=1e-4)
        found = evaluate_deployed(network.deployed, tested.data.split("test"))
        assert found.error == pytest.approx(tested.evaluation.error, abs=0.01)


def test_answers_are_the_labels_from_a_probability_on(run, photos):
    network = reslab.load(run)
    image = photos / "007.jpg"
    whole = network.predict(image, top=3)
    assert set(whole.ranked) == set(NAMES)
    shares = dict(zip(whole.ranked, whole.probabilities, strict=True))
    for threshold in (0.0, 0.3, 0.5, 1.0):
        found = network.predict(image, threshold=threshold, top=1)
        assert set(found.labels) == {name for name, share in shares.items() if share >= threshold}
        assert len(found.ranked) == max(1, len(found.labels)) == len(found.probabilities)
        assert not found.abstained
    assert network.predict(image, threshold=1.0).label is None


def test_predictions_as_text_csv_and_json(run, photos, capsys):
    image, dark = str(photos / "007.jpg"), str(photos / "000.jpg")
    found = reslab.load(run).predict([image, dark])
    assert (set(found[0].labels), found[1].labels) == (set(NAMES), ())
    assert main(["predict", str(run), image, dark]) == 0
    ranked = "\t".join(
        f"{label} {share:.4f}" for label, share in zip(found[0].labels, found[0].probabilities, strict=False)
    )
    assert capsys.readouterr().out == f"{image}\t{ranked}\n{dark}\t(none of the labels)\n"
    assert main(["predict", str(run), image, dark, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["labels"], first["ranked"]) == (list(found[0].labels), list(found[0].ranked))
    assert first["probabilities"] == pytest.approx(found[0].probabilities)
    assert (second["label"], second["labels"], len(second["ranked"]), second["abstained"]) == (None, [], 3, False)
    assert main(["predict", str(run), image, dark, "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["label"] for row in rows] == [*found[0].labels, ""]
    assert [row["rank"] for row in rows] == ["1", "2", "3", ""]


def test_a_submission_has_a_column_a_label(run, photos, tmp_path, capsys):
    sample, out = tmp_path / "sample.csv", tmp_path / "out.csv"
    sample.write_text("id,wide,red,bright\n007,0,0,0\n000,0,0,0\n")
    assert main(["predict", str(run), str(photos), "--submission", str(sample), "--out", str(out)]) == 0
    rows = table_rows(out)
    found = reslab.load(run).predict(photos / "007.jpg", top=3)
    shares = dict(zip(found.ranked, found.probabilities, strict=True))
    assert {name: float(rows[0][name]) for name in NAMES} == pytest.approx(shares, abs=1e-6)
    options = ["--submission", str(sample), "--out", str(out), "--threshold", "0.5"]
    assert main(["predict", str(run), str(photos), *options]) == 0
    assert out.read_text() == "id,wide,red,bright\n007,1,1,1\n000,0,0,0\n"
    sample.write_text("id,tags\n007,red\n")
    capsys.readouterr()
    assert main(["predict", str(run), str(photos), "--submission", str(sample), "--out", str(out)]) == 2
    assert "has one column for labels, and the network gives several an image" in capsys.readouterr().err


def test_explanations_are_of_a_label(run, exported, photos):
    network = reslab.load(run)
    image = photos / "007.jpg"
    usual = network.explain(image, neighbours=2)
    assert usual.maps[0].label == network.predict(image).labels[0]
    assert usual.answer.count("%") == 3
    assert all(set(item.label.split(", ")) <= {*NAMES, "none"} for item in usual.neighbours)
    asked = network.explain(image, label="red")
    assert asked.maps[0].label == "red"
    assert asked.maps[0].probability == pytest.approx(dict(zip(usual.labels, usual.probabilities, strict=False))["red"])
    assert reslab.load(exported).explain(image).maps[0].label == usual.maps[0].label
    assert network.explain(photos / "000.jpg").answer == "none of the labels"


@pytest.mark.slow
def test_an_int8_file_is_compared_by_its_mean_average_precision(run, tmp_path):
    found = reslab.load(run).quantize(tmp_path / "int8.xml", num_images=40, gate=Gate(max_drop=100, force=True))
    assert "100 - mAP" in str(found)
    error = json.loads((run / "result.json").read_text())["val_error"]
    assert found.comparison.float32_error == pytest.approx(error, abs=0.5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["calibrate", "RUN", "--out", "o"], "temperatures are for images with one label"),
        (["eval", "RUN", "--corruptions"], "errors under corruptions are for images with one label"),
        (["eval", "RUN", "RUN", "--ensemble"], "ensembles are for images with one label"),
        (["eval", "RUN", "--confusion", "c.png"], "errors by class are for images with one label"),
        (["paper", "run", "fig1", "--data", "TABLE"], "the paper's experiments are for images with one label"),
        (
            ["train", NET, "--data", "TABLE", "--recipe", "photos", "--regularization.mixup", "0.2"],
            "mixup is for images",
        ),
    ],
)
def test_what_is_for_one_label_is_refused(arguments, sentence, run, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    places = {"RUN": str(run), "TABLE": str(photos / "labels.csv")}
    assert main([places.get(word, word) for word in arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(sentence, said), said


def test_a_network_of_one_label_takes_no_such_data(photos):
    with pytest.raises(DataError, match=r"shades has several labels an image, and .* was trained with one label"):
        reslab.load(NET).evaluate(photos / "labels.csv")


def test_a_network_of_several_labels_takes_no_class_folders(run, photos, tmp_path):
    for number, name in enumerate(NAMES):
        (tmp_path / "val" / name).mkdir(parents=True)
        shutil.copy(photos / f"{number:03}.jpg", tmp_path / "val" / name)
    with pytest.raises(DataError, match=r"has one label an image, and .* was trained with several labels an image"):
        reslab.load(run).evaluate(tmp_path)


def test_a_report_of_a_test_has_the_labels(run, tmp_path):
    assert main(["eval", str(run), "--report", str(tmp_path / "report"), "--scores", str(tmp_path / "s.npz")]) == 0
    rows = table_rows(tmp_path / "report" / "labels.csv")
    assert [row["label"] for row in rows] == list(NAMES)
    with np.load(tmp_path / "s.npz") as kept:
        assert kept["scores"].shape == kept["labels"].shape == (32, 3)
        found = average_precision_score(kept["labels"], kept["scores"], average=None)
    assert [float(row["average_precision"]) for row in rows] == pytest.approx(100 * found, abs=1e-3)


def test_a_report_shows_each_label_and_the_surest_mistakes(run, tmp_path, browser_page):
    report = reslab.explain.report_run(run, out=tmp_path, split="test")
    page, problems = browser_page(report.page)
    assert problems == []
    evaluation, split = report.findings.outcome.evaluation, report.findings.split
    assert f"{evaluation.mean_average_precision:.2f} %" in page.locator(".answer").inner_text()
    low, high = report.findings.interval.low, report.findings.interval.high
    assert low <= evaluation.mean_average_precision <= high < 100.0001
    said = report.findings.outcome.scores >= 0.5
    rows = [row.locator("td").all_inner_texts() for row in page.locator(".by-class tbody tr").all()]
    assert {row[0] for row in rows} == set(NAMES)
    for name, images, precision, missed, alarms in rows:
        label = NAMES.index(name)
        truth = split.labels[:, label] > 0
        assert int(images) == truth.sum()
        assert precision == f"{100 * average_precision_score(truth, report.findings.outcome.scores[:, label]):.2f} %"
        assert (int(missed), int(alarms)) == ((truth & ~said[:, label]).sum(), (said[:, label] & ~truth).sum())
    assert [row[2] for row in rows] == sorted((row[2] for row in rows), key=lambda text: float(text.split()[0]))
    wrong = (said != (split.labels > 0)).any(axis=1).sum()
    assert page.locator(".mistake").count() == min(12, wrong)
    assert page.locator("#confusion, #calibration, #map, #labels").count() == 0
    assert set(report.to_dict()) >= {"mean_average_precision", "interval", "duplicates"}
    assert report.to_dict()["suspicious_labels"] is None


def test_a_card_has_the_mean_average_precision(run, tmp_path):
    report = reslab.explain.report_run(run, out=tmp_path)
    text, figure = report.card.read_text(), report.findings.outcome.record["mean_average_precision"]
    assert f"**Mean average precision {figure:.2f} % on 20 val images**" in text
    assert "Labels: bright, red, wide." in text
    from huggingface_hub import ModelCard

    result = ModelCard(text).data.eval_results[0]
    assert result.metric_type == "mAP"
    assert result.metric_value == pytest.approx(figure / 100, abs=1e-6)


def test_the_interval_of_a_perfect_network_has_no_width(run):
    found = reslab.explain.report_run(run, out=run.parent / "perfect").findings
    targets = found.split.labels
    scores = targets.astype(np.float32)
    evaluation = found.outcome.task.score_probabilities(scores, targets)
    perfect = replace(found.outcome, scores=scores, evaluation=evaluation)
    interval = precision_interval(perfect)
    assert (interval.estimate, interval.low, interval.high) == (100, 100, 100)


@pytest.mark.parametrize("task", ["boxes", 3])
def test_a_card_of_another_task_is_a_sentence(task, run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    card = json.loads((run / "card.json").read_text()) | {"task": task}
    card.pop("checksum", None)
    (tmp_path / "run" / "card.json").write_text(record_text(card))
    assert main(["eval", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "card.json" in said
    assert "task" in said
    assert said.count("\n") == 1


def test_small_images_are_trained_too(tmp_path):
    rng, rows = np.random.default_rng(1), ["file,red,bright"]
    for number in range(48):
        red, bright = number & 1, number >> 1 & 1
        pixels = rng.integers(0, 50, (8, 8, 3)) + 150 * bright
        pixels[..., 0] += 50 * red
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(f"{number},{red},{bright}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    fields = {"data.batch_size": "16", "data.val_images": "12", "hardware.threads": "1", "optimizer.accumulate": "2"}
    done = reslab.train(
        "resnet8[widths=4-4-4]", tmp_path / "labels.csv", recipe="cifar-paper", iterations=30, fields=fields,
        run_dir=tmp_path / "run",
    )  # fmt: skip
    assert done.figures is not None
    assert done.figures["num_val_images"] == 12
    assert done.figures["val_mean_average_precision"] > 80
    assert reslab.load(tmp_path / "run").predict(tmp_path / "3.png").ranked != ()


def test_a_recipe_is_refused_before_anything_is_written(photos, tmp_path):
    with pytest.raises(RecipeError, match=r"data\.sampling = balanced is for images with one label"):
        reslab.train(
            NET, photos / "labels.csv", run_dir=tmp_path / "run", recipe="fine-tune", iterations=5,
            fields={**FIELDS, "data.sampling": "balanced"},
        )  # fmt: skip
    assert not (tmp_path / "run").exists()
