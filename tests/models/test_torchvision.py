"""torchvision is the independent implementation: same names, same numbers, same refusals."""

import itertools
from functools import partial

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.feature_extraction import create_feature_extractor

import reslab.models
from reslab.models import BasicBlock, Bottleneck, ResNet, create_model, parse_model

NAMES = [
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
]
LARGE = ("resnet152", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet101_2")
BLOCKS = {
    "basic": (BasicBlock, torchvision.models.resnet.BasicBlock),
    "bottleneck": (Bottleneck, torchvision.models.resnet.Bottleneck),
}
NORMS = {
    "default": None,
    "group": partial(nn.GroupNorm, 8),
    "without weights": nn.InstanceNorm2d,
    "identity": lambda channels: nn.Identity(),
}


def both(name: str, **kwargs) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    ours = getattr(reslab.models, name)(**kwargs)
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(**kwargs)
    return ours.eval(), theirs.eval()


def equal_states(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in NAMES])
def test_the_same_seed_gives_the_same_weights_and_the_same_logits(name):
    ours, theirs = both(name)
    assert equal_states(ours, theirs)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2"])
def test_state_dicts_go_both_ways(name):
    ours, theirs = both(name, num_classes=5)
    for module in [*ours.modules(), *theirs.modules()]:
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        mine, other = ours(images), theirs(images)
        assert not torch.equal(mine, other)
        state = {key: value.clone() for key, value in ours.state_dict().items()}
        ours.load_state_dict(theirs.state_dict())
        theirs.load_state_dict(state)
        assert torch.equal(ours(images), other)
        assert torch.equal(theirs(images), mine)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in NAMES])
def test_create_model_builds_the_same(name):
    torch.manual_seed(0)
    ours = create_model(name)
    assert equal_states(ours, both(name)[0])
    assert (
        sum(p.numel() for p in ours.parameters())
        == torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
    )


def outcome(make) -> tuple[nn.Module | None, type | None]:
    torch.manual_seed(0)
    try:
        return make(), None
    except Exception as error:
        return None, type(error)


GRID = list(
    itertools.product(
        BLOCKS,
        ([1, 1, 1, 1], [2, 1, 2, 1]),
        ((1, 64), (2, 64), (1, 32), (4, 16)),
        (None, [False, False, True], [False, True, True], [True, False, False], [True], [False] * 4),
        NORMS,
        (False, True),
    )
)


@pytest.mark.parametrize(
    ("block", "norm"),
    [
        pytest.param(
            block, norm, marks=[pytest.mark.slow] if (block, norm != "default") == ("bottleneck", True) else []
        )
        for block, norm in itertools.product(BLOCKS, NORMS)
    ],
)
def test_over_the_grid_of_arguments_both_agree(block, norm):
    built = refused = 0
    images = torch.randn(2, 3, 64, 64)
    for row in GRID:
        if (row[0], row[4]) != (block, norm) or (row[5] and row[2] != (1, 64)):
            continue
        if norm != "default" and row[2] not in ((1, 64), (4, 16)):
            continue
        _, layers, (groups, width), dilated, _, zero = row
        arguments = {
            "num_classes": 3,
            "zero_init_residual": zero,
            "groups": groups,
            "width_per_group": width,
            "replace_stride_with_dilation": dilated,
            "norm_layer": NORMS[norm],
        }
        ours, our_error = outcome(lambda: ResNet(BLOCKS[block][0], layers, **arguments))  # noqa: B023
        theirs, their_error = outcome(lambda: torchvision.models.ResNet(BLOCKS[block][1], layers, **arguments))  # noqa: B023
        if block == "basic" and dilated is not None and len(dilated) == 3 and any(dilated):
            assert their_error in (None, NotImplementedError, AttributeError, ValueError)
            continue  # torchvision has no dilated basic blocks; timm has (test_clients.py)
        if their_error is not None:
            refused += 1
            assert our_error is not None, (row, their_error)
            assert issubclass(our_error, their_error), row
            continue
        built += 1
        assert our_error is None, row
        assert equal_states(ours, theirs), row
        if layers[0] == 2 and groups != 2:  # logits of the rest would tell nothing new, and take time
            with torch.no_grad():
                assert torch.equal(ours.eval()(images), theirs.eval()(images)), row
    assert built
    assert refused


def test_positional_arguments_and_unknown_ones():
    assert equal_states(
        *(
            outcome(lambda m=m, b=b: m(b, [1, 1, 1, 1], 7, True))[0]
            for m, b in ((ResNet, BasicBlock), (torchvision.models.ResNet, torchvision.models.resnet.BasicBlock))
        )
    )
    with pytest.raises(TypeError):
        ResNet(BasicBlock, [1, 1, 1, 1], surprise=1)
    with pytest.raises(ValueError, match="four numbers"):
        ResNet(BasicBlock, [1, 1, 1])
    with pytest.raises(ValueError, match="says all of this already"):
        ResNet(parse_model("resnet18"), num_classes=10)
    with pytest.raises(ValueError, match="create_model builds it"):
        ResNet(parse_model("vgg16"))
    with pytest.raises(ValueError, match="width_per_group"):
        reslab.models.wide_resnet50_2(width_per_group=64)


def test_blocks_and_convolutions_are_torchvisions():
    torch.manual_seed(0)
    ours = Bottleneck(
        64, 16, stride=2, downsample=reslab.models.conv1x1(64, 64, 2), groups=2, base_width=32, dilation=2
    )
    torch.manual_seed(0)
    downsample = torchvision.models.resnet.conv1x1(64, 64, 2)
    theirs = torchvision.models.resnet.Bottleneck(64, 16, 2, downsample, groups=2, base_width=32, dilation=2)
    assert equal_states(ours, theirs)
    x = torch.randn(2, 64, 8, 8)
    assert torch.equal(ours(x), theirs(x))
    assert repr(reslab.models.conv3x3(4, 8, 2, 2, 3)) == repr(torchvision.models.resnet.conv3x3(4, 8, 2, 2, 3))


class LoudBlock(BasicBlock):
    """A user's block, with torchvision's arguments."""

    def forward(self, x):
        return super().forward(x) * 2


def test_batch_norm_without_weights_works_here_where_torchvision_trips():
    with pytest.raises(AttributeError):
        torchvision.models.resnet18(norm_layer=partial(nn.BatchNorm2d, affine=False))
    net = reslab.models.resnet18(norm_layer=partial(nn.BatchNorm2d, affine=False), zero_init_residual=True)
    assert net.bn1.weight is None
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 1000)


def test_a_users_own_block_and_subclass_work():
    class Mine(ResNet):
        def __init__(self):
            super().__init__(LoudBlock, [1, 1, 1, 1], num_classes=4)

    net = Mine().eval()
    assert isinstance(net.layer1[0], LoudBlock)
    assert net(torch.randn(1, 3, 32, 32)).shape == (1, 4)


def test_their_block_works_in_our_network():
    theirs = torchvision.models.resnet.Bottleneck
    torch.manual_seed(0)
    mixed = ResNet(theirs, [1, 1, 1, 1])
    torch.manual_seed(0)
    assert equal_states(mixed, ResNet(Bottleneck, [1, 1, 1, 1]))


def test_their_feature_extractor_and_detection_backbones_take_our_nets():
    images = torch.randn(1, 3, 64, 64)
    ours, theirs = both("resnet50")
    for nodes in (["layer1", "layer4"], ["layer2.0.relu", "avgpool"]):
        mine = create_feature_extractor(ours, nodes)(images)
        other = create_feature_extractor(theirs, nodes)(images)
        assert all(torch.equal(mine[node], other[node]) for node in nodes)
    torch.manual_seed(0)
    pyramid = _resnet_fpn_extractor(ours, 3)
    torch.manual_seed(0)
    reference = _resnet_fpn_extractor(theirs, 3)
    assert all(torch.equal(a, b) for a, b in zip(pyramid(images).values(), reference(images).values(), strict=True))


@pytest.mark.parametrize("name", ["vgg16", "vgg19_bn"])
def test_vgg_is_torchvisions(name):
    with torch.device("meta"):
        ours, theirs = create_model(name), getattr(torchvision.models, name)()
    shapes = [{key: value.shape for key, value in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert list(shapes[0]) == list(shapes[1])


def test_vgg_computes_what_torchvisions_does():
    ours, theirs = create_model("vgg16_bn", num_classes=6).eval(), torchvision.models.vgg16_bn(num_classes=6).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


def test_meta_device_and_late_initialisation():
    with torch.device("meta"):
        net = create_model("resnet18")
    net.to_empty(device="cpu")
    net.reset_parameters()
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())
    deviation = net.layer1[0].conv1.weight.std().item()
    assert deviation == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert parse_model("resnet18") == net.spec
