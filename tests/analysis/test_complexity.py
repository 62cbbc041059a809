import pytest
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from reslab.analysis.complexity import count_macs, count_winograd_macs, summarize, summary
from reslab.errors import ModelError
from reslab.models import create_model, parse_model

# Multiply-adds of convolutions and classifier, in units of the last digit given: CIFAR at 32x32 in millions.
CIFAR_MMACS = {20: 40.55, 32: 68.86, 44: 97.17, 56: 125.49, 110: 252.89, 1202: 2829.2}
IMAGENET_GMACS = {
    "resnet18[shortcut=A]": 1.795,
    "resnet18": 1.814,
    "resnet18[shortcut=C]": 1.878,
    "resnet34[shortcut=A]": 3.644,
    "resnet34": 3.664,
    "resnet34[shortcut=C]": 3.831,
    "plain18": 1.795,
    "plain34": 3.644,
    "resnet50[stride=v1]": 3.858,
    "resnet50": 4.089,
    "resnet50[stride=v1,shortcut=C]": 6.324,
    "resnet101[stride=v1]": 7.570,
    "resnet101": 7.801,
    "resnet152[stride=v1]": 11.282,
    "resnet152": 11.514,
    "resnext50_32x4d": 4.230,
    "resnext101_32x8d": 16.414,
    "resnext101_64x4d": 15.460,
    "wide_resnet50_2": 11.398,
    "wide_resnet101_2": 22.753,
    "vgg16": 15.470,
    "vgg19": 19.632,
}


@pytest.mark.parametrize("depth", [*list(CIFAR_MMACS)[:-1], pytest.param(1202, marks=pytest.mark.slow)])
def test_cifar_multiply_adds_are_the_papers(depth):
    millions = CIFAR_MMACS[depth]
    digits = 1 if depth == 1202 else 2
    assert round(count_macs(parse_model(f"resnet{depth}"), (32, 32)) / 1e6, digits) == millions
    if depth != 1202:
        assert count_macs(parse_model(f"plain{depth}"), (32, 32)) == count_macs(parse_model(f"resnet{depth}"), (32, 32))


def test_winograd_leaves_a_quarter_of_convolutions_of_stride_1():
    """By hand: ResNet-20's stem and classifier, two strided layers, and 16 of 2,359,296 multiply-adds each."""
    spec = parse_model("resnet20")
    stem, strided, classifier = 3 * 16 * 9 * 32 * 32, (16 * 32 * 16 * 16 + 32 * 64 * 8 * 8) * 9, 640
    layers = 16 * 16 * 16 * 9 * 32 * 32
    assert count_macs(spec, (32, 32)) == stem + strided + classifier + layers
    assert count_winograd_macs(spec, (32, 32)) == stem // 4 + strided + classifier + layers // 4


def test_tiles_beyond_the_edge_are_counted():
    """ResNet-50 at 224 pixels: its maps of 56 and 28 are whole tiles, and those of 14 and 7 are not."""
    spec = parse_model("resnet50")
    sides = {64: (56, 3), 128: (28, 3), 256: (14, 5), 512: (7, 2)}
    saved = sum(number * 9 * width**2 * (side**2 - 4 * (-(-side // 4)) ** 2) for width, (side, number) in sides.items())
    assert count_macs(spec, (224, 224)) - count_winograd_macs(spec, (224, 224)) == saved


@pytest.mark.parametrize(("spelling", "billions"), IMAGENET_GMACS.items())
def test_imagenet_multiply_adds_are_the_papers(spelling, billions):
    assert round(count_macs(parse_model(spelling), (224, 224)) / 1e9, 3) == billions


@pytest.mark.parametrize(
    ("spelling", "size"), [("resnet20[shortcut=B]", 32), ("resnet20[shortcut=C]", 28), ("resnet50", 64)]
)
def test_multiply_adds_agree_with_torchs_counter(spelling, size):
    model = create_model(spelling)
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(2, 3, size, size))
    assert 2 * summarize(model.spec, (size, size), batch_size=2).macs == counter.get_total_flops()


@pytest.mark.parametrize(
    ("spelling", "size", "batch"), [("resnet18", 224, 8), ("resnet20", 32, 4), ("resnet50", 64, 2)]
)
def test_sizes_agree_with_torchinfo(spelling, size, batch):
    torchinfo = pytest.importorskip("torchinfo")
    spec = parse_model(spelling)
    theirs = torchinfo.summary(create_model(spec), (batch, 3, size, size), verbose=0, device="cpu")
    ours = summarize(spec, (size, size), batch)
    assert ours.parameters == theirs.total_params
    assert ours.input_bytes == pytest.approx(theirs.total_input, abs=64)  # it counts a tensor's Python object too
    assert ours.activation_bytes == theirs.total_output_bytes
    assert ours.parameter_bytes == theirs.total_param_bytes


def test_layers_come_in_order_with_their_shapes():
    summary = summarize(parse_model("resnet20"), (32, 32), 5)
    named = {layer.name: layer for layer in summary.layers}
    assert [name for name in named if name.count(".") == 0] == [
        "", "conv1", "bn1", "relu", "layer1", "layer2", "layer3", "avgpool", "fc",
    ]  # fmt: skip
    assert named["layer2"].output_shape == (5, 32, 16, 16)
    assert named["layer3.0.downsample"].parameters == 0
    assert sum(layer.parameters for layer in summary.layers) == summary.parameters == 269_722


def test_images_too_small_for_a_network_get_a_sentence():
    with pytest.raises(ModelError, match="too small"):
        summarize(parse_model("resnet20[shortcut=avgpool]"), (1, 1))


def test_any_module_is_summed_up_as_by_torchinfo(capsys):
    summary(torchvision.models.resnet18(), (128, 3, 224, 224))
    printed = capsys.readouterr().out
    for number in ("11,689,512", "232.20 G", "77.07 MB", "5087.67 MB", "46.76 MB", "5211.49 MB"):
        assert number in printed
    model = torchvision.models.densenet121()
    with FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(2, 3, 64, 64))
    assert 2 * summary(model, (2, 3, 64, 64), verbose=False).macs == counter.get_total_flops()
    assert summary("resnet20", verbose=False).macs == count_macs(parse_model("resnet20"), (32, 32))


def test_a_module_that_is_summed_up_stays_as_it_is():
    model = torchvision.models.resnet18().train()
    model.layer1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    summary(model, (1, 3, 64, 64), verbose=False)
    assert model.training
    assert not model.layer1.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_layers_that_are_used_twice_count_once():
    layer = torch.nn.Conv2d(4, 4, 3, padding=1)
    found = summary(torch.nn.Sequential(layer, layer), (1, 4, 8, 8), verbose=False)
    assert sum(row.parameters for row in found.layers) == found.parameters == 148
    assert found.macs == 2 * 8 * 8 * 4 * 4 * 9


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        (torch.nn.Linear(3, 4), None, "Give input_size"),
        (torch.nn.Linear(3, 4), (1, 3), "four positive numbers"),
        (torch.nn.Conv2d(3, 4, 3), (1, 1, 8, 8), "does not take 8x8 images"),
        ("resnet20", (1, 3, 0, 32), "four positive numbers"),
        ("resnet21", None, "no model named"),
    ],
)
def test_what_cannot_be_summed_up_gets_a_sentence(model, size, message):
    with pytest.raises(ModelError, match=message):
        summary(model, size)
