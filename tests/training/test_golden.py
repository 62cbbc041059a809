"""The arithmetic of training, held to losses that were written down."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reslab.training.numerics import NUMERICS_VERSION

TOOL = Path(__file__).resolve().parents[2] / "tools" / "golden_losses.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("golden_losses", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_losses_are_those_that_were_written_down(tool):
    kept = json.loads(tool.PATH.read_text())
    assert len(kept["losses"]) == tool.ITERATIONS
    assert kept["reason"]
    assert kept["numerics"] == NUMERICS_VERSION, (
        "renew the losses with the version: python tools/golden_losses.py --renew"
    )
    found = tool.losses()
    same = all(kept[name] == value for name, value in tool.machine().items())
    if same:
        assert found == kept["losses"]
    assert tool.difference(kept["losses"], found) <= tool.TOLERANCE


@pytest.mark.slow
def test_a_rate_that_is_a_little_higher_is_outside_the_tolerance(tool, monkeypatch):
    """Else the tolerance would let a fault pass."""
    kept = json.loads(tool.PATH.read_text())
    monkeypatch.setitem(tool.FIELDS, "optimizer.learning_rate", "0.0032")
    assert tool.difference(kept["losses"], tool.losses()) > tool.TOLERANCE


@pytest.mark.slow
@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX512", reason="this processor has nothing more")
def test_a_processor_with_shorter_vectors_keeps_to_the_tolerance():
    """Here by telling torch and oneDNN to do without what this one has."""
    less = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    code = "import golden_losses, json; print(json.dumps(golden_losses.losses()))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **less}, cwd=TOOL.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    kept = json.loads(Path(TOOL.parents[1], "tests/training/golden/resnet8-digits.json").read_text())["losses"]
    assert found != kept, "nothing was done without"
    assert max(abs(ours - theirs) / abs(theirs) for ours, theirs in zip(found, kept, strict=True)) <= 1e-4
