"""The arithmetic of training, held to losses that were written down."""

import importlib.util
import json
from pathlib import Path

import pytest

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
    monkeypatch.setitem(tool.FIELDS, "optimizer.learning_rate", "0.0251")
    assert tool.difference(kept["losses"], tool.losses()) > tool.TOLERANCE
