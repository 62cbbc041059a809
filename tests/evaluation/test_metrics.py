"""Metrics of probabilities, held to scikit-learn and to computations image by image."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, log_loss, top_k_accuracy_score

from reslab.evaluation.metrics import (
    calibrate,
    class_errors,
    confused_pairs,
    worst_mistakes,
)
from reslab.tasks import Classification


@pytest.fixture
def answers(rng):
    """(scores, labels) of 500 images of 8 classes, the last of which has none."""
    labels = rng.integers(0, 7, 500)
    logits = rng.normal(size=(500, 8)) + 1.5 * np.eye(8)[labels]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return scores.astype(np.float32), labels


def test_errors_agree_with_scikit_learn(answers):
    scores, labels = answers
    found = Classification().score_probabilities(scores, labels)
    for k, error in ((1, found.top1_error), (5, found.top5_error)):
        assert error == pytest.approx(100 * (1 - top_k_accuracy_score(labels, scores, k=k, labels=range(8))))
    assert found.loss == pytest.approx(log_loss(labels, scores, labels=range(8)), rel=1e-5)
    assert np.array_equal(found.confusion, confusion_matrix(labels, scores.argmax(axis=1), labels=range(8)))


def test_a_probability_of_zero_costs_a_finite_loss():
    scores = np.array([[0, 1], [1, 0]], np.float32)
    found = Classification().score_probabilities(scores, np.array([0, 0]))
    assert found.loss == pytest.approx(87.336 / 2, abs=1e-2)
    assert found.top1_error == 50


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_the_calibration_error_is_that_of_a_computation_image_by_image(answers, num_bins):
    scores, labels = answers
    bins = [[] for _ in range(num_bins)]
    for row, label in zip(scores, labels, strict=True):
        confidence = float(row.max())
        for index in range(num_bins):
            if index / num_bins < confidence <= (index + 1) / num_bins:
                bins[index].append((confidence, float(row.argmax() == label)))
    error = sum(len(rows) * abs(sum(c for c, _ in rows) - sum(r for _, r in rows)) / len(rows) for rows in bins if rows)
    found = calibrate(scores, labels, num_bins=num_bins)
    assert found.error == pytest.approx(100 * error / 500)
    assert found.error > 1
    assert found.num_images.tolist() == [len(rows) for rows in bins]
    accuracy = [sum(right for _, right in rows) / max(1, len(rows)) for rows in bins]
    np.testing.assert_allclose(found.accuracy, accuracy)


def test_a_network_that_is_sure_and_right_is_calibrated():
    scores = np.eye(4, dtype=np.float32)
    assert calibrate(scores, np.arange(4)).error == 0
    assert calibrate(scores, (np.arange(4) + 1) % 4).error == 100
    assert calibrate(scores, np.arange(4)).num_images[-1] == 4


def test_classes_without_images_have_no_error(answers):
    scores, labels = answers
    rows = class_errors(Classification().score_probabilities(scores, labels).confusion)
    assert [row.index for row in rows] == list(range(7))
    for row in rows:
        of_class = labels == row.index
        assert row.num_images == of_class.sum()
        assert row.error == pytest.approx(100 * (scores[of_class].argmax(axis=1) != row.index).mean())


def test_the_most_confused_pairs_come_first():
    confusion = np.array([[5, 3, 0], [1, 9, 3], [0, 3, 1]])
    pairs = confused_pairs(confusion, 3)
    # Three times three: the largest share of its class first.
    assert [(pair.truth, pair.predicted, pair.num_images) for pair in pairs] == [(2, 1, 3), (0, 1, 3), (1, 2, 3)]
    assert pairs[0].share == 75
    assert len(confused_pairs(confusion, 100)) == 4


def test_the_surest_mistake_comes_first():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.05, 0.95]], np.float32)
    assert worst_mistakes(scores, np.array([1, 0, 0, 1]), 10).tolist() == [0, 1, 2]
    assert worst_mistakes(scores, np.array([1, 0, 0, 1]), 1).tolist() == [0]
    assert worst_mistakes(scores, np.array([0, 1, 1, 1]), 5).tolist() == []
