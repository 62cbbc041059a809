"""Temperature scaling: fitted as others fit it, on val alone, and carried by everything that is made of the weights."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

import reslab
from reslab.cli.main import main
from reslab.errors import WeightsError
from reslab.evaluation.temperature import divide_logits, fit_temperature, negative_log_likelihood
from reslab.models import create_model


@pytest.fixture
def scored(rng):
    """Logits of a network that is right in two cases of three and much too sure."""
    labels = rng.integers(0, 7, 600)
    logits = rng.normal(0, 6, (600, 7)).astype(np.float32)
    right = rng.random(600) < 0.6
    logits[right, labels[right]] += 12
    return logits, labels.astype(np.int64)


def test_the_temperature_is_scipys_minimum_and_scikit_learns(scored):
    logits, labels = scored
    found = fit_temperature(logits, labels)

    def nll(log_temperature):
        return -log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)[range(600), labels].mean()

    minimum = minimize_scalar(nll, bounds=(-3, 5), method="bounded", options={"xatol": 1e-9})
    assert found == pytest.approx(np.exp(minimum.x), rel=1e-5)
    assert found > 2  # it was too sure
    assert negative_log_likelihood(logits, labels) == pytest.approx(nll(0.0), rel=1e-12)

    class Known(ClassifierMixin, BaseEstimator):
        def fit(self, logits, labels):
            self.classes_ = np.arange(7)
            return self

        def decision_function(self, logits):
            return logits

        def predict(self, logits):
            return logits.argmax(axis=1)

    known = FrozenEstimator(Known().fit(logits, labels))
    theirs = CalibratedClassifierCV(known, method="temperature").fit(logits.astype(np.float64), labels)
    ours = np.exp(log_softmax(logits.astype(np.float64) / found, axis=1))
    np.testing.assert_allclose(theirs.predict_proba(logits.astype(np.float64)), ours, atol=2e-4)


def test_what_has_no_best_temperature_is_told(scored):
    logits, labels = scored
    with pytest.raises(WeightsError, match="all 600 answers are right"):
        fit_temperature(logits, logits.argmax(axis=1))
    with pytest.raises(WeightsError, match="no better than chance"):
        fit_temperature(logits, logits.argmin(axis=1))
    with pytest.raises(WeightsError, match="no temperature can be fitted"):
        fit_temperature(np.zeros_like(logits), labels)


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "keller_jordan8", "preact_resnet18", "vgg16", "seresnet18"])
def test_the_last_layer_of_every_family_divides_the_logits(name):
    model = create_model(name, num_classes=10).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = model(images)
        divide_logits(model, 2.5)
        torch.testing.assert_close(model(images), before / 2.5)


@pytest.fixture(scope="module")
def calibrated(trained, tmp_path_factory):
    """The run, its calibrated copy, and what the command said."""
    folder = tmp_path_factory.mktemp("calibrated")
    found = reslab.calibrate(trained / "run", out=folder / "run")
    return trained / "run", folder / "run", found


def test_no_answer_changes_and_probabilities_fit(calibrated, digits):
    run, copy, found = calibrated
    assert found.num_changed == 0
    assert found.after.nll < found.before.nll
    assert found.after.top1_error == found.before.top1_error
    assert (found.num_images, found.note) == (180, "")
    before, after = (reslab.load(folder).evaluate(split="val") for folder in (run, copy))
    for outcome, said in ((before, found.before), (after, found.after)):
        assert outcome.evaluation.loss == pytest.approx(said.nll, rel=1e-5)
        assert outcome.record["calibration_error"] == pytest.approx(said.calibration_error, abs=1e-4)
    test = list(digits.split("test").images)
    old, new = (reslab.load(folder).predict(test) for folder in (run, copy))
    assert [entry.label for entry in old] == [entry.label for entry in new]
    for one, other in zip(old[:20], new[:20], strict=True):
        logits = np.log(one.probabilities)
        ratios = np.log(other.probabilities) * found.temperature - logits  # a constant: softmax of logits / T
        np.testing.assert_allclose(ratios, ratios[0], atol=1e-4)


@pytest.mark.parametrize("suffix", [".onnx", pytest.param(".xml", marks=pytest.mark.slow)])
def test_exported_files_answer_as_the_run(suffix, calibrated, digits, tmp_path, operators_read_once):
    _, copy, found = calibrated
    network = reslab.load(copy)
    network.export(tmp_path / f"net{suffix}")
    exported = reslab.load(tmp_path / f"net{suffix}")
    images = list(digits.split("test").images[:50])
    for ours, theirs in zip(network.predict(images, top=10), exported.predict(images, top=10), strict=True):
        assert ours.labels == theirs.labels
        assert theirs.probabilities == pytest.approx(ours.probabilities, abs=1e-5)
    assert exported.about.temperature == network.about.temperature == pytest.approx(found.temperature)


def test_the_command_says_what_it_brought_and_a_second_time_finds_one(calibrated, tmp_path, capsys):
    _, copy, found = calibrated
    shutil.copytree(copy, tmp_path / "again")
    assert main(["calibrate", str(tmp_path / "again"), "--in-place", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["temperature"] == pytest.approx(1, abs=1e-4)
    card = json.loads((tmp_path / "again" / "card.json").read_text())
    assert card["calibration"]["temperature"] == pytest.approx(found.temperature, rel=1e-4)
    assert str(found).startswith(f"temperature {found.temperature:.4g}, fitted on 180 val images of digits\n")


def test_other_statistics_make_the_figures_of_a_calibration_void(calibrated, tmp_path, capsys):
    run, _, found = calibrated
    folder = shutil.copytree(run, tmp_path / "again")
    assert main(["calibrate", str(folder), "--in-place"]) == 0
    assert main(["precise-bn", str(folder), "--in-place", "--images", "64", "--batch-size", "32"]) == 0
    card = json.loads((folder / "card.json").read_text())
    assert card["calibration"] == {"temperature": pytest.approx(found.temperature)}


def test_only_val_images_decide(calibrated, tmp_path, digits, capsys):
    run, _, _ = calibrated
    for index, label in enumerate(digits.split("test").labels[:120]):
        for role in ("train", "val", "test"):
            folder = tmp_path / "data" / role / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{index}.png"
            if role == "val":
                Image.fromarray(digits.split("test").images[index, ..., 0]).save(path)
            else:
                path.write_text("damaged: whoever reads it fails")
    asked = ["calibrate", str(run), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_images"] == 120
    shutil.rmtree(tmp_path / "data" / "val")
    assert main(asked) == 2
    assert "has no val images, and neither train nor test images may decide" in capsys.readouterr().err


def test_a_mistake_gives_a_sentence(calibrated, tmp_path, capsys):
    run, _, _ = calibrated
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ([run], "say where to write"),
        ([run, "--out", run], "is the run itself"),
        ([tmp_path / "empty", "--in-place"], "is not the folder of a run"),
        (["resnet20", "--in-place"], "resnet20 is not the folder of a run, whose weights could be changed"),
        ([tmp_path / "net.onnx", "--in-place"], "is not the folder of a run"),
    ):
        assert main(["calibrate", *map(str, arguments)]) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert (captured.out, captured.err.count("\n")) == ("", 1)
