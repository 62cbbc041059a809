"""Quoted numbers: spot values typed from the paper a second time, and what holds among them."""

import json
import re

import pytest

from reslab.analysis.complexity import summarize
from reslab.errors import ReslabError
from reslab.models.released import list_cards
from reslab.models.zoo import parse_model
from reslab.paper.reference import (
    CIFAR_ITERATIONS,
    CIFAR_TEST_ERRORS,
    TABLES,
    find_table,
    others_values,
    paper_value,
)
from reslab.paper.reference.quoted import Row, quote, quoted_table


def number(table: str, row: str, column: str) -> float:
    found = paper_value(table, row, column)
    assert found is not None
    return found.value


def all_values():
    for table in TABLES.values():
        for row in table.rows:
            for column, found in zip(table.columns, row.values, strict=True):
                if found is not None:
                    yield table, row, column, found


def test_all_tables_are_there():
    assert {f"table{index}" for index in range(1, 15)} <= TABLES.keys()
    assert {"winners", "others-imagenet", "others-cifar", "reproductions", "fashion-mnist"} <= TABLES.keys()
    assert sum(1 for _ in all_values()) > 400
    for table in TABLES.values():
        labels = [row.label for row in table.rows]
        assert len(set(labels)) == len(labels)
        assert json.loads(json.dumps(table.to_dict()))["name"] == table.name


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_network_is_one_of_ours(name):
    for row in TABLES[name].rows:
        if row.net:
            spec = parse_model(row.net)
            if spec.family == "resnet":  # of the first and the last layer, and two or three in a block
                num_layers = 2 + sum(spec.blocks) * (3 if spec.block == "bottleneck" else 2)
                assert num_layers == int(re.search(r"\d+", row.net)[0])


@pytest.mark.parametrize(
    ("table", "row", "column", "value"),
    [
        ("table1", "resnet152[stride=v1]", "gmacs", 11.3),
        ("table1", "101-layer", "conv4_x_blocks", 23),
        ("table2", "plain18", "top1_error", 27.94),
        ("table3", "resnet34[shortcut=C]", "top5_error", 7.40),
        ("table3", "GoogLeNet", "top5_error", 9.15),
        ("table4", "ResNet-152", "top1_error", 19.38),
        ("table4", "PReLU-net", "top5_error", 5.71),
        ("table5", "BN-inception", "top5_error", 4.82),
        ("table6", "resnet110", "mean_test_error", 6.61),
        ("table6", "Highway 32", "parameters_millions", 1.25),
        ("table7", "ResNet-101", "voc12_map", 73.8),
        ("table8", "VGG-16", "map", 21.2),
        ("table9", "multi-scale testing", "test_dev_map_at_50", 55.7),
        ("table10", "with all", "map", 85.6),
        ("table11", "with all", "map", 83.8),
        ("table12", "ResNet-101, ensemble", "test_map", 62.1),
        ("table13", "ensemble", "predicted_class_error", 8.9),
        ("table14", "ResNet", "test_error", 9.0),
        ("winners", "human", "top5_error", 5.1),
        ("others-imagenet", "fb.resnet.torch, ResNet-101", "top1_error_10_crop", 21.08),
        ("others-imagenet", "torchvision V2, ResNet-152", "top5_error", 3.998),
        ("others-imagenet", "timm A3, ResNet-18", "top1_error", 31.75),
        ("others-cifar", "akamaster, ResNet-1202", "test_error", 6.18),
        ("reproductions", "fish145, plain-44", "test_error", 15.55),
        ("reproductions", "nabla0001, ResNet-110", "test_error", 7.14),
        ("fashion-mnist", "WRN-28-10 with random erasing", "test_error", 3.7),
        ("trainable-plain", "R-ISONet-50", "top1_error", 23.82),
        ("shortcuts", "scaling by 0.5", "test_error", 12.35),
        ("orders", "preact_resnet110", "test_error", 6.37),
        ("pre-activation", "preact_resnet1001", "test_error", 4.92),
        ("speed-records", "hlb, on a CPU", "seconds", 815),
    ],
)
def test_spot_values(table, row, column, value):
    assert number(table, row, column) == value


def test_what_the_text_says_of_the_tables():
    def text(label: str) -> float:
        return number("text-numbers", label, "value")

    plain, residual = (number("table3", net, "top1_error") for net in ("plain34", "resnet34[shortcut=A]"))
    assert round(plain - residual, 1) == text("points by which ResNet-34 is better than plain-34") == 3.5
    shallower = number("table2", "ResNet-18", "top1_error")
    assert text("points by which ResNet-34 is better than ResNet-18") == pytest.approx(shallower - residual, abs=0.06)
    before, after = (number("table8", row, "map") for row in ("VGG-16", "ResNet-101"))
    assert round(100 * (after / before - 1)) == text("relative improvement on COCO") == 28
    assert round(after - before, 1) == text("points of mAP gained on COCO") == 6.0
    assert min(row.values[0].value for row in TABLES["table5"].rows) == text("top-5 error of the ensemble") == 3.57
    errors = [
        found.value for table, _, column, found in all_values() if (table.name, column) == ("table4", "top5_error")
    ]
    assert min(errors) == text("top-5 error of the best single model") == 4.49
    share = number("table1", "34-layer", "gmacs") / number("table1", "VGG-19", "gmacs")
    assert round(100 * share) == text("share of VGG-19's multiply-adds that the 34-layer net has") == 18
    assert text("times as deep as VGG nets: ResNet-152") == 152 / 19
    assert text("weights of two 3x3 convolutions on 64 channels") == 2 * 9 * 64 * 64
    bottleneck = 64 * (256 + 9 * 64 + 256)
    assert text("weights of a bottleneck on 256-64-64-256 channels") == bottleneck
    projected = text("weights of a bottleneck with a projection on its shortcut")
    assert projected == bottleneck + 256 * 256
    assert round(projected / bottleneck, 2) == text("a bottleneck with a projection over one without")
    projections = sum(parse_model("resnet34").blocks) - 3  # option B has three
    assert text("projections that option C adds to ResNet-34") == projections
    assert text("epochs of training on CIFAR-10's 50,000 images") == CIFAR_ITERATIONS * 128 / 50_000


def test_tables_agree_where_they_say_the_same():
    for net in ("plain34", "resnet34[shortcut=A]"):
        assert number("table2", net, "top1_error") == number("table3", net, "top1_error")
    for column in ("map_at_50", "map"):
        for row in ("VGG-16", "ResNet-101"):
            assert number("table9", f"baseline, {row}", f"val_{column}") == number("table8", row, column)
    assert number("winners", "2015", "top5_error") == number("table5", "ResNet", "top5_error")
    assert number("shortcuts", "identity", "test_error") == number("table6", "resnet110", "mean_test_error")
    for row in TABLES["counts-imagenet"].rows[:7]:
        twin = row.net.replace("plain18", "resnet18[shortcut=A]")
        assert row.values[0].value == number("counts-imagenet", twin, "parameters")
    assert number("table4", "VGG v5", "top5_error") < number("table4", "VGG'14", "top5_error")


def test_exact_counts_round_to_what_the_paper_prints():
    """But for ResNet-50, of which 3.858 is printed as 3.8, and ResNet-32's 0.464 million parameters as 0.46."""
    for row in TABLES["table1"].rows[:5]:
        exact = number("counts-imagenet", row.net, "gmacs")
        assert number("table1", row.net, "gmacs") == pytest.approx(exact, abs=0.06)
    for row in TABLES["table6"].rows[6:]:
        exact = number("counts-cifar", row.net, "parameters") / 1e6
        printed = row.values[1]
        assert printed.value == pytest.approx(exact, abs=0.51 * 10**-printed.decimals)
        assert row.values[0].value == 6 * number("counts-cifar", row.net, "blocks_per_stage") + 2


@pytest.mark.parametrize(
    ("table", "net", "size", "column", "unit"),
    [("counts-imagenet", f"resnet18[shortcut={option}]", 224, "gmacs", 1e9) for option in "ABC"]
    + [("counts-imagenet", f"resnet34[shortcut={option}]", 224, "gmacs", 1e9) for option in "ABC"]
    + [("counts-imagenet", net, 224, "gmacs", 1e9) for net in ("plain18", "resnet50", "resnet50[stride=v1]")]
    + [("counts-cifar", net, 32, "mmacs", 1e6) for net in ("resnet20", "resnet20[shortcut=C]", "resnet56[shortcut=B]")],
)  # fmt: skip
def test_exact_counts_are_those_of_our_networks(table, net, size, column, unit):
    found = summarize(parse_model(net), (size, size))
    assert found.parameters == number(table, net, "parameters")
    macs = paper_value(table, net, column)
    if macs is not None:
        assert macs.value == round(found.macs / unit, macs.decimals)


def test_errors_of_released_weights_are_those_of_their_cards():
    compared = 0
    for card in list_cards():
        who = card.name.replace(":", " ")
        for found in others_values(card.model, "test_error" if who == "akamaster" else "top1_error"):
            if found.who == who:
                assert (found.net, found.quoted.value) == (card.model, card.top1_error)
                compared += 1
    assert compared == 5 + 3 + 15 + 2


def test_what_is_uncertain_is_marked():
    memory = {(table.name, row.label) for table, row, _, found in all_values() if found.from_memory}
    assert ("winners", "human") in memory
    assert ("orders", "original") in memory
    assert ("winners", "2015") not in memory
    context = find_table("table9").row("context").values
    assert [found.from_memory for found in context] == [False, False, True, True]
    for index in (2, 3, 5, 6, 7, 8, 10, 11):
        assert not any(name == f"table{index}" for name, _ in memory)
    assert [row.label for table, row, _, found in all_values() if found.read_off] == [
        "plain-20", "plain-32", "plain-44", "plain-56",
    ]  # fmt: skip


def test_others_values_say_who_how_and_of_which_network():
    found = others_values("resnet56", "test_error")
    assert [one.who for one in found][:4] == ["akamaster", "gcr", "TensorFlow models", "longrootchen"]
    flow = found[2].quoted
    assert (str(flow), flow.spread, flow.num_runs) == ("6.88 ± 0.20", 0.2, 5)
    assert found[0].net == "resnet56[shortcut_padding=split]"
    assert "chosen on the test set" in found[0].quoted.note
    assert [one.quoted.value for one in others_values("plain56", "test_error")] == [13.31, 12.95, 12.76, 11.86, 14.74]
    clipped = next(one.quoted for one in others_values("plain56", "test_error") if one.who == "wooyeolBaek")
    assert "clipped" in clipped.note
    released = others_values("resnet50[stride=v1]", "top5_error_10_crop")
    assert [(one.who, str(one.quoted)) for one in released] == [("authors' release", "6.7")]
    assert others_values("resnet8", "test_error") == ()


def test_the_names_of_cifars_errors():
    assert CIFAR_ITERATIONS == 64_000
    assert list(CIFAR_TEST_ERRORS)[:4] == ["plain20", "plain32", "plain44", "plain56"]
    found = CIFAR_TEST_ERRORS["resnet110"]
    assert (str(found), found.source, found.num_runs) == ("6.43", "Table 6", 5)
    assert CIFAR_TEST_ERRORS["plain56"].note == "13 to 13.5"


def test_a_number_keeps_its_digits_and_marks():
    assert str(quote("7.40", "Table 3")) == "7.40"
    assert str(quote("69,632", "Sec. 4.1")) == "69,632"
    assert quote("53.3?", "Table 9").from_memory
    found = quote("6.61 ± 0.16", "Table 6", num_runs=5)
    assert (found.value, found.spread, str(found)) == (6.61, 0.16, "6.61 ± 0.16")
    assert str(quote("about 9", "Fig. 6")) == "about 9"


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: find_table("tabel3"), "no table 'tabel3'; did you mean table3"),
        (lambda: paper_value("table3", "ResNet-35 A", "top1_error"), "did you mean ResNet-34 A"),
        (lambda: paper_value("table3", "", "top1_error"), "no row ''"),
        (lambda: paper_value("table3", "plain-34", "top1_eror"), "no column 'top1_eror'; did you mean top1_error"),
        (lambda: paper_value("others-imagenet", "resnet50", "top1_error"), "several rows of resnet50; give a label"),
        (lambda: quote("7,4 %", "here"), "cannot read the number '7,4 %' of here"),
        (lambda: quoted_table("t", "t", "s", ("a", "b"), [Row("r", "1")]), "2 columns, and 1 cells"),
    ],
)
def test_what_is_not_there_gets_a_sentence(ask, said):
    with pytest.raises(ReslabError, match=said):
        ask()
