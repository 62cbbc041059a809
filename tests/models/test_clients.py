"""What programs written for torchvision's, akamaster's and kuangliu's networks do with ours."""

import inspect
import pickle
import subprocess
import sys
import types
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from huggingface_hub import PyTorchModelHubMixin
from torch import nn
from torch.nn import functional

import reslab.models
from reslab.errors import ModelError
from reslab.models import BasicBlock, Bottleneck, ResNet, create_model, list_models, parse_model, resnet
from reslab.models.weights import load_weights

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning"),
]
REPOSITORY = Path(__file__).resolve().parents[2]
TORCHVISIONS = sorted(torchvision.models.list_models(torchvision.models, include=["*resn*"]))


def choices(module):
    """As the ImageNet example lists networks."""
    return sorted(
        name
        for name in module.__dict__
        if name.islower() and not name.startswith("__") and callable(module.__dict__[name])
    )


def test_trainers_find_the_constructors_by_their_names():
    names = choices(reslab.models)
    assert set(list_models()) <= set(names)
    assert not {"import_module", "lazy_names"} & set(names)
    assert all(inspect.isfunction(reslab.models.__dict__[name]) for name in list_models())
    akamasters = [name for name in choices(resnet) if name.startswith("resnet")]
    assert {"resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202"} <= set(akamasters)
    assert resnet.__dict__["resnet20"]()(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_importing_the_constructors_imports_no_torch():
    program = "import sys, reslab.models; print(reslab.models.resnet18.__name__, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["resnet18", "False"]


def test_constructors_are_pickled_by_their_names():
    assert pickle.loads(pickle.dumps(reslab.models.resnet20)) is reslab.models.resnet20  # noqa: S301 - our own bytes


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_networks_print_as_torchvisions(name):
    with torch.device("meta"):
        assert str(getattr(reslab.models, name)()) == str(getattr(torchvision.models, name)())


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_torchvision_finds_the_weights_of_our_constructors(name):
    found = torchvision.models.get_model_weights(getattr(reslab.models, name))
    assert found is torchvision.models.get_model_weights(name)


def test_the_module_has_what_torchvisions_has():
    theirs = torchvision.models.resnet
    assert [name for name in theirs.__all__ if not hasattr(resnet, name)] == []
    assert resnet.ResNet50_Weights is theirs.ResNet50_Weights
    assert resnet.model_urls["resnet18"] == theirs.ResNet18_Weights.IMAGENET1K_V1.url
    assert set(resnet.model_urls) == set(TORCHVISIONS)
    with pytest.raises(AttributeError, match="no attribute 'resnet19'"):
        resnet.resnet19  # noqa: B018


def test_the_private_function_in_both_forms():
    old = resnet._resnet("resnet18", BasicBlock, [2, 2, 2, 2], False, True, num_classes=5)
    new = resnet._resnet(BasicBlock, [2, 2, 2, 2], None, True, num_classes=5)
    assert str(old) == str(new)
    with pytest.raises(ModelError, match="no weights are known for 'mine'"):
        resnet._resnet("mine", BasicBlock, [1, 1, 1, 1], True, True)


def test_hugging_faces_mixin_saves_and_loads_them(tmp_path):
    class Mine(ResNet, PyTorchModelHubMixin):
        """With the hub's methods."""

    described, named = Mine(parse_model("resnet20[shortcut=C]")), Mine(BasicBlock, [1, 1, 1, 1], num_classes=3)
    for model, layers in ((described, {}), (named, {"block": BasicBlock})):
        model.save_pretrained(tmp_path)
        again = Mine.from_pretrained(tmp_path, **layers)
        assert again.spec == model.spec
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_torch_hub_builds_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = torch.hub.load(str(REPOSITORY), "resnet20", source="local", num_classes=7)
    assert model.fc.out_features == 7


class Half(ResNet):
    """Builds its last stage anew, and has a forward of its own, as torchvision's subclasses do."""

    def __init__(self):
        super().__init__(BasicBlock, [1, 1, 1, 1], num_classes=6)
        self.inplanes = 256
        self.layer4 = self._make_layer(BasicBlock, 512, 2, stride=2)

    def forward(self, x):
        return self._forward_impl(x) * 0.5


class Backbone(ResNet):
    """Without a head."""

    def _forward_impl(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def test_subclasses_use_torchvisions_hooks():
    x, net = torch.randn(2, 3, 64, 64), Half().eval()
    assert len(net.layer4) == 2
    assert net.inplanes == 512
    assert net(x).shape == (2, 6)
    assert torch.equal(net(x) * 2, net.forward_head(net.forward_features(x)))
    assert (net.groups, net.base_width, net.dilation, net._norm_layer) == (1, 64, 1, nn.BatchNorm2d)
    assert Backbone(Bottleneck, [1, 1, 1, 1])(x).shape == (2, 2048, 2, 2)


def test_torchscript_compiles_what_a_subclass_computes():
    x = torch.randn(2, 3, 64, 64)
    for net in (Half().eval(), Backbone(BasicBlock, [1, 1, 1, 1]).eval()):
        scripted = torch.jit.script(net)
        assert torch.equal(scripted(x), net(x))
        assert torch.allclose(torch.jit.freeze(scripted)(x), net(x), atol=1e-4)


@pytest.mark.parametrize("pool", ["max", "avgmax", "catavgmax", ""])
def test_torchscript_keeps_the_pooling_and_the_mode(pool):
    x, net = torch.randn(2, 3, 32, 32), create_model("resnet20")
    net.reset_classifier(0 if pool == "" else 7, pool)
    assert torch.jit.script(net).training
    net.eval()
    scripted = torch.jit.script(net)
    assert not scripted.training
    assert torch.equal(scripted(x), net(x))


def test_more_stages_than_torchscript_gets_a_sentence():
    with pytest.raises(ModelError, match="up to 5 stages"):
        torch.jit.script(create_model("resnet20[blocks=1-1-1-1-1-1,widths=8-8-8-8-8-8]"))


def quantised():
    """torchvision's module of quantised networks, over our classes."""
    source = inspect.getsource(torchvision.models.quantization.resnet)
    base = "from torchvision.models.resnet import ("
    assert base in source
    source = source.replace(base, "from reslab.models.resnet import (")
    source = source.replace("@register_model", "# @register_model")  # the names are torchvision's already
    module = types.ModuleType("torchvision.models.quantization.ours")
    module.__file__ = torchvision.models.quantization.resnet.__file__
    module.__package__ = "torchvision.models.quantization"
    sys.modules[module.__name__] = module  # where TorchScript looks for a class's source
    exec(compile(source, module.__file__, "exec"), module.__dict__)
    return module


@pytest.mark.parametrize(("block", "layers"), [("QuantizableBasicBlock", [1] * 4), ("QuantizableBottleneck", [1] * 4)])
def test_torchvisions_quantised_classes_work_over_ours(block, layers):
    nets = []
    for module in (quantised(), torchvision.models.quantization.resnet):
        torch.manual_seed(0)
        nets.append(module.QuantizableResNet(getattr(module, block), layers, num_classes=9).eval())
    mine, other = nets
    assert str(mine) == str(other)
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(mine(x), other(x))
    assert torch.equal(torch.jit.script(mine)(x), other(x))
    for net in (mine, other):
        net.fuse_model(is_qat=False)
    assert str(mine) == str(other)
    assert torch.allclose(mine(x), other(x), atol=1e-6)


class KuangliuBlock(nn.Module):
    """As kuangliu/pytorch-cifar has it; of the bottleneck's kind with expansion 4."""

    def __init__(self, channels, planes, stride, expansion):
        super().__init__()
        out = planes * expansion
        kernels = (3, 3) if expansion == 1 else (1, 3, 1)
        widths = [channels, *[planes] * (len(kernels) - 1), out]
        strided = 1 if expansion == 1 else 2  # the convolution that has the stride, counted from 1
        self.count = len(kernels)
        for number, kernel in enumerate(kernels, 1):
            layer = nn.Conv2d(widths[number - 1], widths[number], kernel, stride if number == strided else 1,
                              kernel // 2, bias=False)  # fmt: skip
            setattr(self, f"conv{number}", layer)
            setattr(self, f"bn{number}", nn.BatchNorm2d(widths[number]))
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            if number < self.count:
                y = functional.relu(y)
        return functional.relu(y + self.shortcut(x))


class KuangliuNet(nn.Module):
    def __init__(self, blocks, expansion):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        channels = 64
        for number, (count, planes) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), 1):
            made = []
            for index in range(count):
                made.append(KuangliuBlock(channels, planes, 2 if number > 1 and index == 0 else 1, expansion))
                channels = planes * expansion
            setattr(self, f"layer{number}", nn.Sequential(*made))
        self.linear = nn.Linear(channels, 10)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(functional.avg_pool2d(x, 4).flatten(1))


@pytest.mark.parametrize(("depth", "blocks", "expansion"), [(18, (2, 2, 2, 2), 1), (50, (3, 4, 6, 3), 4)])
def test_kuangliu_is_its_authors_network(depth, blocks, expansion):
    theirs = KuangliuNet(blocks, expansion).eval()
    ours = getattr(reslab.models, f"kuangliu_resnet{depth}")().eval()
    x = torch.randn(2, 3, 32, 32)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    # torch's own initial weights are uniform, with a standard deviation that is a third of the bound's square's root.
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        if mine.dim() == 4:
            assert abs(mine.std() / other.std() - 1) < 0.2
            assert abs(mine.abs().max() / other.abs().max() - 1) < 0.05
    assert load_weights(ours, theirs.state_dict()).layout == "kuangliu"
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)


@pytest.mark.parametrize("option", ["A", "B", "C"])
def test_keller_jordans_options(option):
    net = reslab.models.keller_jordan32(option)
    assert net.spec.conv_bias
    assert net.spec.shortcut == {"A": "A", "B": "B", "C": "avgpool"}[option]
    assert (option == "B") == any(name.endswith("downsample.0.bias") for name, _ in net.named_parameters())
    assert create_model("keller_jordan44").spec.blocks == (7, 7, 7)
    with pytest.raises(ModelError, match="A, B or C"):
        reslab.models.keller_jordan32("D")


@pytest.mark.parametrize("depth", [18, 50])
def test_squeeze_and_excitation_is_timms(depth):
    # By 16 throughout, as in the paper; timm's seresnet18 rounds to multiples of 8.
    narrowed = partial(timm.layers.SEModule, rd_ratio=1 / 16, rd_divisor=1)
    theirs = timm.create_model(f"resnet{depth}", block_args={"attn_layer": narrowed}).eval()
    ours = create_model(f"seresnet{depth}").eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 64, 64)
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_basic_blocks_are_timms(output_stride):
    theirs = timm.create_model("resnet18", output_stride=output_stride).eval()
    dilated = [output_stride == 8 or stage == 4 for stage in (3, 4)]
    ours = reslab.models.resnet18(replace_stride_with_dilation=[False, *dilated]).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 64, 64)
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)
    assert ours.forward_features(x).shape[-1] == 64 // output_stride


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("compiler")
def test_checkpointing_compiles():
    torch.manual_seed(0)
    plain = create_model("resnet20[blocks=1-1-1,widths=8-8-8]").train()
    x, results = torch.randn(4, 3, 32, 32), []
    for checkpointed in (False, True):
        net = create_model("resnet20[blocks=1-1-1,widths=8-8-8]").train()
        net.load_state_dict(plain.state_dict())
        net.set_grad_checkpointing(checkpointed)
        compiled = torch.compile(net, fullgraph=True)
        for _ in range(2):
            net.zero_grad()
            compiled(x).square().mean().backward()
        results.append([*(p.grad for p in net.parameters()), *net.buffers()])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("letter", "batch_norm"), [("A", False), ("B", True), ("D", True)])
def test_vgg_takes_torchvisions_arguments(letter, batch_norm):
    make = torchvision.models.vgg.make_layers
    features = [make(torchvision.models.vgg.cfgs[letter], batch_norm=batch_norm) for _ in range(2)]
    torch.manual_seed(0)
    ours = reslab.models.VGG(features[0], num_classes=7, dropout=0.3).eval()
    torch.manual_seed(0)
    theirs = torchvision.models.VGG(features[1], num_classes=7, dropout=0.3).eval()
    assert str(ours) == str(theirs)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
    assert [m.shape[1] for m in ours.forward_intermediates(x)[1]] == [64, 128, 256, 512, 512, 512]
    with pytest.raises(ModelError, match="max-pooling after each stage"):
        reslab.models.VGG(nn.Sequential(nn.Conv2d(3, 8, 3)))
    with pytest.raises(ModelError, match="says all of this already"):
        reslab.models.VGG(parse_model("vgg16"), num_classes=7)
