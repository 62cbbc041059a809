"""Features, their neighbours, and suspicious labels: held to scikit-learn, timm's contract and cleanlab."""

import cleanlab
import numpy as np
import pytest
import torch
from cleanlab.rank import get_label_quality_scores
from sklearn.neighbors import NearestNeighbors

import reslab
from reslab.data.batches import evaluation_batches
from reslab.explain import embed, nearest, suspicious_labels


def test_features_are_what_the_classifier_sees(network, digits):
    split = digits.split("val")
    told = []
    found = embed(network.trained, split, use_cache=False, advance=told.append)
    model = network.trained.model
    with torch.no_grad():
        (images, _), *_ = evaluation_batches(split, network.trained.normalization, len(split))
        features = model.forward_head(model.forward_features(images), pre_logits=True)
        scores = model(images).softmax(dim=1)
    np.testing.assert_allclose(found.features, features.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.scores, scores.numpy(), rtol=1e-4, atol=1e-6)
    assert sum(told) == len(split)


def test_features_are_computed_once(network, digits, monkeypatch):
    split = digits.split("val")
    first = embed(network.trained, split)
    monkeypatch.setattr("reslab.explain.embedding.evaluation_batches", None)
    told = []
    again = embed(network.trained, split, advance=told.append)
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.scores, again.scores)
    assert told == [len(split)]


def test_neighbours_are_scikit_learns(rng):
    among, queries = (rng.normal(size=(count, 12)).astype(np.float32) for count in (200, 9))
    indices, cosines = nearest(queries, among, 6)
    distances, theirs = NearestNeighbors(n_neighbors=6, metric="cosine").fit(among).kneighbors(queries)
    np.testing.assert_array_equal(indices, theirs)
    np.testing.assert_allclose(cosines, 1 - distances, atol=1e-6)


def test_an_image_without_features_is_like_nothing():
    among = np.array([[0, 0], [1, 0], [0, 2]], np.float32)
    indices, cosines = nearest(np.array([[3, 0], [0, 0]], np.float32), among, 5)
    assert indices.tolist() == [[1, 0, 2], [0, 1, 2]]
    assert cosines.tolist() == [[1, 0, 0], [0, 0, 0]]


def noisy(rng, num_images, num_classes, noise, classes_without=()):
    """Labels of which some are wrong, and what a fairly good network says of the images."""
    truth = rng.integers(0, num_classes, num_images)
    logits = rng.normal(size=(num_images, num_classes))
    logits[np.arange(num_images), truth] += 3
    labels = np.where(rng.random(num_images) < noise, rng.integers(0, num_classes, num_images), truth)
    for missing in classes_without:
        labels[labels == missing] = (missing + 1) % num_classes
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return scores.astype(np.float32), labels


@pytest.mark.parametrize(("num_classes", "missing"), [(2, ()), (3, ()), (10, ()), (10, (4,))])
def test_suspicious_labels_are_cleanlabs(num_classes, missing, rng):
    for noise in (0.0, 0.1, 0.4):
        scores, labels = noisy(rng, 400, num_classes, noise, missing)
        ours = suspicious_labels(scores, labels)
        theirs = cleanlab.filter.find_label_issues(
            labels,
            scores,
            filter_by="confident_learning",
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        )
        assert sorted(ours.indices.tolist()) == sorted(theirs.tolist())
        quality = get_label_quality_scores(labels, scores, method="self_confidence", adjust_pred_probs=False)
        np.testing.assert_allclose(ours.quality, quality, atol=1e-7)
        assert (np.diff(ours.quality[ours.indices]) >= 0).all()
        assert (ours.suggested != labels[ours.indices]).all()


def test_wrong_labels_of_real_images_are_found(network, digits, rng):
    split = digits.split("test")
    wrong = rng.permutation(len(split))[:20]
    labels = split.labels.copy()
    labels[wrong] = (labels[wrong] + 1 + rng.integers(0, 9, 20)) % 10
    found = suspicious_labels(embed(network.trained, split, use_cache=False).scores, labels)
    assert len(set(found.indices[:25].tolist()) & set(wrong.tolist())) >= 12
    assert len(found.indices) < len(split) / 3


def test_no_images_have_no_suspicious_labels():
    found = suspicious_labels(np.empty((0, 3), np.float32), np.empty(0, np.int64))
    assert (len(found.indices), len(found.quality), len(found.suggested)) == (0, 0, 0)


def test_the_names_are_there_when_they_are_asked_for():
    assert set(reslab.explain.__all__) <= set(dir(reslab.explain))
    assert all(getattr(reslab.explain, name) for name in reslab.explain.__all__)
