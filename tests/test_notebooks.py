"""The notebooks run from top to bottom, and say what they are meant to."""

import json
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.py"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(source, tmp_path):
    notebook = tmp_path / f"{source.stem}.ipynb"
    jupytext.write(jupytext.read(source), notebook)
    command = [sys.executable, "-m", "pytest", "--nbmake", "--overwrite", "-p", "no:cacheprovider", "-q", str(notebook)]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    cells = json.loads(notebook.read_text())["cells"]
    said = "".join(
        part.get("text", "") if isinstance(part.get("text"), str) else "".join(part.get("text", []))
        for cell in cells
        for part in cell.get("outputs", [])
    )
    assert "% error on the test images" in said
    assert "digits.onnx" in said


def test_there_is_a_notebook():
    assert NOTEBOOKS
