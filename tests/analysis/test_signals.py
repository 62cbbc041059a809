"""Signals forward and back, held to a network written out by hand, and to theory."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from reslab.analysis.signals import THEORETICAL_GROWTH, LayerSignal, gradient_growth, layer_signals
from reslab.errors import DataError, ModelError
from reslab.models import NetSpec, create_model


def batch(num_images=16, side=8):
    return torch.randn(num_images, 3, side, side), torch.arange(num_images) % 10


def signal(gradient, *, stage=1, std=0.5):
    return LayerSignal("conv", stage, 0, std, 1.0, gradient / std, 1.0, 1.0, 100)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_signals_are_those_of_a_plain_net_written_out(norm):
    model = create_model("plain14", norm=norm).double()
    images, labels = batch()
    images = images.double()
    found = layer_signals(model, images, labels)
    x, layers = images, []
    pairs = [(model.conv1, model.bn1)]
    for block in (*model.layer1, *model.layer2, *model.layer3):
        pairs += [(block.conv1, block.bn1), (block.conv2, block.bn2)]
    for convolution, norm_layer in pairs:
        h = functional.conv2d(x, convolution.weight, stride=convolution.stride, padding=1)
        h.retain_grad()
        mean, variance = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), keepdim=True, correction=0)
        z = (h - mean) / (variance + norm_layer.eps).sqrt() if norm == "batch" else h
        layers.append((convolution, h, z))
        x = z.clamp(min=0)
    functional.cross_entropy(model.fc(x.mean((2, 3))), labels).backward()
    assert len(found) == len(layers) == 13
    for signal, (convolution, h, z) in zip(found, layers, strict=True):
        assert signal.forward_std == pytest.approx(float(h.detach().std(correction=0)))
        assert signal.gradient_norm == pytest.approx(float(h.grad.norm()))
        assert signal.gradient_rms == pytest.approx(float(h.grad.square().mean().sqrt()))
        assert signal.weight_gradient_norm == pytest.approx(float(convolution.weight.grad.norm()))
        assert signal.weight_norm == pytest.approx(float(convolution.weight.detach().norm()))
        assert signal.num_outputs == h.numel()
        if norm == "batch":
            assert signal.normed_std == pytest.approx(float(z.detach().std(correction=0)))
        else:
            assert signal.normed_std is None


def test_growth_is_the_theory_s_in_a_net_without_borders():
    """Across stages, too, and for both of He's initialisations."""
    growths, borders = [], []
    for seed, init in enumerate(("fan_in", "fan_out", "fan_out")):
        torch.manual_seed(seed)
        model = create_model(NetSpec(blocks=(3, 3, 3), widths=(32, 64, 128), shortcut="none", init=init))
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.padding_mode = "circular"
        signals = layer_signals(model, *batch(24, 24))[:-3]  # the last ones feel the mean over all positions
        growths.append(gradient_growth(signals).per_layer)
        borders += [
            one.relative_gradient / two.relative_gradient for one, two in pairwise(signals) if 0 < one.stage < two.stage
        ]
    assert pytest.approx(1.2112, abs=1e-4) == THEORETICAL_GROWTH
    assert np.mean(growths) == pytest.approx(THEORETICAL_GROWTH, abs=0.015)
    assert np.mean(borders) == pytest.approx(THEORETICAL_GROWTH, abs=0.04)


def test_gradients_explode_in_plain_nets_and_hardly_grow_in_residual_ones():
    images = functional.interpolate(torch.randn(16, 3, 4, 4), (16, 16), mode="bilinear")
    growths = {}
    for name in ("plain56", "resnet56"):
        torch.manual_seed(0)
        growths[name] = gradient_growth(layer_signals(create_model(name), images, torch.arange(16) % 10))
    assert 1.13 < growths["plain56"].per_layer < 1.22
    assert growths["plain56"].first_over_last > 2000
    assert 1.02 < growths["resnet56"].per_layer < 1.08
    assert growths["resnet56"].first_over_last < 100
    assert growths["plain56"].num_layers == growths["resnet56"].num_layers == 55


def test_gradients_vanish_through_sigmoids_and_nothing_fails_where_they_are_lost():
    images, labels = batch()
    growth = gradient_growth(layer_signals(create_model("plain20[norm=none,activation=sigmoid]"), images, labels))
    # Each sigmoid takes at least a factor 4; weights of variance 2 / fan_in give sqrt(2) back.
    assert growth.per_layer < 0.25 * math.sqrt(2) * 1.1
    signals = layer_signals(create_model("plain110[norm=none,activation=sigmoid]"), images, labels)
    assert signals[0].gradient_norm == 0
    assert signals[-1].gradient_norm > 0
    assert gradient_growth(signals).per_layer == 0


def test_an_overflow_is_said_and_is_no_failure():
    model = create_model("plain20[norm=none]")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 1e6
    signals = layer_signals(model, *batch())
    assert not math.isfinite(signals[-1].forward_std)
    growth = gradient_growth(signals)
    assert math.isnan(growth.per_layer)
    text = json.dumps([growth.to_dict(), *(signal.to_dict() for signal in signals)], allow_nan=False)
    assert json.loads(text)[0]["per_layer"] == "nan"


def test_growth_by_hand():
    layers = [signal(3.0**5, stage=0), *(signal(3.0**power, std=power) for power in (4, 3, 2))]
    growth = gradient_growth([*layers, signal(3.0, stage=2), signal(1.0, stage=2)])
    assert growth.per_layer == pytest.approx(3)
    assert growth.first_over_last == pytest.approx(3**5)
    assert growth.num_layers == 6
    assert growth.stages == pytest.approx((3, 3))
    assert gradient_growth([signal(2.0), signal(8.0)]).per_layer == pytest.approx(0.25)
    # By least squares: y = 0, 1, 1 at x = 2, 1, 0 has a slope of -1/2.
    assert gradient_growth([signal(math.e), signal(math.e), signal(1.0)]).per_layer == pytest.approx(math.exp(0.5))
    assert gradient_growth([signal(math.inf), signal(1.0)]).per_layer == math.inf
    assert gradient_growth([signal(0.0), signal(1.0)]).per_layer == 0
    assert math.isnan(gradient_growth([signal(1.0), signal(0.0)]).per_layer)
    assert math.isnan(gradient_growth([signal(math.nan), signal(1.0)]).per_layer)
    with pytest.raises(ModelError, match="at least two"):
        gradient_growth([signal(1.0)])


def test_growth_depends_on_no_scale_of_weights_or_images():
    images, labels = batch()
    model = create_model("plain14")
    before = layer_signals(model, images, labels)
    with torch.no_grad():
        model.layer1[1].conv2.weight *= 10
        model.layer3[0].conv1.weight *= 0.2
    after = layer_signals(model, images / 4, labels)
    assert after[0].gradient_norm == pytest.approx(4 * before[0].gradient_norm, rel=0.01)
    assert gradient_growth(after).per_layer == pytest.approx(gradient_growth(before).per_layer, rel=1e-3)


@pytest.mark.parametrize("spelling", ["resnet8[dropout=0.5,stochastic_depth=0.5]", "plain8"])
def test_the_network_is_as_it_was(spelling):
    images, labels = batch()
    model = create_model(spelling)
    model.layer1.eval()
    model.conv1.weight.requires_grad_(False)
    functional.cross_entropy(model(images), labels).backward()
    model.set_grad_checkpointing()
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    with torch.no_grad():
        first = layer_signals(model, images, labels)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (grads[name] is None)
        assert parameter.grad is None or torch.equal(parameter.grad, grads[name])
        assert parameter.requires_grad == (name != "conv1.weight")
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module._forward_hooks for module in model.modules())
    assert first == layer_signals(model, images, labels)
    assert first[0].weight_gradient_norm > 0


def test_what_cannot_be_measured_is_said_in_a_sentence():
    images, labels = batch()
    model = create_model("plain8")
    with pytest.raises(DataError, match="one for each image"):
        layer_signals(model, images, labels[:-1])
    with pytest.raises(DataError, match="0 to 9"):
        layer_signals(model, images, labels + 1)
    with pytest.raises(DataError, match="int64"):
        layer_signals(model, images, labels.float())
    with pytest.raises(DataError, match="two images"):
        layer_signals(model, images[:1], labels[:1])
    with pytest.raises(ModelError, match="num_classes"):
        layer_signals(create_model("plain8[num_classes=0]"), images, labels)
