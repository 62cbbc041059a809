"""`reslab runs`: what there is, whatever is wrong with some of it."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from reslab.analysis.run_tables import Wanted, differences, list_runs, sort_rows
from reslab.cli.main import main
from reslab.errors import DataError
from reslab.runs import Run
from reslab.training import train
from reslab.training.recipes import RECIPES


def listed(capsys, *arguments, code=0):
    assert main(["runs", *map(str, arguments), "--json"]) == code
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "result.json"])
def test_a_damaged_run_does_not_end_the_list(trained, tmp_path, capsys, name):
    for number in range(3):
        shutil.copytree(trained / "run", tmp_path / f"run{number}")
    path = tmp_path / "run1" / name
    path.write_bytes(path.read_bytes()[:-20] + b"?" * 20)
    rows, error = listed(capsys, tmp_path, code=1)
    assert [row["run"] for row in rows] == [str(tmp_path / f"run{number}") for number in range(3)]
    assert [row["error"] is None for row in rows] == [True, False, True]
    assert error == f"reslab: {rows[1]['error']}\n"
    assert (error.count("\n"), name in error) == (1, True)
    assert main(["runs", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("resnet8[in_channels=1]") == 2
    assert captured.out.count("(damaged)") == 1
    assert captured.err == error


def test_where_there_are_none_the_list_is_empty(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert listed(capsys) == ([], "")  # there is no folder runs/ yet
    (tmp_path / "runs").mkdir()
    assert listed(capsys) == ([], "")
    assert main(["runs"]) == 0
    assert capsys.readouterr().out.startswith("There are no runs under runs; `reslab train ")
    assert main(["runs", "absent"]) == 2
    assert capsys.readouterr().err == "reslab: there is no folder absent.\n"


def test_only_damaged_ones_are_not_called_none(trained, tmp_path, capsys):
    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("{")
    assert main(["runs", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert ("(damaged)" in captured.out, "run.json" in captured.err) == (True, True)


@pytest.fixture(scope="module")
def several(trained, tmp_path_factory, quick_curves, request):
    """The run on the digits, two short ones of other settings on random images, and one that is damaged."""
    folder = tmp_path_factory.mktemp("several")
    shutil.copytree(trained / "run", folder / "digits" / "run")
    data = request.getfixturevalue("few_images")
    for seed, rate in ((0, "0.02"), (1, "0.04")):
        train(
            "resnet8[widths=4-4-4]",
            data,
            recipe=dataclasses.replace(RECIPES["digits-quick"], name="quick"),
            iterations=20,
            fields={"data.batch_size": "4", "data.val_images": "0", "optimizer.learning_rate": rate}
            | {"monitoring.log_every": "5", "monitoring.eval_every": "10", "hardware.threads": "1"},
            seed=seed,
            run_dir=folder / f"tiny{seed}",
        )
    shutil.copytree(folder / "tiny0", folder / "damaged")
    (folder / "damaged" / "run.json").write_text("{")
    return folder


@pytest.fixture(scope="module")
def few_images():
    import numpy as np

    from reslab.data import ImageData, Split

    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    split = Split(images, np.arange(24, dtype=np.int64) % 3)
    return ImageData("tiny", ("a", "b", "c"), {"train": split, "val": split})


def names(rows):
    return [row["run"].rpartition("/")[2] for row in rows]


def test_runs_are_filtered_and_sorted(several, capsys):
    every, error = listed(capsys, several, code=1)
    assert names(every) == ["damaged", "run", "tiny0", "tiny1"]
    assert (every[0]["error"] is None, error.count("\n")) == (False, 1)
    for arguments, expected in (
        (["--data", "digits"], ["run"]),
        (["--model", "resnet8"], ["run", "tiny0", "tiny1"]),
        (["--model", "resnet8[[]widths*"], ["tiny0", "tiny1"]),
        (["--recipe", "quick"], ["tiny0", "tiny1"]),
        (["--recipe", "digits-*", "--data", "tiny"], []),
        (["--sort", "seed", "--descending"], ["tiny1", "run", "tiny0"]),
        (["--sort", "iteration"], ["tiny0", "tiny1", "run"]),
    ):
        found, _ = listed(capsys, several, *arguments, code=1)
        assert sorted(names(found)) == sorted([*expected, "damaged"])
        assert [name for name in names(found) if name != "damaged"] == expected or "--sort" not in arguments
    found, _ = listed(capsys, several / "tiny0", several / "digits", several / "tiny0")
    assert names(found) == ["run", "tiny0"]  # each once


def test_only_finished_ones(several, tmp_path, capsys):
    shutil.copytree(several / "tiny0", tmp_path / "stopped")
    (tmp_path / "stopped" / "result.json").unlink()
    assert listed(capsys, tmp_path, "--finished") == ([], "")
    assert main(["runs", str(tmp_path), "--finished"]) == 0
    assert "is as asked for" in capsys.readouterr().out


def test_what_differs_is_said(several, capsys):
    found = {setting.name: setting.values for setting in differences([Run(several / f"tiny{n}") for n in (0, 1)])}
    assert found == {"seed": (0, 1), "recipe.optimizer.learning_rate": (0.02, 0.04)}
    assert main(["runs", str(several / "tiny0"), str(several / "tiny1"), "--compare"]) == 0
    table = capsys.readouterr().out.partition("\n\n")[2]
    assert table.split() == [
        "setting",
        "tiny0",
        "tiny1",
        "seed",
        "0",
        "1",
        *["recipe.optimizer.learning_rate", "0.02", "0.04"],
    ]
    assert main(["runs", str(several), "--compare", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert [row["error"] is None for row in said["runs"]] == [False, True, True, True]
    assert said["differences"]["data"] == ["digits", "tiny", "tiny"]
    assert main(["runs", str(several / "tiny0"), "--compare"]) == 2
    assert "it takes two runs" in capsys.readouterr().err


def test_curves_of_several_runs_are_one_picture(several, tmp_path, capsys):
    svg, png = tmp_path / "curves.svg", tmp_path / "curves.png"
    assert main(["runs", str(several), "--plot", str(svg)]) == 1  # one is damaged, and the others are drawn
    assert capsys.readouterr().out.endswith(f"{svg}\n")
    tree = ElementTree.parse(svg)
    texts = {"".join(element.itertext()).strip() for element in tree.iter() if element.tag.endswith("}text")}
    assert {"digits/run", "tiny0", "tiny1", "training error", "val error", "iteration"} <= texts
    lines = re.findall(r'd="(M [^"]*)"', svg.read_text())
    assert sum(line.count("L ") >= 3 for line in lines) >= 4  # three of training errors, and the digits' of val
    assert main(["runs", str(several / "tiny0"), str(several / "tiny1"), "--plot", str(png)]) == 0
    with Image.open(png) as picture:
        assert min(picture.size) > 400
    capsys.readouterr()
    assert main(["runs", str(several), "--plot", "curves.tiff"]) == 2
    assert "ends in .svg or .png" in capsys.readouterr().err


def test_listing_and_comparing_import_no_torch(several):
    code = (
        "import sys; from reslab.cli.main import main\n"
        f"main(['runs', {str(several)!r}, '--compare', '--sort', 'val_error', '--data', '*'])\n"
        "sys.stderr.write(repr([name for name in ('torch', 'sklearn', 'matplotlib') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.endswith("[]")


def test_the_same_in_python(several):
    rows = list_runs([several], Wanted(data="tiny"))
    assert names(sort_rows(rows, "seed", descending=True)) == ["tiny1", "tiny0", "damaged"]
    with pytest.raises(DataError, match="there is no folder"):
        list_runs([several / "absent"])
