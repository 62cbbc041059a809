"""A small experiment with real trainings, which take three seconds each."""

import pytest

from reslab.paper import experiments
from reslab.paper.catalogue import Arm, Column, Experiment
from reslab.paper.claims import Less
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED

TINY = Experiment(
    name="tiny",
    title="Eight layers",
    source="a test",
    group="beyond",
    arms=(Arm(net="plain20[blocks=1-1-1]", name="plain8"), Arm(net="resnet20[blocks=1-1-1]", name="resnet8")),
    measures=TRAINED,
    columns=(
        Column(value="test_error", heading="test error %", paper="test_error", tables=("table6", "fig6")),
        *ERROR_COLUMNS[1:],
    ),
    figures=("errors", "bars"),
    claims=(
        Less(
            text="The residual net trains better",
            source="a test",
            value="train_error",
            higher="plain8",
            lower="resnet8",
        ),
    ),
)


@pytest.fixture
def tiny(monkeypatch):
    """The small experiment, which the catalogue has for the time of a test."""
    monkeypatch.setitem(experiments.EXPERIMENTS, TINY.name, TINY)
    monkeypatch.setitem(experiments.NOTES, TINY.name, "Eight layers.\n\n    reslab paper run tiny\n\nFor tests.")
    return TINY
