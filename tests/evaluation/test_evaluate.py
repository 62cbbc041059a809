import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, log_loss, top_k_accuracy_score
from torch import nn

from reslab.data import Split
from reslab.data.normalization import Normalization
from reslab.evaluation import evaluate, precise_batch_norm
from reslab.models import create_model


def measured(split):
    return Normalization.measure(split.images, "per-pixel-mean")


@pytest.fixture
def net_and_split(tiny_data):
    data = tiny_data(num_images=53, num_classes=8)
    return create_model("resnet8", num_classes=8).eval(), data.split("train")


def probabilities(model, split, normalization):
    images = torch.from_numpy(normalization(split.images)).permute(0, 3, 1, 2).contiguous()
    with torch.inference_mode():
        return model(images).double().softmax(dim=1).numpy()


def test_errors_agree_with_scikit_learn(net_and_split):
    model, split = net_and_split
    found = evaluate(model, split, measured(split), batch_size=10)
    scores = probabilities(model, split, measured(split))
    for k, error in ((1, found.top1_error), (5, found.top5_error)):
        assert error == pytest.approx(100 * (1 - top_k_accuracy_score(split.labels, scores, k=k, labels=range(8))))
    assert found.loss == pytest.approx(log_loss(split.labels, scores, labels=range(8)), rel=1e-5)
    assert np.array_equal(found.confusion, confusion_matrix(split.labels, scores.argmax(axis=1), labels=range(8)))
    assert found.num_images == 53 == found.confusion.sum()


@pytest.mark.parametrize("batch_size", [1, 7, 53, 1000])
def test_the_result_does_not_depend_on_the_batch_size(net_and_split, batch_size):
    model, split = net_and_split
    expected = evaluate(model, split, measured(split))
    found = evaluate(model, split, measured(split), batch_size=batch_size)
    assert (found.top1_error, found.top5_error) == (expected.top1_error, expected.top5_error)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)


def test_with_few_classes_top5_counts_them_all(tiny_data):
    split = tiny_data().split("val")
    assert evaluate(create_model("resnet8", num_classes=4), split, measured(split)).top5_error == 0


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_the_network_as_it_was(net_and_split, training):
    model, split = net_and_split
    model.train(training)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    evaluate(model, split, measured(split))
    assert model.training == training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_precise_statistics_are_the_averages_over_the_batches(rng):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    batches = [torch.from_numpy(rng.normal(size=(6, 3, 8, 8)).astype(np.float32)) for _ in range(5)]
    with torch.no_grad():
        outputs = [model[0](images) for images in batches]
    means = torch.stack([output.mean(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    variances = torch.stack([output.var(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    precise_batch_norm(model.eval(), iter(batches))
    torch.testing.assert_close(model[1].running_mean, means)
    torch.testing.assert_close(model[1].running_var, variances)
    assert model[1].momentum == 0.1
    assert not model.training


def test_the_akamaster_net_errs_as_an_independent_program_found(shared, tmp_path_factory):
    """A tenth of the images here; `test_cli.py` has all of them among the long tests."""
    import tarfile

    from reslab.data import load_data
    from reslab.models.weights import load_weights

    folder = tmp_path_factory.mktemp("cifar") / "images"
    with tarfile.open(shared / "data" / "cifar10-jpeg.tar.xz") as archive:
        members = (
            member for member in archive if member.name.lstrip("./").startswith("test/") and member.name[-5] == "7"
        )
        archive.extractall(folder, members=members, filter="data")
    data = load_data(folder, roles=["test"])
    model = create_model("resnet20", shortcut_padding="split")
    load_weights(model, shared / "weights" / "akamaster-resnet20-12fca82f.th")
    normalization = Normalization.per_channel((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 3)
    found = evaluate(model, data.split("test"), normalization)
    assert found.num_images == 1000
    # 18.97 % of all 10,000; on a thousand of them the standard error is 1.24 points.
    assert found.top1_error == pytest.approx(18.97, abs=4)


def test_a_split_of_one_image_is_evaluated(net_and_split):
    model, split = net_and_split
    one = Split(split.images[:1], split.labels[:1])
    assert evaluate(model, one, measured(split)).num_images == 1
