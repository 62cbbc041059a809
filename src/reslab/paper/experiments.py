"""The experiments that can be run, as data. Importing this module imports no torch."""

import difflib
from dataclasses import dataclass
from typing import Literal

from reslab.errors import ReslabError

__all__ = ["EXPERIMENTS", "Claim", "Experiment", "find_experiment"]

Measure = Literal["train_error", "test_error"]


@dataclass(frozen=True)
class Claim:
    """Something that the paper says of two networks, in a form that runs can support or contradict.

    Args:
        text: the claim.
        source: where the paper makes it.
        measure: which error it is about.
        higher: the network whose error is higher if the claim holds.
        lower: the other one.
        margin: in points; the claim holds if `higher`'s error exceeds `lower`'s by more than this. Negative for "is no
            worse than": `lower`'s error may then exceed `higher`'s by up to so much.
    """

    text: str
    source: str
    measure: Measure
    higher: str
    lower: str
    margin: float = 0.0


@dataclass(frozen=True)
class Experiment:
    """A figure or table of the paper.

    Args:
        name: by which it is run.
        title: what it shows.
        source: where it stands.
        models: networks that are trained, all under one recipe.
        claims: that it supports.
    """

    name: str
    title: str
    source: str
    models: tuple[str, ...]
    claims: tuple[Claim, ...]


_FIG1 = Experiment(
    name="fig1",
    title="Degradation and its cure",
    source="Fig. 1 and Fig. 6",
    models=("plain20", "plain56", "resnet20", "resnet56"),
    claims=(
        Claim(
            "Degradation: the deeper plain net has the higher training error",
            "Fig. 1 left, Fig. 6 left",
            "train_error",
            higher="plain56",
            lower="plain20",
        ),
        Claim(
            "... and the higher test error",
            "Fig. 1 right, Fig. 6 left",
            "test_error",
            higher="plain56",
            lower="plain20",
        ),
        Claim(
            "Its cure: the deeper residual net trains no worse than the shallower one (by at most 2 points)",
            "Fig. 6 middle",
            "train_error",
            higher="resnet20",
            lower="resnet56",
            margin=-2.0,
        ),
        Claim(
            "At 56 layers the residual net has the lower training error",
            "Fig. 6 left and middle",
            "train_error",
            higher="plain56",
            lower="resnet56",
        ),
        Claim(
            "... and the lower test error", "Fig. 6 left and middle", "test_error", higher="plain56", lower="resnet56"
        ),
        Claim(
            "The deeper residual net has the lower test error",
            "Table 6: 8.75 and 6.97",
            "test_error",
            higher="resnet20",
            lower="resnet56",
        ),
    ),
)

EXPERIMENTS = {experiment.name: experiment for experiment in (_FIG1,)}


def find_experiment(name: str) -> Experiment:
    """An experiment by name.

    Raises:
        ReslabError: there is none; the message suggests near ones.
    """
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]
    near = difflib.get_close_matches(name, EXPERIMENTS, n=1)
    hint = f"did you mean {near[0]}?" if near else "`reslab paper list` lists them."
    raise ReslabError(f"there is no experiment {name!r}; {hint}")
