"""Weights of other libraries, read by their names and written back."""

import pytest
import timm
import torch
from torch import nn

from reslab.errors import WeightsError
from reslab.models import create_model
from reslab.models.conversion import write_state_dict
from reslab.models.layouts import from_reslab_keys, guess_layout
from reslab.models.weights import HeadReplacedWarning, load_weights

TIMM = {  # timm's name: ours, and the names that the file has
    "resnet18": ("resnet18", "torchvision"),
    "resnet34": ("resnet34", "torchvision"),
    "resnet50": ("resnet50", "torchvision"),
    "resnext50_32x4d": ("resnext50_32x4d", "torchvision"),
    "wide_resnet50_2": ("wide_resnet50_2", "torchvision"),
    "seresnet50": ("resnet50[squeeze_excitation=16]", "torchvision"),
    "resnet50d": ("resnet50[stem=deep,projection_pool=true]", "torchvision"),
    "resnetv2_50": ("preact_resnet50", "timm-preact"),
}
SLOW = {
    "resnet101": ("resnet101", "torchvision"),
    "resnet152": ("resnet152", "torchvision"),
    "vgg16_bn": ("vgg16_bn", "timm-vgg"),
}


def randomise_statistics(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize("name", [*TIMM, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_timms_weights_give_timms_logits_and_go_back(name):
    ours, layout = (TIMM | SLOW)[name]
    theirs = randomise_statistics(timm.create_model(name, num_classes=5))
    model = create_model(ours, num_classes=5).eval()
    report = load_weights(model, theirs.state_dict())
    assert report.layout == layout
    side = 224 if "vgg" in name else 64  # timm's VGG pools only maps above 7x7
    images = torch.randn(1 if side == 224 else 2, 3, side, side)
    with torch.no_grad():
        expected = theirs(images)
        assert torch.allclose(model(images), expected, rtol=1e-4, atol=1e-5 * expected.abs().max())
    back = from_reslab_keys(model.state_dict(), "timm" if layout == "torchvision" else layout)
    assert {key: value.shape for key, value in back.items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    assert all(torch.equal(back[key], value) for key, value in theirs.state_dict().items())


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_timms_logits_are_bitwise_ours(name):
    theirs = randomise_statistics(timm.create_model(name))
    model = create_model(name).eval()
    load_weights(model, theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(images), theirs(images))


class KellerJordanBlock(nn.Module):
    """As that repository builds and names it; written from its description, with its mathematics."""

    def __init__(self, channels_in, channels, stride, option):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(channels)
        grows = channels != channels_in
        self.projection = nn.Conv2d(channels_in, channels, 1, stride) if grows and option == "B" else None
        self.grows, self.option, self.extra = grows, option, channels - channels_in

    def forward(self, x):
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.projection is not None:
            x = self.projection(x)
        elif self.grows:
            x = nn.functional.avg_pool2d(x, 2) if self.option == "C" else x[:, :, ::2, ::2]
            x = torch.cat([x, x.new_zeros(len(x), self.extra, *x.shape[2:])], 1)
        return torch.relu(out + x)


class KellerJordanNet(nn.Module):
    def __init__(self, n, option):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16)
        widths = (16, 16, 32, 64)
        for number in (1, 2, 3):
            first = KellerJordanBlock(widths[number - 1], widths[number], 1 if number == 1 else 2, option)
            rest = [KellerJordanBlock(widths[number], widths[number], 1, option) for _ in range(n - 1)]
            setattr(self, f"layers{number}", nn.Sequential(first, *rest))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layers3(self.layers2(self.layers1(torch.relu(self.norm1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("option", "fields"),
    [("A", ""), ("B", "shortcut=B,projection_norm=false"), ("C", "shortcut=avgpool")],
)
def test_keller_jordans_weights_with_and_without_biases(option, fields):
    theirs = randomise_statistics(KellerJordanNet(5, option))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = theirs(images)
    model = create_model(f"keller_jordan32[{fields}]").eval()
    report = load_weights(model, theirs.state_dict())
    assert report.layout == "kellerjordan"
    assert not report.folded
    with torch.no_grad():
        assert torch.allclose(model(images), expected, atol=1e-5)
    if option == "B":
        return  # its projections have biases and no norm to take them
    folded = create_model(f"resnet32[{fields}]").eval()
    report = load_weights(folded, theirs.state_dict())
    assert len(report.folded) == 31
    with torch.no_grad():
        assert torch.allclose(folded(images), expected, atol=1e-4)


@pytest.mark.parametrize("layout", ["akamaster", "kuangliu"])
@pytest.mark.parametrize("name", ["resnet20[shortcut=B]", "resnet18[stem=cifar]", "preact_resnet18[stem=cifar]"])
def test_kuangliu_names_go_both_ways(tmp_path, layout, name):
    source, target = create_model(name), create_model(name)
    write_state_dict(source, tmp_path / "weights.pth", layout)
    keys = torch.load(tmp_path / "weights.pth", weights_only=True)
    assert "linear.weight" in keys
    assert any(".shortcut." in key for key in keys)
    load_weights(target, tmp_path / "weights.pth")
    read = target.state_dict()
    assert all(torch.equal(read[key], value) for key, value in source.state_dict().items())


def test_fb_resnet_style_names_and_biases():
    source = randomise_statistics(create_model("resnet18[conv_bias=true]"))
    for module in source.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.bias, 0, 0.1)
    state = {key.replace("fc.", "last_linear."): value for key, value in source.state_dict().items()}
    assert guess_layout(state) == "fb"
    target = create_model("resnet18").eval()
    assert len(load_weights(target, state).folded) == 20
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(target(images), source(images), atol=1e-4)


@pytest.mark.parametrize("name", ["resnet20", "vgg16_bn[widths=8-8-8-8-8]", "preact_resnet18[stem=cifar]"])
def test_another_number_of_classes_replaces_the_head_and_says_so(name):
    source, target = create_model(name, num_classes=7), create_model(name, num_classes=3)
    head = "classifier.6" if "vgg" in name else "fc"
    fresh = target.state_dict()[f"{head}.weight"].clone()
    with pytest.warns(HeadReplacedWarning, match="7 classes in the file, 3 in the model"):
        report = load_weights(target, source.state_dict())
    assert "starts afresh" in str(report)
    assert torch.equal(target.state_dict()[f"{head}.weight"], fresh)
    assert torch.equal(next(target.parameters()), next(source.parameters()))
    with pytest.raises(WeightsError, match="of another shape"):
        load_weights(target, source.state_dict(), replace_head=False)


def test_features_without_a_classifier_take_and_give_weights():
    whole, features, fresh = (create_model("resnet20", num_classes=n) for n in (10, 0, 10))
    with pytest.warns(HeadReplacedWarning, match="the model has no classifier"):
        load_weights(features, whole.state_dict())
    with pytest.warns(HeadReplacedWarning, match="the file has no classifier"):
        load_weights(fresh, features.state_dict())
    read = fresh.state_dict()
    body = {key: value for key, value in whole.state_dict().items() if not key.startswith("fc.")}
    assert all(torch.equal(read[key], value) for key, value in body.items())
    assert not torch.equal(read["fc.weight"], whole.fc.weight)


def test_unknown_layouts_and_two_names_for_one_tensor_are_refused():
    state = create_model("resnet20").state_dict()
    with pytest.raises(WeightsError, match="no layout 'keras'"):
        load_weights(create_model("resnet20"), state, layout="keras")
    with pytest.raises(WeightsError, match=r"would both be fc\.bias"):
        load_weights(create_model("resnet20"), {**state, "linear.bias": state["fc.bias"]})
    with pytest.raises(WeightsError, match="cannot write the layout 'kellerjordan'"):
        from_reslab_keys(state, "kellerjordan")
