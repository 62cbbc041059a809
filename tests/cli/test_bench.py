"""`reslab bench`: the command with settings as small as they go; speeds themselves are never tested."""

import contextlib
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from reslab.bench.records import SCHEMA_VERSION, read_benchmark
from reslab.bench.tables import make_table
from reslab.cli.main import main

COMMANDS = ("rates", "training", "profile", "inference", "pipeline", "memory")
ONE_THREAD = ["--hardware.threads", "1", "--hardware.compile", "off"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_benchmark_has_help_that_teaches(command, capsys):
    with contextlib.suppress(SystemExit):
        main(["bench", command, "--help"])
    text = capsys.readouterr().out
    assert f"usage: reslab bench {command}" in text
    assert main(["bench", "--help"]) == 0
    assert f"reslab bench {command}" in capsys.readouterr().out


def test_help_imports_no_torch():
    code = (
        "import sys; from reslab.cli.main import main\n"
        f"for command in {COMMANDS!r}:\n"
        "    try:\n        main(['bench', command, '--help'])\n    except SystemExit:\n        pass\n"
        "names = ('torch', 'sklearn', 'matplotlib', 'openvino', 'onnxruntime')\n"
        "sys.stderr.write(repr([name for name in names if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == "[]"


WRONG = [
    (["speed"], "no command `reslab bench speed`"),
    (["rates", "fp16"], "no rate 'fp16'; there are fma"),
    (["rates", "--turns", "0"], "--turns must be a whole number of at least 1"),
    (["rates", "--threads", "0"], "--threads must be a whole number of at least 1"),
    (["training"], "which network"),
    (["training", "resnet21"], "did you mean"),
    (["training", "resnet20", "--peers", "pytorch"], "no peer 'pytorch'; there are eager-nchw"),
    (["training", "resnet20", "--data", "nowhere"], "no data at 'nowhere'"),
    (["training", "resnet20", "--steps", "0"], "--steps must be a whole number of at least 1"),
    (["training", "resnet20", "--batch-size", "1"], "--data.batch-size must be a whole number from 2 to"),
    (["training", "resnet20", "--recipe", "cifar"], "no recipe named 'cifar'"),
    (["training", "resnet20", "--hardware.compile"], "--hardware.compile needs a value behind it"),
    (["training", "resnet20", "--hardware.compyle=off"], "did you mean --hardware.compile"),
    (["training", "resnet20", "--hardware.compile=yes"], "--hardware.compile must be auto, on or off"),
    (["training", "resnet20", "--name.x=1"], "reslab bench training has no --name.x; "),
    (["profile"], "which network"),
    (["profile", "resnet20", "--peers", "compiled"], "a compiled step has no profile"),
    (["profile", "resnet20", "--hardware.compile=on"], "a compiled step has no profile"),
    (["inference"], "which network"),
    (["inference", "resnet21"], "did you mean"),
    (["inference", "resnet20", "--engines", "caffe"], "no engine 'caffe'; there are"),
    (
        ["inference", "resnet20", "--batch-size", "0"],
        "--batch-size must be whole numbers of at least 1, with commas or spaces between them, not 0",
    ),
    (["inference", "resnet20", "absent.onnx"], "either networks' names or files"),
    (["inference", "absent.onnx"], "there is no file absent.onnx"),
    (["pipeline", "absent.pt", "."], "ends in .onnx or .xml"),
    (["memory", "resnet21"], "did you mean"),
    (["memory", "resnet20", "--kept-batch-size", "0"], "--kept-batch-size must be a whole number of at least 1"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_a_mistake_gives_one_sentence_and_code_2(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("reslab: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


@pytest.mark.slow
def test_rates_are_measured_and_recorded(capsys, tmp_path):
    out = tmp_path / "rates.json"
    assert main(["bench", "rates", "fp32", "--turns", "2", "--seconds", "0", "--threads", "1", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "GFLOP/s" in captured.out
    assert "fp32: turn 2 of 2" in captured.err
    record = read_benchmark(out)
    (fp32,) = record["rows"][0]["contenders"]
    assert (len(fp32["turns"]), fp32["details"]["threads"]) == (2, 1)


def test_the_processors_arithmetic_is_measured_in_registers(compiler, capsys):
    assert main(["bench", "rates", "fma", "--turns", "2", "--seconds", "0", "--threads", "1", "--json"]) == 0
    (fma,) = json.loads(capsys.readouterr().out)["rows"][0]["contenders"]
    assert fma["gflops"] > 1
    assert fma["details"]["measured"].startswith("multiply-adds in registers, ")


def test_where_instructions_are_missing_a_rate_says_so(compiler, capsys, monkeypatch):
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    chosen = ["fma-avx2", "fma-bf16"]
    assert main(["bench", "rates", *chosen, "--turns", "1", "--seconds", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["rows"][0]["contenders"]
    assert [contender["name"] for contender in found if contender["absent"]] == chosen


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_training_is_compared_and_recorded(capsys):
    arguments = [
        "bench",
        "training",
        "resnet8",
        "--data",
        "digits",
        "--batch-size",
        "4",
        "--turns",
        "1",
        "--steps",
        "1",
    ]
    assert main([*arguments, *ONE_THREAD, "--peers", "eager-nchw", "timm", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["benchmark"], record["schema_version"]) == ("training", SCHEMA_VERSION)
    assert record["settings"]["data"] == "digits"
    (row,) = record["rows"]
    ours, eager, timm = row["contenders"]
    assert ours["images_per_second"] > 0
    assert ours["details"]["execution"]["threads"] == 1
    assert eager["details"]["workers"] == 2
    assert timm == {"name": "timm", "absent": "timm has no resnet8"}
    assert row["best_peer"] == "eager-nchw"
    assert list(row["ratios"]) == ["eager-nchw"]
    assert 0 < row["share_of_fewest"] < row["share_of_peak"]
    assert record["environment"]["packages"]["torch"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_steps_are_profiled(capsys):
    arguments = ["bench", "profile", "resnet8", "--data", "digits", "--batch-size", "4", "--turns", "1", "--steps", "1"]
    assert main([*arguments, *ONE_THREAD, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    (row,) = record["rows"]
    for found in row["contenders"]:
        parts = found["details"]["profile"]["parts"]
        assert parts["forward conv"]["gflops"] > 0
        assert parts["backward conv"]["gflops"] > 0
        assert parts["batch"]["milliseconds"] > 0
    assert [row[1] for row in make_table(record).rows] == ["reslab", "eager-nchw"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_is_measured(capsys):
    arguments = ["bench", "memory", "resnet32", "--batch-size", "64", "--turns", "1", *ONE_THREAD, "--json"]
    assert main(arguments) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    kept, checkpointed = row["contenders"]
    assert kept["details"]["peak_bytes"] > checkpointed["details"]["peak_bytes"] > 2**28
    assert kept["details"]["predicted_bytes"] > 2**28
    assert set(row["time_ratios"]) == {"every-block"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_engines_are_compared_with_files_of_ours(capsys):
    pytest.importorskip("openvino")
    arguments = [
        "bench",
        "inference",
        "resnet8",
        "--batch-size",
        "2",
        "--threads",
        "1",
        "--turns",
        "1",
        "--seconds",
        "0",
    ]
    assert main([*arguments, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    found = {contender["name"]: contender for contender in row["contenders"]}
    assert found["timm"]["absent"] == "timm has no resnet8"
    assert found["reslab-openvino"]["ours"]
    assert found["reslab-openvino"]["details"]["input"] == "uint8 (2, 32, 32, 3)"
    assert found["openvino"]["details"]["precision"] == "fp32"
    assert row["best_fp32_peer"] in found
    assert [reference["name"] for reference in row["references"]] == ["fp32", "bf16", "int8"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_files_are_labelled_and_compared(capsys, tmp_path, rng):
    pytest.importorskip("onnxruntime")
    for index in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / f"{index}.jpg")
    network = tmp_path / "network.onnx"
    assert main(["export", "onnx", "resnet8", "--mean", "0.5", "--std", "0.25", "--out", str(network)]) == 0
    capsys.readouterr()
    arguments = [str(network), str(tmp_path), "--threads", "1", "--turns", "1", "--batch-size", "2", "--json"]
    assert main(["bench", "pipeline", *arguments]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["network"], row["precision"], row["num_images"]) == ("network.onnx", "fp32", 3)
    speeds = {contender["name"]: contender["images_per_second"] for contender in row["contenders"]}
    assert list(speeds) == ["reslab", "dataloader", "decoding", "raw"]
    assert row["ratio"]["median"] > 0
    assert 0 < row["limit"] <= min(speeds["decoding"], speeds["raw"])
    assert row["limit_ratio"] == pytest.approx(row["limit"] / speeds["dataloader"], rel=1e-3)
    assert main(["bench", "pipeline", str(network), str(tmp_path / "none")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert main(["bench", "inference", str(network), "--batch-size", "2", "--engines", "onnxruntime", "--threads", "1",
                 "--turns", "1", "--seconds", "0", "--json"]) == 0  # fmt: skip
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["model"] == "resnet8"
    assert [contender["ours"] for contender in row["contenders"]] == [True, True, False]
