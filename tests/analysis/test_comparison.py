"""Somebody's own network, with one mistake at a time, and what is said of it."""

import json

import pytest
import torch
import torchvision

from reslab.analysis.comparison import compare_networks, nearest_network
from reslab.analysis.user_code import network_in
from reslab.errors import ModelError
from reslab.models import create_model, parse_model

# As a student might write it, with every mistake behind a word.
STUDENT = """
import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, channels, filters, stride, mistake):
        super().__init__()
        self.mistake, self.stride, self.extra = mistake, stride, filters - channels
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=mistake == "bias")
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 0 if mistake == "padding" else 1, bias=False)
        self.bn2 = nn.Sequential() if mistake == "norm" else nn.BatchNorm2d(filters)

    def forward(self, x):
        y = self.bn1(self.conv1(x))
        y = self.bn2(self.conv2(y if self.mistake == "inner relu" else F.relu(y)))
        if self.mistake == "padding":
            y = F.pad(y, (1, 1, 1, 1))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.extra))
        if self.mistake == "shortcut":
            return F.relu(y)
        if self.mistake == "order":
            return F.relu(y) + x
        return y + x if self.mistake == "last relu" else F.relu(y + x)


class Net(nn.Module):
    def __init__(self, mistake="", blocks=3):
        super().__init__()
        self.mistake = mistake
        self.conv1 = nn.Conv2d(3, 16, 3, 2 if mistake == "stride" else 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        made, channels = [], 16
        for stage, filters in enumerate((16, 32, 64)):
            for number in range(blocks):
                made.append(Block(channels, filters, 2 if stage and number == 0 else 1, mistake))
                channels = filters
        self.blocks = nn.Sequential(*made)
        self.linear = nn.Linear(64, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and mistake != "initial weights":
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x):
        x = self.blocks(F.relu(self.bn1(self.conv1(x)))).mean((2, 3))
        x = self.linear(x * 2 if self.mistake == "pooling" else x)
        return x.softmax(1) if self.mistake == "softmax" else x


def shallow():
    return Net(blocks=2)


def pair():
    net = Net()
    net.forward = lambda x: (x, x)
    return net


def broken():
    raise RuntimeError("no such luck")


def number():
    return 7
"""


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    path = tmp_path_factory.mktemp("student") / "mine.py"
    path.write_text(STUDENT)
    return path


@pytest.mark.parametrize(
    ("mistake", "layer", "sentence"),
    [
        ("", "", ""),
        ("bias", "blocks.0.conv1", "layer 2 of the main path, blocks.0.conv1, has a bias, and should have none"),
        ("padding", "blocks.0.conv2", "has padding 0, and should have 1"),
        ("norm", "blocks.0.conv2", "has no batch norm after it"),
        ("stride", "conv1", "has stride 2, and should have 1"),
        ("inner relu", "blocks.0.conv2", "a ReLU before it is missing"),
        ("last relu", "blocks.1.conv1", "a ReLU before it is missing"),
        ("shortcut", "blocks.1.conv1", "the shortcut is not added"),
        ("order", "blocks.1.conv1", "the ReLU stands before the addition"),
        ("pooling", "linear", "what stands between the layers does something else"),
        ("softmax", "", "softmax at its end"),
        ("initial weights", "blocks.0.conv1", "should be 0.1"),
    ],
)
def test_every_mistake_is_found_where_it_is(student, mistake, layer, sentence):
    net = network_in(f"{student}:Net")
    found = compare_networks(lambda: net(mistake), "resnet20")
    assert (found.reference, found.layer) == ("resnet20", layer)
    assert sentence in found.sentence
    assert bool(found.sentence) == bool(mistake)


def test_counts_are_compared(student):
    found = compare_networks(network_in(f"{student}:shallow"), "resnet20")
    assert found.sentence == "layer 6 of the main path, blocks.2.conv1, has filters 32, and should have 16."


def test_projections_are_told_from_the_main_path():
    found = compare_networks(lambda: create_model("resnet20[shortcut=B]"), "resnet20")
    assert found.sentence == "it has 2 projections in its shortcuts, and should have 0."
    found = compare_networks(lambda: create_model("resnet50[stride=v1]"), "resnet50", (64, 64))
    assert found.layer == "layer2.0.conv1"
    assert found.sentence.endswith("has stride 2, and should have 1.")


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d"])
def test_torchvisions_networks_are_ours(name):
    found = compare_networks(getattr(torchvision.models, name), image_size=(64, 64))
    assert found == (name, "", "")


def test_orders_of_norm_and_activation_differ():
    found = compare_networks(lambda: create_model("resnet20[order=relu-before-addition]"), "resnet20")
    assert "the ReLU stands before the addition" in found.sentence
    found = compare_networks(lambda: create_model("preact_resnet18[stem=cifar]"), "resnet18[stem=cifar]")
    assert found.layer


def test_the_nearest_network_has_their_classes_and_channels():
    assert nearest_network(create_model("resnet56[num_classes=7,in_channels=1]")) == parse_model(
        "resnet56[num_classes=7,in_channels=1]"
    )
    with pytest.raises(ModelError, match="no convolutions"):
        nearest_network(torch.nn.Linear(3, 4))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("mine.py", "write a Python file, a colon and a class"),
        ("mine.txt:Net", "write a Python file"),
        ("mine.py:Net()", "write a Python file"),
        ("nowhere.py:Net", "there is no file"),
        ("{student}:Nett", "has no class or function 'Nett'; did you mean Net"),
        ("{student}:broken", "it cannot be built: RuntimeError: no such luck"),
        ("{student}:number", "it gives no torch.nn.Module, but int"),
        ("{student}:pair", "it gives no tensor of logits, but tuple"),
    ],
)
def test_wrong_places_get_a_sentence(student, place, message):
    with pytest.raises(ModelError, match=message):
        compare_networks(network_in(place.format(student=student)), "resnet20")


def test_a_file_that_fails_gets_a_sentence(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import nothing_of_this_name")
    with pytest.raises(ModelError, match=r"mine.py cannot be run: ModuleNotFoundError: No module named"):
        network_in(f"{path}:Net")
    path.write_text("def (")
    with pytest.raises(ModelError, match="cannot be run: SyntaxError"):
        network_in(f"{path}:Net")


def test_images_that_it_does_not_take_get_a_sentence():
    with pytest.raises(ModelError, match="does not take a batch of 3x32x32 images"):
        compare_networks(lambda: create_model("resnet20[in_channels=1]"), "resnet20")


def test_the_command(student, capsys):
    from reslab.cli.main import main

    assert main(["compare", f"{student}:Net"]) == 0
    assert capsys.readouterr().out == "Compared with resnet20: the same, layer by layer.\n"
    assert main(["compare", f"{student}:shallow", "--to", "resnet20", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["layer"] == "blocks.2.conv1"
