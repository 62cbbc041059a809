"""Our networks through timm's own functions."""

import pytest
import timm
import torch

from reslab.errors import ModelError
from reslab.integrations.timm import register
from reslab.models import create_model, list_models


@pytest.fixture(scope="module", autouse=True)
def registered():
    return register()


def test_all_networks_are_registered_once(registered):
    assert registered == [f"reslab_{name}" for name in list_models()]
    assert register() == registered
    assert set(timm.list_models("reslab_*")) == set(registered)
    assert register("resnet20") == ["reslab_resnet20"]


@pytest.mark.parametrize("name", ["resnet20", "resnet50", "preact_resnet18", "vgg16_bn", "keller_jordan32"])
def test_timm_builds_our_network(name):
    torch.manual_seed(1)
    theirs = timm.create_model(f"reslab_{name}", num_classes=7).eval()
    torch.manual_seed(1)
    ours = create_model(name, num_classes=7).eval()
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(theirs(images), ours(images))
    config = timm.data.resolve_data_config(model=theirs)
    assert config["input_size"] == (3, ours.spec.usual_input_size, ours.spec.usual_input_size)


def test_timms_arguments_are_understood():
    model = timm.create_model(
        "reslab_resnet50", num_classes=0, in_chans=1, drop_rate=0.3, drop_path_rate=0.1, output_stride=8, global_pool=""
    ).eval()
    assert model(torch.randn(1, 1, 64, 64)).shape == (1, 2048, 8, 8)
    spec = model.spec
    assert (spec.dropout, spec.stochastic_depth, spec.in_channels) == (0.3, 0.1, 1)
    with pytest.raises(TypeError, match="no argument 'surprise'"):
        timm.create_model("reslab_resnet20", surprise=1)
    with pytest.raises(ModelError, match="four stages"):
        timm.create_model("reslab_resnet20", output_stride=8)


@pytest.mark.parametrize("name", ["resnet20", "resnet50", "preact_resnet18", "vgg16_bn", "resnext50_32x4d"])
def test_features_only(name):
    features = timm.create_model(f"reslab_{name}", features_only=True).eval()
    whole = create_model(name).eval()
    state = {key: value for key, value in whole.state_dict().items() if key in features.state_dict()}
    if "vgg" in name:  # timm flattens its names
        state = {key.replace("features.", "features_"): value for key, value in whole.state_dict().items()}
        state = {key: value for key, value in state.items() if key in features.state_dict()}
    features.load_state_dict(state)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = features(images)
        intermediates = whole.forward_intermediates(images, intermediates_only=True)
    assert [m.shape[1] for m in maps] == features.feature_info.channels()
    assert [64 // m.shape[-1] for m in maps] == features.feature_info.reduction()
    assert all(torch.equal(a, b) for a, b in zip(maps, intermediates, strict=True))


def test_pretrained_weights_come_from_the_card(server, tmp_path, monkeypatch):
    import io

    source = create_model("resnet18")
    buffer = io.BytesIO()
    torch.save(source.state_dict(), buffer)
    server.respond = lambda handler, _: handler.answer(buffer.getvalue())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert timm.create_model("reslab_resnet18").pretrained_cfg["url"].endswith("resnet18-f37072fd.pth")
    overlay = {"url": f"{server.url}/resnet18.pth"}
    model = timm.create_model("reslab_resnet18", pretrained=True, pretrained_cfg_overlay=overlay, num_classes=5)
    assert torch.equal(model.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    assert model.fc.out_features == 5
