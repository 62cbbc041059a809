"""Networks that no machine holds are refused by their descriptions, before anything is built."""

import math
import resource
import struct

import pytest
import torch
from safetensors.torch import save_file

from reslab.errors import ModelError, ReslabError, WeightsError
from reslab.models import create_model, list_models
from reslab.models.build import skeleton
from reslab.models.spec import MOST_BLOCKS, MOST_WEIGHTS, NetSpec
from reslab.models.weights import build_loaded, load_weights, read_state_dict, save_weights
from reslab.models.zoo import named_model, parse_model
from reslab.trained import load_trained

HUGE = {
    "blocks": ((10**9, 1, 1), "blocks=1000000000-1-1 are 1,000,000,002, and 65,536 are built at most"),
    "widths": ((10**9, 10**9, 10**9), "weights, and 8,589,934,592 are built at most"),
    "num_classes": (10**12, "num_classes must be numbers up to 2,147,483,648, not 1000000000000"),
    "in_channels": (10**30, "in_channels must be numbers up to 2,147,483,648"),
    "width_per_group": (10**400, "width_per_group must be numbers up to"),
    "groups": (10**400, "groups must be numbers up to"),
    "squeeze_excitation": (10**400, "squeeze_excitation must be numbers up to"),
}


@pytest.mark.parametrize(("field", "value", "said"), [(field, *case) for field, case in HUGE.items()], ids=HUGE)
def test_a_huge_field_is_a_sentence_in_a_card_and_in_a_spelling(tmp_path, field, value, said):
    with pytest.raises(ModelError, match=said):
        NetSpec.from_dict({**named_model("resnet50").spec.to_dict(), "blocks": [1, 1, 1, 1]} | _listed(field, value))
    text = "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
    with pytest.raises(ModelError, match=said):
        parse_model(f"resnet20[{field}={text}]")


def _listed(field, value):
    """Of a card of a network of three stages."""
    stages = {"blocks": [1, 1, 1], "widths": [4, 4, 4]}
    return {**stages, field: list(value) if isinstance(value, tuple) else value}


def test_a_card_that_asks_for_a_huge_network_is_a_sentence_that_names_it(tmp_path):
    model = create_model("resnet8[widths=4-4-4]")
    net = {**model.spec.to_dict(), "widths": [10**9] * 3}
    card = {
        "net": net,
        "classes": list("0123456789"),
        "data": {"height": 8, "width": 8},
        "normalization": {"kind": "per-channel", "mean": [0.5] * 3, "std": [0.5] * 3},
    }
    save_weights(model, tmp_path, card)
    with pytest.raises(ReslabError, match=r"card.json.*weights, and .* are built at most"):
        load_trained(tmp_path)


@pytest.mark.parametrize("name", list_models())
def test_every_named_network_is_within_the_limits_and_has_at_least_what_is_counted(name):
    spec = named_model(name).spec
    weights = sum(value.numel() for value in skeleton(spec).parameters()) if sum(spec.blocks) < 100 else math.inf
    assert 0.5 * min(weights, 1e9) < spec.least_weights or weights == math.inf or sum(spec.blocks) < 10
    assert spec.least_weights <= weights
    assert spec.least_weights < MOST_WEIGHTS / 30
    assert sum(spec.blocks) < MOST_BLOCKS / 50


def test_a_large_network_is_compared_with_its_file_before_it_is_built(tmp_path):
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    spec = parse_model("resnet20[widths=2000-4000-8000]")  # 14 GB
    assert 3e9 < spec.least_weights < MOST_WEIGHTS
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match="does not fit the model"):
        build_loaded(spec, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="does not fit the model"):
        load_trained("resnet20[widths=2000-4000-8000]", weights=tmp_path / "w.safetensors")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 << 10  # KiB


def test_a_model_without_values_takes_no_weights_in_silence():
    with pytest.raises(WeightsError, match="on torch's device meta"):
        load_weights(skeleton(parse_model("resnet8")), create_model("resnet8").state_dict())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            struct.pack("<Q", 1 << 62) + b"{}",
            "header is said to have 4,611,686,018,427,387,904 bytes, and the file has 10",
        ),
        (struct.pack("<Q", 17 << 20) + b"{" + b" " * (17 << 20), "has a header of 17,825,792 bytes; up to 16,777,216"),
        (
            b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}',
            "is damaged, or is no safetensors file",
        ),
        (b'{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,12]}}', "is damaged"),
        (b"{" + b'"a":[' * 20_000, "is damaged"),
        (b'{"a":3}', "is damaged"),
        (b'{"a":{"dtype":"F999","shape":[3],"data_offsets":[0,12]}}', "is damaged"),
        (b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,120]}}', "is damaged"),
        (b'{"__metadata__":{"a":3}}', "is damaged"),
    ],
)
def test_headers_of_safetensors_that_lie_are_sentences(tmp_path, content, said):
    if content.startswith(b"{"):
        content = struct.pack("<Q", len(content)) + content + bytes(12)
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"w.safetensors.*{said}"):
        read_state_dict(tmp_path / "w.safetensors")
