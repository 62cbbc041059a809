"""What timm asks of a model, and what torch can do with one, over all registered networks."""

import copy
import pickle

import pytest
import torch
from torch import nn

from reslab.errors import ModelError
from reslab.models import create_model, list_models, parse_model

LARGE = {
    *("resnet1202", "preact_resnet1001", "preact_resnet164", "resnet101", "resnet152", "preact_resnet101"),
    *("preact_resnet152", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
    *("vgg16", "vgg19", "vgg19_bn"),
}
REGISTERED = [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in list_models()]
OTHERS = [
    "resnet20[shortcut=gated]",
    "resnet20[shortcut=gated,gate=shortcut-only,gate_bias=-3.0]",
    "resnet20[shortcut=avgpool]",
    "resnet20[activation=sigmoid,norm=none,conv_bias=true]",
    "resnet20[norm=group,squeeze_excitation=4]",
    "resnet20[stochastic_depth=0.5,dropout=0.2]",
    "keller_jordan32[shortcut=B,projection_norm=false]",
    "keller_jordan32[shortcut=avgpool]",
    "preact_resnet18[stem=cifar,norm=none]",
    "preact_resnet110[shortcut=gated]",
    "resnet18[stem=cifar]",
    "resnet50[stem=deep,projection_pool=true,squeeze_excitation=16]",
    "resnet50[stride=v1,stem_pool=ceil,shortcut=C]",
    "resnet50[replace_stride_with_dilation=false-true-true]",
    "resnet20[num_classes=0]",
    "resnet20[block=single]",
    "resnet20[block=triple]",
    *(f"resnet20[order={order}]" for order in ("norm-after-addition", "relu-before-addition", "relu-only")),
    *(f"resnet50[order={order},stem=cifar]" for order in ("norm-after-addition", "relu-before-addition", "relu-only")),
    "resnet34[replace_stride_with_dilation=false-true-true]",
]
SMALL = ["resnet20", "plain20", "resnet18", "preact_resnet18[stem=cifar]", "resnext50_32x4d", *OTHERS]


def network(spelling: str) -> nn.Module:
    return create_model(spelling)


def images_for(model: nn.Module, batch: int = 2) -> torch.Tensor:
    side = 32 if model.spec.stem == "cifar" else 64
    return torch.randn(batch, model.spec.in_channels, side, side)


@pytest.mark.parametrize("spelling", [*REGISTERED, *OTHERS])
def test_forward_and_backward_reach_every_parameter(spelling):
    model = network(spelling).train()
    images = images_for(model)
    if model.spec.stem != "cifar" and "preact" not in spelling:
        images = torch.nn.functional.interpolate(images, size=(96, 96))
    outputs = model(images)
    assert outputs.shape == (2, model.num_classes or model.num_features)
    assert torch.isfinite(outputs).all()
    outputs.square().mean().backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    if not model.spec.is_random:
        assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize("spelling", [*REGISTERED, *OTHERS])
def test_features_and_intermediates_have_the_stated_shapes(spelling):
    model = network(spelling)
    images = images_for(model, batch=1)
    side = images.shape[-1]
    with torch.no_grad():
        if sum(model.spec.blocks) > 200:  # else so many untrained blocks would overflow in eval mode
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = 1.0
            model.train()(images)
        model.eval()
        features = model.forward_features(images)
        assert features.shape[:2] == (1, model.num_features)
        hidden = model.forward_head(features, pre_logits=True)
        assert hidden.shape == (1, model.head_hidden_size)
        assert torch.equal(model.get_classifier()(hidden), model(images))
        last, intermediates = model.forward_intermediates(images)
        assert torch.equal(last, features)
        assert len(intermediates) == len(model.feature_info)
        for info, tensor in zip(model.feature_info, intermediates, strict=True):
            assert tensor.shape[1] == info["num_chs"]
            assert tensor.shape[-1] == -(-side // info["reduction"])
            assert dict(model.named_modules())[info["module"]] is not None
        only = model.forward_intermediates(images, indices=2, intermediates_only=True)
        assert [t.shape for t in only] == [t.shape for t in intermediates[-2:]]
        (first,) = model.forward_intermediates(images, indices=[0], stop_early=True, intermediates_only=True)
        assert torch.equal(first, intermediates[0])
        (normed,) = model.forward_intermediates(images, indices=[-1], norm=True, intermediates_only=True)
        assert torch.equal(normed, features)


@pytest.mark.parametrize("name", REGISTERED)
def test_the_classifier_is_reset(name):
    with torch.device("meta"):
        model = network(name).eval()
        images = images_for(model)
        body = {key: value for key, value in model.state_dict().items() if not key.startswith(("fc.", "classifier.6."))}
        model.reset_classifier(7)
        assert model(images).shape == (2, 7)
        assert (model.num_classes, model.spec.num_classes, model.get_classifier().out_features) == (7, 7, 7)
        model.reset_classifier(0)
        assert model(images).shape == (2, model.head_hidden_size)
        assert isinstance(model.get_classifier(), nn.Identity)
        assert {key: value.shape for key, value in model.state_dict().items()} == {k: v.shape for k, v in body.items()}
        if model.spec.family == "resnet":
            model.reset_classifier(0, global_pool="")
            assert model(images).dim() == 4


def test_other_poolings_before_the_classifier():
    model = network("resnet20").eval()
    images = images_for(model)
    maps = model.forward_features(images)
    mean, highest = maps.mean((2, 3)), maps.amax((2, 3))
    pooled = {"avgmax": (mean + highest) / 2, "catavgmax": torch.cat([mean, highest], 1)}
    for pooling, expected in pooled.items():
        model.reset_classifier(5, pooling)
        assert not model.fc.training
        assert torch.allclose(model.forward_head(maps, pre_logits=True), expected)
        assert model(images).shape == (2, 5)


def test_a_vggs_pooling():
    vgg = network("vgg16[blocks=1-1-1-1-1,widths=8-8-8-8-8]").eval()
    maps = torch.randn(2, 8, 14, 14)
    outputs = []
    for pooling in ("avg", "max", "avgmax"):
        vgg.global_pool = pooling
        outputs.append(vgg.forward_head(maps))
    highest = torch.nn.functional.adaptive_max_pool2d(maps, 7).flatten(1)
    assert torch.equal(outputs[1], vgg.classifier(highest))
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    vgg.reset_classifier(0, "")
    assert torch.equal(vgg.forward_head(maps), maps)
    vgg.reset_classifier(3)
    assert vgg.global_pool == "avg"
    for classes, pooling, message in ((3, "", "has no classifier"), (3, "catavgmax", "one map of 7x7")):
        with pytest.raises(ModelError, match=message):
            vgg.reset_classifier(classes, pooling)


def test_max_pooling_before_the_classifier():
    model = network("resnet20").eval()
    images = images_for(model)
    model.reset_classifier(0, "max")
    assert torch.equal(model(images), model.forward_features(images).amax((2, 3)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.forward_intermediates(images_for(m), indices=9), "has 4 feature maps"),
        (lambda m: m.forward_intermediates(images_for(m), indices=[4]), "0 to 3"),
        (lambda m: m.forward_intermediates(images_for(m), indices=[]), "0 to 3"),
        (lambda m: m.forward_intermediates(images_for(m), output_fmt="NLC"), "NCHW"),
        (lambda m: m.reset_classifier(-1), "num_classes"),
        (lambda m: m.set_grad_checkpointing(segments=[[1], [1]]), "do not fit into stages"),
        (lambda m: m.set_grad_checkpointing(segments=[[4], [], []]), "do not fit into stages"),
        (lambda m: m.set_grad_checkpointing(segments=[[0], [], []]), "do not fit into stages"),
        (lambda m: m.reset_classifier(3, "median"), "avg, max"),
    ],
)
def test_wrong_requests_get_a_sentence(call, message):
    with pytest.raises(ModelError, match=message):
        call(network("resnet20"))


@pytest.mark.parametrize("in_segments", [False, True])
@pytest.mark.parametrize("spelling", SMALL)
def test_gradient_checkpointing_changes_nothing(spelling, in_segments):
    plain = network(spelling).train()
    checkpointed = copy.deepcopy(plain)
    if in_segments and plain.spec.family == "vgg":
        pytest.skip("a VGG has no blocks")
    if in_segments:  # the first block of every stage alone, then the next two, and the others as they are
        segments = [[min(1, blocks), *([2] if blocks > 2 else [])] for blocks in plain.spec.blocks]
        checkpointed.set_grad_checkpointing(segments=segments)
    else:
        checkpointed.set_grad_checkpointing()
    images = images_for(plain)
    for model in (plain, checkpointed):
        torch.manual_seed(1)
        model(images).square().mean().backward()
    for (name, a), b in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(plain.state_dict().items(), checkpointed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_gradient_checkpointing_keeps_less():
    def saved_bytes(model):
        sizes = []
        images = images_for(model, batch=8)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            model(images)
        return sum(sizes)

    model = network("resnet56").train()
    whole = saved_bytes(model)
    model.set_grad_checkpointing()
    assert saved_bytes(model) < whole / 4


@pytest.mark.parametrize("spelling", SMALL)
def test_every_form_gives_the_same_logits(spelling):
    model = network(spelling).eval()
    images = images_for(model, batch=3)
    with torch.no_grad():
        expected = model(images)
        assert torch.equal(copy.deepcopy(model)(images), expected)
        assert torch.equal(torch.fx.symbolic_trace(model)(images), expected)
        last = model.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
        assert torch.allclose(last, expected, rtol=1e-4, atol=1e-4 * expected.abs().max())
        with torch.autocast("cpu", torch.bfloat16):
            half = model(images)
        assert torch.allclose(half.float(), expected, rtol=0.1, atol=0.1 * expected.abs().max())


@pytest.mark.parametrize(
    "spelling", ["resnet20", "resnet50", "preact_resnet18[stem=cifar]", "resnet20[shortcut=gated]"]
)
def test_torch_export_keeps_the_batch_dynamic(spelling):
    model = network(spelling).eval()
    images = images_for(model, batch=3)
    batch = torch.export.Dim.DYNAMIC
    program = torch.export.export(model, (images,), dynamic_shapes=({0: batch},)).module()
    with torch.no_grad():
        for count in (1, 2, 3):
            assert torch.allclose(program(images[:count]), model(images[:count]), rtol=1e-4, atol=1e-4)


def scripted(model):
    module = torch.jit.script(model)
    assert list(module.state_dict()) == list(model.state_dict())
    return module


def exported(model):
    return torch.export.export(model, (images_for(model),)).module()


def captured(model):
    torch.compiler.reset()
    return torch.compile(model, backend="eager", fullgraph=True)


def pickled(model):
    return pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes


FORMS = (scripted, torch.fx.symbolic_trace, exported, captured, copy.deepcopy, pickled)
QUICK = ("resnet20", "resnet18", "preact_resnet18", "resnext50_32x4d", "vgg16", "resnet20[order=relu-only]")


@pytest.mark.parametrize(
    ("form", "spelling"),
    [
        pytest.param(form, name, marks=() if name in QUICK and form is scripted else pytest.mark.slow)
        for form in FORMS
        for name in [*list_models(), *OTHERS]
        if form not in (exported, captured) or name not in ("resnet1202", "preact_resnet1001")  # many minutes each
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_in_every_form_it_computes_the_same(form, spelling):
    model = network(spelling)
    images = images_for(model)
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = 1.0  # the images' own statistics: with those of a fresh net a thousand layers overflow
    with torch.no_grad():
        model.train()(images)
        expected = model.eval()(images)
        assert expected.isfinite().all()
        assert torch.allclose(form(model)(images), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
def test_compiled():
    model = network("preact_resnet18[stem=cifar,widths=8-8-8-8,blocks=1-1-1-1]").eval()
    images = images_for(model)
    with torch.no_grad():
        assert torch.allclose(torch.compile(model)(images), model(images), rtol=1e-4, atol=1e-4)


def test_stochastic_depth_drops_whole_branches_and_keeps_the_mean():
    from reslab.models.layers import StochasticDepth

    layer = StochasticDepth(0.25)
    x = torch.ones(4000, 2, 3, 3)
    y = layer.train()(x)
    per_image = y.flatten(1)
    assert (per_image == per_image[:, :1]).all()
    assert set(per_image[:, 0].tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert y.mean().item() == pytest.approx(1, abs=0.03)
    assert layer.eval()(x) is x


def test_the_last_block_is_dropped_most():
    spec = parse_model("resnet20[stochastic_depth=0.9]")
    probabilities = [block.drop_branch.probability for stage in create_model(spec).stages for block in stage]
    assert probabilities == pytest.approx([0.9 * (i + 1) / 9 for i in range(9)])


def test_a_closed_gate_leaves_the_branch_and_an_open_one_the_shortcut():
    for bias, gate in ((-50.0, 0.0), (50.0, 1.0)):
        block = create_model(f"resnet20[shortcut=gated,gate_bias={bias}]").layer1[0].eval()
        x = torch.rand(1, 16, 8, 8)
        nn.init.zeros_(block.gate.conv.weight)
        residual = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
        assert torch.allclose(block(x), torch.relu(gate * residual + (1 - gate) * x), atol=1e-6)
    block = create_model("resnet20[shortcut=gated,gate=shortcut-only,gate_bias=0]").layer1[0].eval()
    nn.init.zeros_(block.gate.conv.weight)
    residual = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
    assert torch.allclose(block(x), torch.relu(residual + 0.5 * x), atol=1e-6)


def test_keller_jordans_dropout_is_in_the_first_block_of_each_stage():
    model = create_model("keller_jordan32")
    assert [[block.dropout is not None for block in stage] for stage in model.stages] == [[True] + [False] * 4] * 3
    assert model.conv1.bias is not None
    assert model.spec.depth == 32


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        ("resnet18[groups=2]", "block=basic takes 1 and 64"),
        ("resnet20[block=single,width_per_group=32]", "block=single takes 1 and 64"),
        ("resnet50[replace_stride_with_dilation=true]", "3 entries"),
        ("resnet50[width_per_group=0]", "whole number of at least 1"),
        (
            "resnet50[replace_stride_with_dilation=maybe]",
            "replace_stride_with_dilation must be true or false, joined by dashes, not maybe",
        ),
        ("resnet20[stem_pool=ceil]", "needs a stem that pools"),
        ("resnet20[gate=shortcut-only]", "needs shortcut=gated"),
        ("resnet20[gate_bias=1]", "needs shortcut=gated"),
        ("resnet20[projection_pool=true]", "needs a projection"),
        ("resnet20[projection_norm=false]", "needs a projection"),
        ("resnet20[stochastic_depth=1.0]", "below 1"),
        ("resnet20[dropout=lots]", "a number"),
        ("plain20[stochastic_depth=0.5]", "nothing left"),
        ("plain20[order=pre]", "needs shortcuts"),
        ("preact_resnet18[zero_init_residual=true]", "which order=pre does not have"),
        ("resnet20[order=relu-before-addition,zero_init_residual=true]", "does not have"),
        ("plain20[order=relu-only]", "needs shortcuts"),
        ("resnet20[block=triple,order=pre]", "has the paper's order"),
        ("resnet20[order=norm-after-addition,norm=none]", "needs a norm"),
        ("resnet20[init_std=0.1]", "init_std is that of init=normal"),
        ("resnet20[init=normal,init_std=0]", "init_std"),
        ("resnet20[norm=none,zero_init_residual=true]", "scale"),
        ("vgg16[shortcut=A]", "a VGG has no shortcuts"),
        ("vgg16[groups=2]", "a VGG has no groups"),
        ("vgg16[init=looks-linear]", "hidden fully-connected layers"),
        ("resnet20[activation=relu6]", "activation must be relu, leaky_relu"),
    ],
)
def test_wrong_combinations_get_a_sentence(spelling, message):
    with pytest.raises(ModelError, match=message):
        create_model(spelling)
