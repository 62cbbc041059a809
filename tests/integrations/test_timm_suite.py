"""timm's own tests of its models, from its source distribution, over ours.

They are timm's functions as they are; networks of one kind stand for others of it where a test computes with weights.
Exempted, as timm exempts its own VGG in `EARLY_POOL_MODELS`: nothing, since ours gives its last map without pooling.
"""

import functools
import importlib.util
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import timm

from reslab.integrations.timm import register
from reslab.models import list_models

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning"),
]
VERSION = "1.0.31"
NETWORKS = (
    *("resnet20", "plain20", "resnet56", "resnet18", "resnet50", "resnext50_32x4d", "preact_resnet18"),
    *("preact_resnet50", "keller_jordan32", "kuangliu_resnet18", "kuangliu_resnet50", "seresnet18", "vgg16"),
    *("vgg16_bn", "resnet50[stem=deep,projection_pool=true]", "resnet20[shortcut=gated]", "resnet26"),
    "resnet34[replace_stride_with_dilation=false-false-true]",
)
BY_BATCH = {
    **dict.fromkeys(("forward", "forward_torchscript", "forward_features", "forward_intermediates"), 1),
    **dict.fromkeys(("forward_intermediates_features", "forward_fx", "forward_fx_torchscript"), 1),
    **dict.fromkeys(("backward", "backward_fx"), 2),
}
BY_NAME = ("prune_intermediate_layers_contract", "reset_classifier_keeps_pool")
BY_NAME += ("features_only_grad_checkpointing_backward", "prune_to_stem_feature")


@functools.cache
def module_of(config):
    """timm's module of tests, which is kept in pytest's cache."""
    assert timm.__version__ == VERSION
    parent = Path(config.cache.mkdir("timm"))
    folder = parent / f"timm-{VERSION}"
    if not folder.exists():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "timm", f"timm=={VERSION}"]
        if subprocess.run([*command, "-d", parent], capture_output=True).returncode:
            pytest.skip("timm's source distribution cannot be had from PyPI")
        with tarfile.open(parent / f"timm-{VERSION}.tar.gz") as archive:
            archive.extractall(parent, filter="data")
    file = folder / "tests" / "test_models.py"
    for marker in set(re.findall(r"pytest\.mark\.(\w+)", file.read_text())):
        config.addinivalue_line("markers", f"{marker}: timm's")
    location = importlib.util.spec_from_file_location("timm_test_models", file)
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    return module


@pytest.fixture
def suite(request):
    return module_of(request.config)


def registered(name):
    (found,) = register(name)
    return found


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("test", BY_BATCH)
def test_with_weights(suite, test, name):
    getattr(suite, f"test_model_{test}")(registered(name), BY_BATCH[test])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("test", BY_NAME)
def test_of_one_network(suite, test, name):
    getattr(suite, f"test_{test}")(registered(name))


@pytest.mark.parametrize("name", [*list_models(), *(name for name in NETWORKS if name not in list_models())])
def test_the_contract_on_the_meta_device(suite, name):
    suite.test_model_default_cfgs(registered(name), 1, "meta")
