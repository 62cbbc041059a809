import pytest
import torch
from torch import nn

from reslab.models import NetSpec, create_model, parse_model
from reslab.models.blocks import BasicBlock, Bottleneck
from reslab.models.shortcuts import ParameterFreeShortcut

SHORTCUTS = ["A", "B", "C", "avgpool", "none"]


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def image_size(spec: NetSpec) -> int:
    return 64 if spec.stem == "imagenet" else 16


# PAPER Sec. 4.2 and Table 6, counted exactly: A (and plain), B, C.
CIFAR_PARAMETERS = {
    20: (269_722, 272_474, 283_962),
    32: (464_154, 466_906, 489_594),
    44: (658_586, 661_338, 695_226),
    56: (853_018, 855_770, 900_858),
    110: (1_727_962, 1_730_714, 1_826_202),
    1202: (19_421_274, 19_424_026, 20_538_714),
}


@pytest.mark.parametrize("depth", [*list(CIFAR_PARAMETERS)[:-1], pytest.param(1202, marks=pytest.mark.slow)])
def test_cifar_parameters_are_the_papers(depth):
    counts = CIFAR_PARAMETERS[depth]
    with torch.device("meta"):
        for shortcut, count in zip("ABC", counts, strict=True):
            assert parameters(create_model(f"resnet{depth}", shortcut=shortcut)) == count
        assert parameters(create_model(f"plain{depth}")) == counts[0]
        assert parameters(create_model(f"resnet{depth}", shortcut="avgpool")) == counts[0]


@pytest.mark.parametrize(
    ("spelling", "count"),
    [
        ("resnet18[shortcut=A]", 11_515_688),
        ("resnet18", 11_689_512),
        ("resnet18[shortcut=C]", 12_043_816),
        ("resnet34[shortcut=A]", 21_623_848),
        ("resnet34", 21_797_672),
        ("resnet34[shortcut=C]", 22_716_840),
        ("plain18", 11_515_688),
        ("plain34", 21_623_848),
        ("resnet50", 25_557_032),
        ("resnet50[shortcut=C]", 40_128_552),
        ("resnext50_32x4d", 25_028_904),
        ("resnext101_32x8d", 88_791_336),
        ("resnext101_64x4d", 83_455_272),
        ("wide_resnet50_2", 68_883_240),
        ("wide_resnet101_2", 126_886_696),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
    ],
)
def test_imagenet_parameters_are_the_papers(spelling, count):
    with torch.device("meta"):
        assert parameters(create_model(spelling)) == count


@pytest.mark.parametrize(("depth", "millions"), [(164, 1.7), (1001, 10.2)])
def test_preactivation_nets_have_the_follow_ups_size(depth, millions):
    """arXiv 1603.05027, Table 4, which counts convolutions and the classifier."""
    with torch.device("meta"):
        model = create_model(f"preact_resnet{depth}")
    counted = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    assert round(sum(map(parameters, counted)) / 1e6, 1) == millions


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("padding", ["append", "split"])
def test_every_shortcut_works_with_every_block(shortcut, block, padding):
    spec = NetSpec(
        blocks=(2, 1, 2), block=block, shortcut=shortcut, shortcut_padding=padding, in_channels=1, num_classes=3
    )
    model = create_model(spec)
    assert model(torch.randn(2, 1, 12, 12)).shape == (2, 3)


def test_odd_sizes_halve_as_a_strided_convolution_does():
    assert create_model("resnet20")(torch.randn(2, 3, 30, 29)).shape == (2, 10)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_convolutions_start_with_he_variance(mode):
    model = create_model("resnet56", init=mode)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 9000:
            channels = module.in_channels if mode == "fan_in" else module.out_channels
            expected = (2 / (channels * 9)) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.05)
            assert module.weight.mean().item() == pytest.approx(0, abs=0.05 * expected)


def test_a_seed_gives_the_weights_whatever_was_built_before():
    def build() -> torch.Tensor:
        torch.manual_seed(3)
        return create_model("resnet20").layer2[1].conv2.weight

    first = build()
    create_model("plain20")
    assert torch.equal(first, build())


@pytest.mark.parametrize(("name", "last"), [("resnet20", "bn2"), ("resnet50", "bn3")])
def test_zero_initialised_branches_make_every_block_an_identity(name, last):
    model = create_model(name, zero_init_residual=True)
    for module in model.modules():
        if isinstance(module, BasicBlock | Bottleneck):
            assert getattr(module, last).weight.abs().max() == 0
    block = model.layer1[1]
    x = torch.randn(2, block.conv1.in_channels, 8, 8).relu()
    assert torch.equal(block(x), x)


def test_a_plain_block_is_its_branch_alone():
    plain, residual = create_model("plain20").layer1[0].eval(), create_model("resnet20").layer1[0].eval()
    residual.load_state_dict(plain.state_dict())
    x = torch.randn(2, 16, 8, 8).relu()
    branch = plain.bn2(plain.conv2(torch.relu(plain.bn1(plain.conv1(x)))))
    assert torch.equal(plain(x), branch.relu())
    assert torch.equal(residual(x), (branch + x).relu())


@pytest.mark.parametrize(
    ("padding", "before", "after"), [("append", 0, 16), ("split", 8, 8)], ids=["fb.resnet.torch", "akamaster"]
)
def test_option_a_takes_every_second_pixel_and_adds_zero_channels(padding, before, after):
    shortcut = create_model("resnet20", shortcut_padding=padding).layer2[0].downsample
    x = torch.randn(2, 16, 8, 8)
    out = shortcut(x)
    assert torch.equal(out[:, before : before + 16], x[:, :, ::2, ::2])
    assert out.shape == (2, 32, 4, 4)
    assert out[:, :before].abs().sum() == 0
    assert out[:, 32 - after :].abs().sum() == 0


def test_avgpool_shortcut_averages_the_squares():
    shortcut = create_model("resnet20", shortcut="avgpool").layer2[0].downsample
    x = torch.randn(2, 16, 8, 8)
    squares = x.reshape(2, 16, 4, 2, 4, 2).mean(dim=(3, 5))
    assert torch.allclose(shortcut(x)[:, :16], squares, atol=1e-6)


@pytest.mark.parametrize(("shortcut", "projections"), [("A", 0), ("B", 2), ("C", 9), ("none", 0), ("avgpool", 0)])
def test_projections_stand_where_the_option_says(shortcut, projections):
    model = create_model("resnet20", shortcut=shortcut)
    blocks = [module for module in model.modules() if isinstance(module, BasicBlock)]
    assert sum(isinstance(block.downsample, nn.Sequential) for block in blocks) == projections
    assert sum(isinstance(block.downsample, ParameterFreeShortcut) for block in blocks) == 2 * (
        shortcut in ("A", "avgpool")
    )


@pytest.mark.parametrize(("stride", "strides"), [("v1", (2, 1)), ("v1.5", (1, 2))])
def test_a_bottleneck_has_its_stride_where_the_version_says(stride, strides):
    with torch.device("meta"):
        block = create_model("resnet50", stride=stride).layer2[0]
    assert (block.conv1.stride[0], block.conv2.stride[0]) == strides


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision_takes_our_weights_and_computes_the_same(name):
    torchvision = pytest.importorskip("torchvision.models")
    ours, theirs = create_model(name).eval(), getattr(torchvision, name)().eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x))


def test_layout_in_memory_does_not_change_the_result():
    model = create_model("resnet20").eval()
    x = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        expected = model(x)
        actual = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_create_model_changes_fields_of_a_description_too():
    assert create_model(parse_model("resnet20"), num_classes=3).fc.out_features == 3
