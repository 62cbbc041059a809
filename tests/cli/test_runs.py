"""`reslab runs`: what there is, whatever is wrong with some of it."""

import json
import shutil

import pytest

from reslab.cli.main import main


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
    assert [row["run"] for row in rows] == [str(tmp_path / "run0"), str(tmp_path / "run2")]
    assert error.startswith("reslab: ")
    assert (error.count("\n"), name in error) == (1, True)
    assert main(["runs", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("resnet8[in_channels=1]") == 2
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
    assert (captured.out, "run.json" in captured.err) == ("", True)
