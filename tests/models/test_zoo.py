import re
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reslab.errors import ModelError
from reslab.models import NetSpec, cifar_resnet, list_models, parse_model, spell
from reslab.models.zoo import named_model, register, with_fields

CIFAR_NAMES = ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202"]


def test_names_are_listed_in_natural_order():
    names = [name for name in list_models("resnet*") if named_model(name).spec.stem == "cifar"]
    assert names == CIFAR_NAMES
    assert list_models("plain?6") == ["plain56"]
    assert list_models("vgg*") == ["vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]
    assert list_models("alexnet*") == []


@pytest.mark.parametrize("name", list_models())
def test_every_name_is_its_own_spelling_and_has_the_depth_it_states(name):
    spec = parse_model(name)
    assert spell(spec) == name
    assert spec.depth == int(re.search(r"\d+", name)[0])


def test_a_second_registration_of_a_name_is_refused():
    with pytest.raises(ModelError, match="'resnet20' is registered already"):
        register("resnet20", "here", cifar_resnet(3))


def test_any_n_gives_a_cifar_net():
    assert parse_model("resnet26") == cifar_resnet(4)
    assert parse_model("plain26") == cifar_resnet(4, shortcut="none")
    assert cifar_resnet(9) == parse_model("resnet56")


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "3"])
def test_a_wrong_n_is_refused(n):
    with pytest.raises(ModelError, match="positive integer"):
        cifar_resnet(n)


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        ("resnet21", "no model named 'resnet21'; did you mean"),
        ("banana", "`reslab models` lists them"),
        ("", "cannot read the model"),
        ("resnet20[shortcut=C", "cannot read the model"),
        ("resnet20[shortcut]", "write field=value"),
        ("resnet20[shortcut=A,shortcut=B]", "stands twice"),
        ("resnet20[shortcot=C]", "did you mean shortcut"),
        ("resnet20[shortcut=Q]", "shortcut must be A, B, C, avgpool, gated or none, not Q"),
        ("resnet20[num_classes=ten]", "a whole number"),
        ("resnet20[num_classes=-1]", "whole number of at least 0"),
        ("resnet20[blocks=3-x-3]", "joined by dashes"),
        ("resnet20[blocks=3-3]", "one number a stage"),
        ("resnet20[blocks=]", "joined by dashes"),
        ("resnet20[zero_init_residual=maybe]", "true or false"),
        ("plain20[zero_init_residual=true]", "plain net"),
        ("resnet20[widths=64-32-16]", "can only add channels"),
        ("resnet20[widths=16-31-64,shortcut_padding=split]", "even number"),
        ("resnet20[init=fan_sideways]", "fan_in, fan_out, torch"),
        ("resnet999999999998", "no model named"),
    ],
)
def test_a_wrong_spelling_gets_a_sentence(spelling, message):
    with pytest.raises(ModelError, match=message.replace("[", r"\[")):
        parse_model(spelling)


def test_a_field_given_twice_with_two_values_is_refused():
    assert parse_model("resnet20[shortcut=C]", {"shortcut": "C"}).shortcut == "C"
    with pytest.raises(ModelError, match="given twice"):
        parse_model("resnet20[shortcut=C]", {"shortcut": "B"})


def test_defaults_yield_to_the_spelling():
    assert parse_model("resnet20[num_classes=7]", defaults={"num_classes": 5, "in_channels": 1}) == replace(
        parse_model("resnet20"), num_classes=7, in_channels=1
    )


specs = st.builds(
    NetSpec,
    blocks=st.tuples(*[st.integers(1, 40)] * 3),
    block=st.sampled_from(["basic", "bottleneck"]),
    widths=st.sampled_from([(16, 32, 64), (64, 128, 256), (8, 8, 8)]),
    shortcut=st.sampled_from(["A", "B", "C", "avgpool", "none"]),
    shortcut_padding=st.sampled_from(["append", "split"]),
    stride=st.sampled_from(["v1", "v1.5"]),
    stem=st.sampled_from(["cifar", "imagenet"]),
    num_classes=st.integers(1, 2000),
    in_channels=st.integers(1, 5),
    init=st.sampled_from(["fan_in", "fan_out"]),
)


@given(specs)
def test_spelling_and_dict_are_read_back_to_the_same_description(spec):
    assert parse_model(spell(spec)) == spec
    assert NetSpec.from_dict(spec.to_dict()) == spec


def test_fields_are_added_to_a_spelling():
    assert with_fields("resnet20", {}) == "resnet20"
    assert with_fields("resnet20[shortcut=C]", {"widths": (8, 16, 32)}) == "resnet20[shortcut=C,widths=8-16-32]"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "must be a table"),
        ({}, "lacks blocks"),
        ({"blocks": [3, 3, 3], "depth": 20}, "no field depth"),
        ({"blocks": "333"}, "whole numbers of at least 1"),
        ({"blocks": [3, 3, 3], "zero_init_residual": 1}, "true or false"),
        ({"blocks": [3, 3, 3], "num_classes": True}, "whole number of at least 0"),
    ],
)
def test_a_damaged_description_gets_a_sentence(values, message):
    with pytest.raises(ModelError, match=message):
        NetSpec.from_dict(values)


def test_a_description_names_every_field():
    assert set(cifar_resnet(3).to_dict()) == {field.name for field in fields(NetSpec)}
