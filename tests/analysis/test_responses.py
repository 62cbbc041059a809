"""Responses of layers, held to hooks written for these tests, and to what batch norm's parameters say."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from reslab.analysis.responses import estimated_responses, layer_responses
from reslab.errors import DataError, ModelError
from reslab.models import create_model


def with_random_norms(model):
    """Scales, shifts and statistics that do something."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


def outputs_of(model, names, images):
    """What modules give for all images at once in evaluation mode, as numpy arrays."""
    kept = {}
    modules = dict(model.named_modules())
    hooks = [
        modules[name].register_forward_hook(
            lambda module, args, output, name=name: kept.__setitem__(name, output.numpy().astype(np.float64))
        )
        for name in names
    ]
    training = model.training
    with torch.no_grad():
        model.eval()(images)
    model.train(training)
    for hook in hooks:
        hook.remove()
    return kept


def state_of(model):
    return {
        "tensors": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "modes": [module.training for module in model.modules()],
        "needs": [parameter.requires_grad for parameter in model.parameters()],
        "grads": [parameter.grad for parameter in model.parameters()],
        "hooks": [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "random": torch.get_rng_state().tolist(),
    }


def assert_same_state(one, two):
    assert {name: value for name, value in one.items() if name != "tensors"} == {
        name: value for name, value in two.items() if name != "tensors"
    }
    for name, tensor in one["tensors"].items():
        assert torch.equal(tensor, two["tensors"][name]), name


PLACES = {
    "plain8": ["bn1", *(f"layer{stage}.0.bn{number}" for stage in (1, 2, 3) for number in (1, 2))],
    "resnet8[block=triple]": ["bn1", *(f"layer{stage}.0.bn{number}" for stage in (1, 2, 3) for number in (1, 2, 3))],
    "resnet8[block=bottleneck,shortcut=C]": ["bn1", *(f"layer{stage}.0.bn2" for stage in (1, 2, 3))],
    "resnet8[norm=group]": ["bn1", *(f"layer{stage}.0.bn{number}" for stage in (1, 2, 3) for number in (1, 2))],
    "resnet8[norm=none]": ["conv1", *(f"layer{stage}.0.conv{number}" for stage in (1, 2, 3) for number in (1, 2))],
    "resnet8[order=pre]": [
        "layer1.0.bn1",  # the stem's norm, too
        "layer1.0.bn2",
        "layer1.0.conv2",
        "layer2.0.bn2",
        "layer2.0.conv2",
        "layer3.0.bn2",
        "layer3.0.conv2",
    ],
    "resnet8[order=norm-after-addition]": ["bn1"]
    + [name for stage in (1, 2, 3) for name in (f"layer{stage}.0.bn1", f"layer{stage}.0.conv2")],
    "resnet8[stem=deep]": ["conv1.1", "conv1.4", "bn1"]
    + [f"layer{stage}.0.bn{number}" for stage in (1, 2, 3) for number in (1, 2)],
    "resnet8[stem=imagenet]": [f"layer{stage}.0.bn{number}" for stage in (1, 2, 3) for number in (1, 2)],
}


@pytest.mark.parametrize("spelling", PLACES)
def test_responses_are_those_of_all_images_together(spelling):
    model = with_random_norms(create_model(spelling))
    images = torch.randn(11, 3, 32, 32)
    expected = outputs_of(model, PLACES[spelling], images)
    before = state_of(model)
    found = layer_responses(model, images.split([4, 1, 6]))
    assert_same_state(before, state_of(model))
    assert [response.std for response in found] == pytest.approx(
        [expected[name].std() for name in PLACES[spelling]], rel=1e-5
    )
    norms = [not isinstance(dict(model.named_modules())[name], nn.Conv2d) for name in PLACES[spelling]]
    assert [response.after_norm for response in found] == norms
    assert all(isinstance(dict(model.named_modules())[response.name], nn.Conv2d) for response in found)


def test_layers_stand_in_the_order_of_figure_7():
    """6n + 1 layers: every convolution of a CIFAR net, and no projection."""
    images = [torch.randn(2, 3, 8, 8)]
    for spelling in ("plain20", "resnet20", "resnet20[shortcut=C]"):
        found = layer_responses(create_model(spelling), images)
        assert [response.name for response in found] == ["conv1"] + [
            f"layer{stage}.{block}.conv{number}" for stage in (1, 2, 3) for block in range(3) for number in (1, 2)
        ]
        assert [(response.stage, response.block) for response in found][-3:] == [(3, 1), (3, 2), (3, 2)]
        assert (found[0].stage, found[0].block) == (0, 0)
    (names,) = ([response.name for response in layer_responses(create_model("resnet50"), [torch.randn(1, 3, 32, 32)])],)
    assert len(names) == 3 + 4 + 6 + 3
    assert all(name.endswith("conv2") for name in names)


def test_a_vgg_has_stages_without_blocks():
    model = create_model("vgg16_bn", blocks=(1, 2), widths=(8, 16), num_classes=2)
    found = layer_responses(model, [torch.randn(3, 3, 16, 16)])
    assert [(response.name, response.stage, response.block, response.after_norm) for response in found] == [
        ("features.0", 1, 0, True),
        ("features.4", 2, 0, True),
        ("features.7", 2, 1, True),
    ]


@pytest.mark.parametrize("spelling", ["plain20", "resnet20[shortcut=B]"])
def test_the_estimate_is_the_measurement_where_norms_see_what_they_expect(spelling):
    """With statistics of the very images; over other images of the same kind the two are near each other."""
    model = with_random_norms(create_model(spelling)).train()
    images = torch.randn(256, 3, 16, 16)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(images)
    estimated = [response.std for response in estimated_responses(model)]
    assert [response.std for response in layer_responses(model, [images])] == pytest.approx(estimated, rel=2e-3)
    others = torch.randn(256, 3, 16, 16)
    assert [response.std for response in layer_responses(model, [others])] == pytest.approx(estimated, rel=0.05)


def test_the_estimate_of_one_norm_by_hand():
    model = create_model("plain8")
    with torch.no_grad():
        model.bn1.weight.copy_(torch.linspace(-1, 1, 16))
        model.bn1.bias.copy_(torch.arange(16.0))
    gamma, beta = np.linspace(-1, 1, 16), np.arange(16.0)
    first, second = estimated_responses(model)[:2]
    assert first.std == pytest.approx(np.sqrt(np.mean(gamma**2) + np.var(beta)))
    assert second.std == 1  # at the start: scale 1, shift 0


def test_responses_of_millions_of_images_lose_no_digits():
    """Sums of float32 would: a mean a thousand times the standard deviation."""
    model = create_model("plain8[norm=none]")
    with torch.no_grad():
        nn.init.dirac_(model.conv1.weight)
        model.conv1.weight *= 16 / 3  # three of 16 channels are images, the others 0
    images = torch.randn(64, 3, 16, 16) + 1000
    expected = outputs_of(model, ["conv1"], images)["conv1"].std()
    found = layer_responses(model, images.split(7))[0].std
    assert found == pytest.approx(expected, rel=1e-9)


def test_results_are_json():
    (first, *_) = layer_responses(create_model("plain8"), [torch.randn(2, 3, 8, 8)])
    table = json.loads(json.dumps(first.to_dict(), allow_nan=False))
    assert table == {"name": "conv1", "stage": 0, "block": 0, "std": first.std, "after_norm": True}


def test_an_overflow_is_no_number_and_no_failure():
    model = create_model("plain8[norm=none]")
    with torch.no_grad():
        model.layer2[0].conv1.weight.fill_(3e38)
    found = layer_responses(model, [torch.randn(2, 3, 8, 8)])
    assert np.isfinite(found[0].std)
    assert not np.isfinite(found[-1].std)
    assert isinstance(found[-1].to_dict()["std"], str)


@pytest.mark.parametrize("spelling", ["plain8[norm=none]", "resnet8[order=pre]", "resnet8[norm=group]"])
def test_no_estimate_without_batch_norm(spelling):
    with pytest.raises(ModelError, match=r"has no batch norm directly after it.*layer_responses"):
        estimated_responses(create_model(spelling))


def test_what_cannot_be_measured_is_said_in_a_sentence():
    model = create_model("plain8")
    with pytest.raises(DataError, match="no images"):
        layer_responses(model, [])
    with pytest.raises(DataError, match=r"\(N, C, H, W\)"):
        layer_responses(model, torch.randn(2, 3, 8, 8))  # a batch is no iterable of batches
    with pytest.raises(DataError, match=r"\(N, 3, H, W\)"):
        layer_responses(model, [torch.randn(2, 1, 8, 8)])
    with pytest.raises(DataError, match="floating-point"):
        layer_responses(model, [torch.zeros(2, 3, 8, 8, dtype=torch.uint8)])
    with pytest.raises(ModelError, match="not a network of reslab"):
        layer_responses(nn.Conv2d(3, 3, 3), [torch.randn(2, 3, 8, 8)])
    model.layer1[0].forward = lambda x: x
    with pytest.raises(ModelError, match=r"layer1\.0\.conv1 is not called"):
        layer_responses(model, [torch.randn(2, 3, 8, 8)])
