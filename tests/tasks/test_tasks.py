"""What each task says of targets, losses, scores and answers, held to scikit-learn, torch and the text."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional

from reslab.data.targets import FORMS, ONE_LABEL, SEVERAL_LABELS, form_of
from reslab.errors import DataError, RecipeError
from reslab.tasks import Classification, MultiLabel, Task, find_task
from reslab.training.recipe import BinaryCrossEntropy, RegularizationRecipe

NAMES = ("ant", "bee", "cat", "dog")


@pytest.fixture(scope="module")
def outputs() -> tuple[np.ndarray, np.ndarray]:
    """Logits of 200 images and four labels with ties among them, and targets; no image has the last one."""
    rng = np.random.default_rng(0)
    targets = (rng.random((200, 4)) < (0.5, 0.1, 0.9, 0)).astype(np.uint8)
    logits = (rng.standard_normal((200, 4)) + targets).round(1).astype(np.float32)
    return logits, targets


def test_tasks_are_found_by_name():
    assert isinstance(find_task("classification"), Classification)
    assert isinstance(find_task("multi-label"), MultiLabel)
    assert set(FORMS) == {find_task(name).name for name in FORMS}
    with pytest.raises(DataError, match=r"there is no task 'multilabel'; .* did you mean multi-label\?"):
        find_task("multilabel")


def test_the_mean_average_precision_is_scikit_learns(outputs):
    logits, targets = outputs
    found = MultiLabel().score([(torch.from_numpy(logits[:70]), torch.from_numpy(targets[:70])),
                                (torch.from_numpy(logits[70:]), torch.from_numpy(targets[70:]))])  # fmt: skip
    expected = average_precision_score(targets[:, :3], logits[:, :3], average=None)
    np.testing.assert_allclose(found.average_precision[:3], 100 * expected)
    assert np.isnan(found.average_precision[3])
    assert found.error == pytest.approx(100 - 100 * expected.mean())
    assert found.label_error == pytest.approx(100 * ((logits >= 0) != targets).mean())
    assert found.num_images == 200
    loss = functional.binary_cross_entropy_with_logits(
        torch.from_numpy(logits).double(), torch.from_numpy(targets * 1.0)
    )
    assert found.loss == pytest.approx(loss.item(), rel=1e-6)
    assert found.by_class(NAMES)[3] == {"label": "dog", "num_images": 0, "average_precision": None}


def test_without_any_label_the_error_is_whole():
    found = MultiLabel().score([(torch.randn(5, 2), torch.zeros(5, 2, dtype=torch.uint8))])
    assert found.error == 100
    assert np.isfinite(found.loss)


def test_an_endlessly_sure_network_has_a_finite_loss():
    sure = torch.tensor([[1e4, -1e4]])
    found = MultiLabel().score([(sure, torch.tensor([[0, 1]], dtype=torch.uint8))])
    assert 50 < found.loss < 100
    assert MultiLabel().score([(sure, torch.tensor([[1, 0]], dtype=torch.uint8))]).loss < 1e-6


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("kind", [{}, {"loss": BinaryCrossEntropy()}])
def test_the_loss_is_torchs(smoothing, kind, outputs):
    logits, targets = map(torch.from_numpy, outputs)
    loss = MultiLabel().make_loss(RegularizationRecipe(label_smoothing=smoothing, **kind), 4)
    smooth = targets.float() * (1 - smoothing) + smoothing / 2
    torch.testing.assert_close(loss(logits, targets), torch.nn.BCEWithLogitsLoss()(logits, smooth))


@pytest.mark.parametrize(("task", "wrong", "number"), [(Classification(), 1, 3), (MultiLabel(), 2, 9)])
def test_wrong_answers_are_counted(task: Task, wrong, number):
    logits = torch.tensor([[3.0, -1, -2], [-1, 2, 1], [-1, -2, 3]])
    targets = {
        "classification": torch.tensor([0, 1, 1]),
        "multi-label": torch.tensor([[1, 0, 0], [0, 1, 0], [0, 1, 1]]),
    }
    assert task.count_wrong(logits, targets[task.name]) == wrong
    assert task.num_answers(targets[task.name]) == number
    assert [len(part) for part in task.parts(targets[task.name], 2)] == [2, 1]


@pytest.mark.parametrize("task", [Classification(), MultiLabel()])
def test_probabilities_are_the_same_in_torch_and_numpy(task: Task, outputs):
    ours = task.probabilities(torch.from_numpy(outputs[0]).double()).numpy()
    np.testing.assert_allclose(task.array_probabilities(outputs[0]), ours, rtol=1e-12)
    assert (task.explained(ours)[:, 0] == outputs[0].argmax(axis=1)).all()
    decided = outputs[0].argmax(axis=1) if task.name == "classification" else ours >= 0.5
    assert (task.decisions(outputs[0]) == decided).all()


def test_an_answer_is_the_best_classes_or_all_labels_that_are_probable_enough():
    row = np.array([0.1, 0.9, 0.5, 0.7])
    one = Classification().answer(row, NAMES, 2, 0.95)
    assert (one.labels, one.probabilities, one.abstained, one.others) == (("bee", "dog"), (0.9, 0.7), True, None)
    several = MultiLabel().answer(row, NAMES, 2, 0.5)
    assert (several.labels, several.others, several.probabilities) == (("bee", "dog", "cat"), (), (0.9, 0.7, 0.5))
    none = MultiLabel().answer(row, NAMES, 2, 0.95)
    assert (none.labels, none.others, none.abstained) == ((), ("bee", "dog"), False)


@pytest.mark.parametrize(
    ("fields", "sampling", "name"),
    [
        ({"mixup": 0.2}, "uniform", "regularization.mixup"),
        ({"cutmix": 1.0}, "uniform", "regularization.cutmix"),
        ({"class_weights": "balanced"}, "uniform", "regularization.class_weights"),
        ({}, "balanced", "data.sampling = balanced"),
        ({"loss": BinaryCrossEntropy(target_threshold=0.2)}, "uniform", "target_threshold"),
    ],
)
def test_what_is_for_one_label_is_refused(fields, sampling, name):
    with pytest.raises(RecipeError, match=f"{name} is for images with one label, and these have several"):
        MultiLabel().check(RegularizationRecipe(**fields), sampling)
    Classification().check(RegularizationRecipe(**fields), sampling)


def test_relabelling_moves_columns():
    targets = np.array([[1, 0], [1, 1], [0, 0]], np.uint8)
    moved = SEVERAL_LABELS.relabelled(targets, np.array([2, 0]), 3)
    assert moved.tolist() == [[0, 0, 1], [1, 0, 1], [0, 0, 0]]
    assert moved.dtype == np.uint8
    assert [SEVERAL_LABELS.names(row, NAMES) for row in moved] == ["cat", "ant, cat", "none"]
    assert ONE_LABEL.relabelled(np.array([0, 1]), np.array([2, 0]), 3).tolist() == [2, 0]


@pytest.mark.parametrize(("least", "most"), [(2, 50), (2, 3), (5, 2), (40, 50), (2, 1)])
def test_strata_are_large_and_few_enough(least, most):
    rng = np.random.default_rng(1)
    targets = (rng.random((60, 30)) < 0.06).astype(np.uint8)
    strata = form_of("multi-label").strata(targets, least=least, most=most)
    sizes = np.unique(strata, return_counts=True)[1]
    assert len(sizes) <= most
    assert sizes.min() >= least


def test_a_stratum_is_of_the_rarest_label():
    targets = np.array([[1, 0, 0]] * 6 + [[1, 1, 0]] * 4 + [[0, 0, 0]] * 3 + [[1, 1, 1]] * 2, np.uint8)
    strata = SEVERAL_LABELS.strata(targets, least=2, most=10)
    assert [len(set(strata[part])) for part in (slice(0, 6), slice(6, 10), slice(10, 13), slice(13, 15))] == [1] * 4
    assert len(set(strata)) == 4
