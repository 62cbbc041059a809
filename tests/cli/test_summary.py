"""`reslab summary`, beyond the table: several networks, pictures, and memory to train in."""

import json
import platform

import pytest

from reslab.analysis.training_memory import IMPORT_BYTES, estimate_training_memory
from reslab.cli.main import main
from reslab.models import parse_model


def test_the_totals_are_torchinfos(capsys):
    assert main(["summary", "resnet18", "--batch-size", "128", "--input-size", "224"]) == 0
    parameters, macs, memory = capsys.readouterr().out.rstrip().splitlines()[-3:]
    assert parameters.split() == ["parameters", "11,689,512"]
    assert "232.20 G" in macs
    for figure in ("input 77.07 MB", "backward 5087.67 MB", "parameters 46.76 MB", "5211.49 MB in all"):
        assert figure in memory


def test_several_networks_follow_each_other(capsys):
    assert main(["summary", "resnet8", "plain8", "--depth", "1"]) == 0
    titles = [line for line in capsys.readouterr().out.splitlines() if line.rstrip().endswith("8 layers")]
    assert [title.strip() for title in titles] == ["resnet8, 8 layers", "plain8, 8 layers"]
    assert main(["summary", "resnet8", "plain8", "--json"]) == 0
    assert [row["model"] for row in json.loads(capsys.readouterr().out)] == ["resnet8", "plain8"]


@pytest.mark.parametrize(
    ("spelling", "side"), [("resnet8", 32), ("resnet18[stem=deep]", 224), ("vgg16", 224), ("resnet18", 224)]
)
def test_the_usual_size_is_the_stems(spelling, side, capsys):
    assert main(["summary", spelling, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input_shape"] == [1, 3, side, side]


def test_a_picture_takes_the_tables_place(capsys, tmp_path):
    path = tmp_path / "nets.svg"
    assert main(["summary", "resnet8", "plain8", "--num-classes", "7", "--graph", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    content = path.read_text()
    assert "resnet8 [num_classes=7]" in content
    assert "fc 7" in content


def test_the_largest_batch_that_memory_allows(capsys):
    assert main(["summary", "resnet20", "--memory", "8GiB", "--json"]) == 0
    training = json.loads(capsys.readouterr().out)["training"]
    spec, batch = parse_model("resnet20"), training["largest_batch"]
    assert training["memory_bytes"] == 8 * 1024**3
    assert training["peak_bytes"] == IMPORT_BYTES + estimate_training_memory(spec, (32, 32), batch)
    assert training["peak_bytes"] <= 8 * 1024**3
    assert IMPORT_BYTES + estimate_training_memory(spec, (32, 32), batch + 1) > 8 * 1024**3
    assert 0.5 * batch < training["largest_batch_with_gaps"] < 0.6 * batch


def test_bfloat16_fits_nearly_twice_the_images(capsys):
    batches = {}
    for precision in ("fp32", "bf16"):
        assert main(["summary", "resnet50", "--memory", "16GiB", "--precision", precision, "--json"]) == 0
        batches[precision] = json.loads(capsys.readouterr().out)["training"]["largest_batch"]
    assert 1.7 < batches["bf16"] / batches["fp32"] < 2


@pytest.mark.parametrize(
    ("libc", "warns"),
    [(("glibc", "2.36"), True), (("glibc", "2.38"), False), (("glibc", "2.41.1"), False), (("", ""), False)],
)
def test_the_allocators_gaps_are_told_where_there_are_some(libc, warns, capsys, monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    assert main(["summary", "resnet20", "--memory", "2G"]) == 0
    last = capsys.readouterr().out.splitlines()[-2:]
    assert any(line.startswith("training       resnet20: batches of up to ") for line in last)
    assert ("leaves gaps between tensors" in last[-1]) == warns


WRONG = [
    ([], "which network?"),
    (["resnet20", "resnet21"], "did you mean"),
    (["resnet20", "--graph", "net.gif"], "must end in .svg, .png or .pdf, not net.gif"),
    (["resnet20", "--graph", "file/net.svg"], "file"),
    (["resnet20", "--memory", "8"], "write it with its unit"),
    (["resnet50", "--memory", "800MB"], "takes 1.02 GiB with one image a step, more than 0.75 GiB"),
    (["vgg16", "--input-size", "8", "--graph", "net.svg"], "too small"),
    (["vgg16", "--input-size", "8", "--memory", "8GB"], "too small"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_a_mistake_gives_a_sentence(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["summary", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("reslab: ")
    assert message in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
