"""Deeper networks that compute what shallower ones do."""

import pytest
import torch
from torch import nn

from reslab.analysis.construction import deepened
from reslab.errors import DataError, ModelError
from reslab.models import create_model, parse_model


def lively(spelling):
    """A network whose norms do something."""
    model = create_model(spelling)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


def logits(model, images, *, training=False):
    model.train(training)
    with torch.no_grad():
        return model(images)


@pytest.mark.parametrize("size", [8, 32])
def test_plain_56_that_is_a_plain_20(size):
    model, images = lively("plain20"), torch.randn(4, 3, size, size)
    deeper = deepened(model, 56)
    assert deeper.spec == parse_model("plain56")
    assert sum(parameter.numel() for parameter in deeper.parameters()) == 853_018
    assert list(deeper.state_dict()) == list(create_model("plain56").state_dict())
    expected = logits(model, images)
    torch.testing.assert_close(logits(deeper, images), expected, rtol=1e-5, atol=1e-5)
    # In training the added norms normalise what they are given, and are no identities.
    assert (logits(deeper, images, training=True) - logits(model, images, training=True)).abs().max() > 0.1


@pytest.mark.parametrize(
    "fields",
    [
        *("plain14[norm=none]", "plain14[block=single]", "plain14[block=triple,conv_bias=true]"),
        *("resnet14", "resnet14[shortcut=B]", "resnet14[shortcut=C]", "resnet14[shortcut=gated,gate_bias=-1]"),
        *("resnet14[order=pre]", "resnet14[order=pre,activation=gelu]", "resnet14[order=norm-after-addition]"),
        *("resnet14[order=relu-before-addition]", "resnet14[order=relu-only,shortcut=C]", "resnet14[norm=group]"),
        *("resnet14[block=bottleneck,shortcut=C]", "resnet14[squeeze_excitation=4]", "resnet14[norm=none]"),
        "resnet14[shortcut=C,projection_norm=false,stochastic_depth=0.5]",
    ],
)
def test_every_kind_of_block_that_can_be_an_identity_is_one(fields):
    model, images = lively(fields), torch.randn(3, 3, 8, 8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    deeper = deepened(model, added_blocks=(2, 0, 1))
    assert torch.equal(random, torch.get_rng_state())
    assert deeper.spec.blocks == (4, 2, 3)
    assert not deeper.training
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    expected = logits(model, images)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(logits(deeper, images), expected, rtol=1e-5, atol=1e-5)
    if fields in ("resnet14", "resnet14[shortcut=B]", "resnet14[order=pre]"):  # F is 0 in training, too
        expected = logits(model, images, training=True)
        torch.testing.assert_close(logits(deeper, images, training=True), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "spelling", ["plain20", "resnet14[shortcut=C]", "resnet14[order=norm-after-addition]", "plain14[block=single]"]
)
def test_calibrated_layers_are_nearly_identities_in_training_too(spelling):
    model = lively(spelling)
    batches, images = torch.randn(2, 64, 3, 16, 16), torch.randn(64, 3, 16, 16)
    deeper = deepened(model, added_blocks=(2, 2, 2), calibration=[batches[0]])
    own = logits(model, batches[0], training=True)
    torch.testing.assert_close(logits(deeper, batches[0], training=True), own, rtol=1e-3, atol=1e-3)
    deeper = deepened(model, added_blocks=(2, 2, 2), calibration=batches)
    torch.testing.assert_close(logits(deeper, images), logits(model, images), rtol=1e-4, atol=1e-4)
    own, calibrated, exact = (
        logits(network, images, training=True) for network in (model, deeper, deepened(model, added_blocks=(2, 2, 2)))
    )
    assert (calibrated - own).std() < 0.2 * (exact - own).std()


def test_calibration_leaves_the_statistics_of_the_shallower_net():
    model, images = lively("plain14"), torch.randn(8, 3, 8, 8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    deepened(model, 20, calibration=[images])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_another_classifier_and_precision_are_copied():
    model = create_model("plain14").double()
    model.reset_classifier(4, "catavgmax")
    deeper, images = deepened(model, 20), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert torch.equal(logits(deeper, images), logits(model, images))
    assert deeper.get_classifier() is not model.get_classifier()


@pytest.mark.parametrize(
    ("spelling", "sentence"),
    [
        ("plain14[block=bottleneck]", "narrows"),
        ("plain14[norm=group]", "normalises each image"),
        ("plain14[activation=elu]", "elu changes what it has given"),
        ("plain14[squeeze_excitation=4]", "squeeze-and-excitation"),
        ("resnet14[activation=silu]", "silu changes"),
        ("resnet14[order=pre,shortcut=C]", "start after the activation"),
        ("resnet14[order=relu-before-addition,activation=sigmoid]", "never 0"),
        ("resnet14[shortcut=C,norm=group]", "normalises each image"),
    ],
)
def test_what_cannot_be_an_identity_is_said_in_a_sentence(spelling, sentence):
    with pytest.raises(ModelError, match=sentence):
        deepened(create_model(spelling), added_blocks=(1, 1, 1))


def test_a_depth_is_reached_by_whole_blocks():
    model = create_model("plain14")
    with pytest.raises(ModelError, match=r"14 layers gets deeper by 6 at a time.*not to 21"):
        deepened(model, 21)
    with pytest.raises(ModelError, match="not to 8"):
        deepened(model, 8)
    with pytest.raises(ModelError, match="3 numbers from 0"):
        deepened(model, added_blocks=(1, -1, 1))
    with pytest.raises(ModelError, match="either the depth"):
        deepened(model)
    with pytest.raises(ModelError, match="VGG has no blocks"):
        deepened(create_model("vgg16", blocks=(1,), widths=(4,)), added_blocks=(1,))
    with pytest.raises(DataError, match="no images to calibrate"):
        deepened(model, 20, calibration=[])
