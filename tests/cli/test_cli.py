"""The command line as a process, and as a function where only its words matter."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from reslab.cli.main import COMMANDS, main


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "reslab", *arguments], capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("arguments", [["--help"], ["models"], ["paper", "list"], ["runs", "."], ["train", "--help"]])
def test_what_only_lists_imports_neither_torch_nor_scikit_learn(arguments):
    code = (
        "import sys; from reslab.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(repr([name for name in ('torch', 'sklearn', 'matplotlib') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.endswith("[]")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_teaches(name, capsys):
    with contextlib.suppress(SystemExit):
        assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) > 3
    assert name in main_help(capsys)


def main_help(capsys) -> str:
    assert main([]) == 0
    return capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"reslab \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_models_are_listed_as_a_table_and_as_json(capsys):
    assert main(["models", "plain*"]) == 0
    table = capsys.readouterr().out
    assert "plain110" in table
    assert "resnet56 " not in table
    assert main(["models", "resnet20", "--json"]) == 0
    (model,) = json.loads(capsys.readouterr().out)
    assert (model["name"], model["blocks"], model["shortcut"]) == ("resnet20", [3, 3, 3], "A")


def test_summary_shows_the_papers_counts(capsys):
    assert main(["summary", "resnet20", "--batch-size", "2"]) == 0
    text = capsys.readouterr().out
    assert "269,722" in text
    assert "2 x 64 x 8 x 8" in text
    assert main(["summary", "resnet34[shortcut=C]", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["parameters"], round(summary["macs"] / 1e9, 3)) == (22_716_840, 3.831)


def test_summary_folds_what_lies_deeper_into_its_parent(capsys):
    assert main(["summary", "resnet20", "--depth", "1"]) == 0
    stages = capsys.readouterr().out.partition("\nparameters")[0].splitlines()[4:]
    counts = [int(row.split("  ")[0].replace(",", "")) for line in stages if (row := line[51:61].strip())]
    assert sum(counts) == 269_722


def test_env_names_versions_and_processor(capsys):
    assert main(["env", "--json"]) == 0
    environment = json.loads(capsys.readouterr().out)
    assert environment["packages"]["torch"]
    assert environment["processor"]
    assert environment["kernels"].startswith(("reslab's, compiled by ", "torch's, without"))


WRONG = [
    (["modles"], "did you mean models"),
    (["models", "zzz*"], "no model's name matches"),
    (["summary", "resnet21"], "did you mean"),
    (["summary", "resnet20", "--input-size", "0"], "--input-size must be a whole number from 1 to 16,384, not 0"),
    (["summary", "resnet20[shortcut=C]", "--shortcut", "B"], "given twice"),
    (["train"], "which network"),
    (["train", "resnet20", "--data", "nowhere"], "no data at 'nowhere'"),
    (["train", "resnet20", "--recipe", "cifar"], "no recipe named 'cifar'"),
    (["train", "resnet20", "--recipe", "absent.toml"], "cannot read the recipe absent.toml"),
    (["train", "resnet20", "--stop-after", "soon"], "cannot read the stop"),
    (["train", "resnet20", "--iterations", "0"], "--iterations must be a whole number of at least 1, not 0"),
    (["train", "resnet20", "--data.batch-size", "many"], "--data.batch-size must be a whole number from 2 to"),
    (["train", "resnet20", "--optimizer.learning-rate", "-1"], "--optimizer.learning-rate must be a number above 0"),
    (["train", "resnet20", "--train-size", "64"], "--data.images.train-size is for --data.images = photos"),
    (["train", "resnet20", "--data.pad", "2"], "has no --data.pad; it is called --data.images.pad"),
    (["train", "resnet20", "--lr", "0.1"], "has no --lr; it is called --optimizer.learning-rate"),
    (["train", "resnet20", "--momentum=0.1"], "has no --momentum; it is called --optimizer.momentum"),
    (["train", "resnet20", "--optimizer.kind"], "--optimizer.kind needs a value behind it"),
    (["train", "resnet20", "--recipe", "cifar-paper"], "made for 50,000 images, each of which it sees 164 times"),
    (["paper", "run", "fig1", "--recipe", "imagenet-90"], "give --iterations"),
    (["eval", "nothing"], "not the folder of a run"),
    (["eval", "resnet20", "--weights", "absent.pth", "--data", "digits"], "give --mean"),
    (["eval", "resnet20", "--weights", "absent.pth"], "Give --data"),
    (["eval", "resnet20", "--weights", "absent.pth", "--data", "digits", "--mean", "0.5"], "no weight file absent.pth"),
    (
        ["eval", "resnet20", "--weights", "a.pth", "--data", "digits", "--mean", "grey"],
        "--mean must be numbers, joined by commas, not grey",
    ),
    (["runs", "absent"], "there is no folder absent"),
    (["paper", "lst"], "no command `reslab paper lst`"),
    (["paper", "run", "tabel1"], "did you mean table1"),
    (["paper", "run", "fig1", "--seeds", "0"], "--seeds must be a whole number of at least 1, not 0"),
    (["paper", "run", "fig1", "--iterations", "3"], "at least 20"),
    (["paper", "report", "absent"], "no absent/results.json"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_a_mistake_gives_one_sentence_and_code_2(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("reslab: ")
    assert message in captured.err
    assert list(tmp_path.rglob("run.json")) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["summary", "resnet20", "--shortcut", "Z"],
        ["train", "resnet20", "--no-such-flag"],
        ["train", "resnet20", "--iterations", "many"],
        ["eval"],
    ],
)
def test_a_mistaken_argument_gives_a_message_and_code_2(arguments, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert captured.err.startswith("reslab: ")


def test_a_mistake_in_a_process_gives_no_traceback():
    done = run("train", "resnet20", "--data", "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_output_that_nobody_reads_is_no_error():
    command = f"{sys.executable} -m reslab models --json | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_a_training_learns_and_says_what_it_did(trained):
    result = json.loads((trained / "out").read_text())
    assert result["val_error"] < 60
    assert "Schedule rescaled to 60 iterations; the rate drops at: 42, 54." in (trained / "err").read_text()


def test_a_run_is_evaluated_by_its_folder_alone(finished, capsys):
    assert main(["eval", str(finished), "--split", "val", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    recorded = json.loads((finished / "result.json").read_text())
    assert found["top1_error"] == recorded["val_error"]
    assert (found["num_images"], found["protocol"], found["split"]) == (180, "one-crop", "val")
    with Image.open(finished / "confusion-val.png") as picture:
        assert min(picture.size) > 300


def test_a_run_is_listed(finished, capsys):
    assert main(["runs", str(finished.parent), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["model"], row["iteration"], row["finished"]) == ("resnet8[in_channels=1]", 60, True)
    assert main(["runs", str(finished.parent)]) == 0
    assert "resnet8[in_channels=1]" in capsys.readouterr().out


def test_a_run_on_other_images_is_refused(finished, capsys, tmp_path):
    for label in range(10):
        (tmp_path / f"class {label}").mkdir()
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / f"class {label}" / "0.png")
    assert main(["eval", str(finished), "--data", str(tmp_path), "--split", "train"]) == 2
    assert f"has the class 'class 0' where {finished} was trained with '0'" in capsys.readouterr().err


def test_a_damaged_run_gets_a_sentence(finished, capsys, tmp_path):
    for name, content in (("card.json", b"{"), ("weights.safetensors", b"x"), ("run.json", b"{")):
        copy = tmp_path / name
        shutil.copytree(finished, copy)
        (copy / name).write_bytes(content)
        assert main(["eval", str(copy)]) == 2
        assert name in capsys.readouterr().err


DAMAGED = {
    "card.json": "eval",
    "weights.safetensors": "eval",
    "normalization.safetensors": "eval",
    "run.json": "eval",
    "result.json": "train",
    "metrics.jsonl": "runs",
}


@pytest.mark.parametrize(("name", "command"), DAMAGED.items())
def test_a_flipped_bit_of_a_run_gets_a_sentence(finished, capsys, tmp_path, name, command):
    copy = shutil.copytree(finished, tmp_path / "run")
    content = bytearray((copy / name).read_bytes())
    content[len(content) * 2 // 3] ^= 2
    (copy / name).write_bytes(content)
    arguments = {"eval": ["eval", str(copy)], "runs": ["runs", str(copy)]}
    # Of a folder of runs the others are listed all the same, so that it is no mistake of the command line's.
    code = 1 if command == "runs" else 2
    assert main(arguments.get(command, ["train", "--resume", "--run-dir", str(copy), "--quiet"])) == code
    captured = capsys.readouterr()
    assert ("(damaged)" in captured.out, captured.err.count("\n")) == (command == "runs", 1)
    assert name in captured.err


def test_resuming_with_another_field_is_refused(finished, capsys):
    assert main(["train", "--resume", "--run-dir", str(finished), "--optimizer.momentum", "0.8"]) == 2
    assert "recipe.optimizer.momentum is 0.9 in the run and 0.8 now" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_akamaster_net_errs_on_18_97_percent(shared, tmp_path):
    with tarfile.open(shared / "data" / "cifar10-jpeg.tar.xz") as archive:
        archive.extractall(tmp_path / "cifar10", filter="data")
    done = run(
        "eval", "resnet20", "--shortcut-padding", "split", "--data", str(tmp_path / "cifar10"), "--split", "test",
        "--weights", str(shared / "weights" / "akamaster-resnet20-12fca82f.th"),
        "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225", "--json",
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["top1_error"] == pytest.approx(18.97, abs=0.02)
    assert found["num_images"] == 10_000
