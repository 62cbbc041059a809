import json

import pytest
import torch
from safetensors.torch import load_file

from reslab.cli.main import main
from reslab.models import create_model
from reslab.models.weights import PaddingWarning, load_weights


@pytest.fixture
def weights(tmp_path):
    model = create_model("resnet20")
    path = tmp_path / "net.pth"
    state = {f"module.{key}".replace("fc.", "linear."): value for key, value in model.state_dict().items()}
    torch.save({"state_dict": state}, path)
    return model, path


def test_a_file_is_rewritten_with_torchvisions_names(weights, tmp_path, capsys):
    model, path = weights
    assert main(["convert", str(path), "--model", "resnet20"]) == 0
    out = tmp_path / "net-torchvision.safetensors"
    assert "116 tensors loaded from kuangliu's names" in capsys.readouterr().out
    written = load_file(out)
    assert set(written) == set(model.state_dict())
    assert all(torch.equal(written[key], value) for key, value in model.state_dict().items())


def test_json_and_another_layout(weights, tmp_path, capsys):
    model, path = weights
    out = tmp_path / "other.pth"
    assert main(["convert", str(path), "--model", "resnet20", "--to", "akamaster", "--out", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["from"], result["to"], result["matched"]) == ("kuangliu", "akamaster", 116)
    again = create_model("resnet20")
    with pytest.warns(PaddingWarning, match="pad the shortcuts' channels on both sides"):
        load_weights(again, out)
    assert torch.equal(again.fc.weight, model.fc.weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "resnet32"], "does not fit the model"),
        (["--model", "resnet21"], "no model named"),
        (["--model", "resnet20", "--to", "timm-vgg"], "is for vgg networks"),
        (["--model", "preact_resnet18[stem=cifar]", "--to", "timm"], "use --to timm-preact"),
        (["--model", "resnet20", "--out", "weights.bin"], "must end in one of"),
        (["--model", "resnet20", "--layout", "kellerjordan", "--shortcut", "B"], "does not fit the model"),
        (["--model", "resnet20[num_classes=7]"], "of another shape"),
    ],
)
def test_mistakes_get_a_sentence_and_write_nothing(weights, tmp_path, capsys, arguments, message):
    _, path = weights
    before = sorted(tmp_path.iterdir())
    assert main(["convert", str(path), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_the_file_that_is_read_is_not_overwritten(weights, capsys):
    _, path = weights
    before = path.read_bytes()
    assert main(["convert", str(path), "--model", "resnet20", "--out", str(path)]) == 2
    assert "choose another name" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert main(["convert", str(path.with_name("none.pth")), "--model", "resnet20"]) == 2
    assert "no weight file" in capsys.readouterr().err


def test_a_run_a_file_beside_its_card_and_a_model_with_weights_are_networks_here_too(finished, tmp_path, capsys):
    spelled, names = "resnet8[in_channels=1]", set(load_file(finished / "weights.safetensors"))
    assert main(["convert", str(finished), "--to", "timm"]) == 0
    assert f"44 tensors with timm's names, for {spelled}." in capsys.readouterr().out
    first = (finished / "weights-timm.safetensors").read_bytes()
    out = tmp_path / "beside.safetensors"
    assert main(["convert", str(finished / "weights.safetensors"), "--to", "timm", "--out", str(out)]) == 0
    assert out.read_bytes() == first
    there = tmp_path / "akamaster.pth"
    assert main(["convert", str(finished), "--to", "akamaster", "--out", str(there)]) == 0
    capsys.readouterr()
    assert main(["convert", f"{spelled}={there}", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["from"], report["file"]) == ("kuangliu", str(tmp_path / "akamaster-torchvision.safetensors"))
    assert set(load_file(report["file"])) == names


def test_a_file_alone_wants_a_model_and_a_run_none(weights, finished, capsys):
    assert main(["convert", str(weights[1])]) == 2
    assert "Give --model, as in --model resnet20" in capsys.readouterr().err
    assert main(["convert", str(finished), "--model", "resnet8"]) == 2
    assert "says itself which network it is for; leave --model out" in capsys.readouterr().err
    assert main(["convert", "resnet8"]) == 2
    assert "which network is resnet8 for?" in capsys.readouterr().err
