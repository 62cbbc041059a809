"""What an experiment is, as data. Importing this module imports no torch.

An experiment trains or computes its arms, takes its measures of each, and judges its claims by what was measured. The
experiments themselves are lab notes in `reslab.paper.experiments`, one a module.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from reslab.errors import ReslabError
from reslab.paper.claims import Claim

__all__ = ["CIFAR", "IMAGENET", "Arm", "Column", "Ensemble", "Experiment", "Group", "Measure", "Setting", "chosen_arms"]

Group = Literal["figure", "table", "text", "beyond"]
How = Literal["trained", "measured", "computed", "evaluated", "quoted"]
"""Nets are trained here; measured with fresh weights; described exactly; trained elsewhere; or none is here."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The setting in which the paper has an experiment.

    Args:
        data: name of its data set.
        recipe: name of its recipe, which `reslab recipes` shows.
        iterations: of a training.
        batch_size: images an iteration.
        images: for training.
        image: the images' size, in words.
        gpu: what it takes on a GPU, quoted with its source.
    """

    data: str
    recipe: str
    iterations: int
    batch_size: int
    images: int
    image: str
    gpu: str = ""


CIFAR = Setting(
    data="cifar10",
    recipe="cifar-paper",
    iterations=64_000,
    batch_size=128,
    images=50_000,
    image="32x32x3",
    gpu="ResNet-20: 25 minutes on the GPU of an M3 laptop (nabla0001/resnet)",
)
IMAGENET = Setting(
    data="imagenet",
    recipe="imagenet-paper",
    iterations=600_000,
    batch_size=256,
    images=1_281_167,
    image="photos, crops of 224x224x3",
)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One of the things that an experiment compares: a network and how it is trained.

    Args:
        name: by which claims and tables know it; by default the network's spelling.
        net: the network's spelling.
        fields: of the recipe that differ from the experiment's, as texts by name.
        digits: such fields for the digits' short recipe, where they are others.
        length: of its training, as a multiple of the experiment's.
        seeds: number of trainings, where it is not the experiment's.
        options: of its own for the measures, by name.
        quoted: the network's spelling in tables of the paper and of others, where it is not `net`.
    """

    net: str = ""
    name: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    digits: Mapping[str, str] = field(default_factory=dict)
    length: float = 1.0
    seeds: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    quoted: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.net)

    @property
    def depth(self) -> int:
        """Number of layers, from the network's name."""
        found = re.search(r"\d+", self.net)
        return int(found[0]) if found else 0

    def to_dict(self) -> dict[str, Any]:
        """As it stands in records."""
        own = {"fields": dict(self.fields), "digits": dict(self.digits)}
        plain = {"name": self.name, "net": self.net, **own, "length": self.length}
        return {**plain, "options": dict(self.options), "quoted": self.quoted or self.net}


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Several arms as one, by the mean of their probabilities (Sec. 4.1, Table 5); seed by seed.

    Args:
        name: by which claims and tables know it.
        arms: names of its members.
    """

    name: str
    arms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Something that is measured of every arm and seed.

    Args:
        name: of the measure, in `reslab.paper.measures`.
        options: that it takes, by name.
        arms: names of those it is taken of; all by default.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    arms: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a plan."""
        return {"name": self.name, "options": dict(self.options)}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of an experiment's table.

    Args:
        value: name of the measured value.
        heading: above it.
        digits: after the point.
        paper: name of the value's column in tables of the paper; empty where it has none.
        tables: names of those tables, in `reslab.paper.reference`.
        others: name of the column that others' published values of the same networks are in; empty for none.
        best: whether it is the lowest over seeds, as the paper has of ResNet-110, and not their mean.
    """

    value: str
    heading: str
    digits: int = 2
    paper: str = ""
    tables: tuple[str, ...] = ()
    others: str = ""
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A figure or table of the paper, a claim of its text, or a question beyond it.

    Args:
        name: by which it is run.
        title: what it shows, in a line.
        source: where it stands in the paper, or whose question it is.
        group: figure, table, text or beyond.
        how: where what is shown comes from.
        arms: that are compared, all under one recipe but for their own fields.
        measures: that are taken of them.
        claims: that are judged.
        columns: of the table.
        ensembles: of arms, tested together.
        figures: names of drawings, in `reslab.paper.figures`.
        setting: the paper's.
        quoted: names of tables in `reslab.paper.reference` that are shown beside ours.
        seeds: number of trainings of an arm by default.
        iterations: for the digits, where the recipe's own length is not enough or too much.
        recipe: for the digits.
        note: what a reader has to know of it; a paragraph.
        keep_checkpoints: number of states along the training that its measures look at.
    """

    name: str
    title: str
    source: str
    group: Group
    how: How = "trained"
    arms: tuple[Arm, ...] = ()
    measures: tuple[Measure, ...] = ()
    claims: tuple[Claim, ...] = ()
    columns: tuple[Column, ...] = ()
    ensembles: tuple[Ensemble, ...] = ()
    figures: tuple[str, ...] = ()
    setting: Setting = CIFAR
    quoted: tuple[str, ...] = ()
    seeds: int = 1
    iterations: int | None = None
    recipe: str = "digits-quick"
    note: str = ""
    keep_checkpoints: int = 0

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms] + [ensemble.name for ensemble in self.ensembles]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name} has two arms of one name.")
        for claim in self.claims:
            if missing := [name for name in claim.arms if name not in names]:
                raise ValueError(f"{self.name}: the claim {claim.text!r} is about {missing[0]}, which is no arm.")

    @cached_property
    def trains(self) -> bool:
        """Whether its arms are trained."""
        return self.how == "trained"

    @property
    def needs_images(self) -> bool:
        """Whether its networks see images."""
        return self.how not in ("computed", "quoted") and any(arm.net for arm in self.arms)

    def arm(self, name: str) -> Arm:
        """An arm by name."""
        return next(arm for arm in self.arms if arm.name == name)


def chosen_arms(experiment: Experiment, depths: Sequence[int] = ()) -> Experiment:
    """The experiment with the arms of some depths alone, and the claims that are about them.

    Raises:
        ReslabError: no arm has such a depth.
    """
    if not depths:
        return experiment
    have = sorted({arm.depth for arm in experiment.arms})
    if missing := [depth for depth in depths if depth not in have]:
        raise ReslabError(
            f"{experiment.name} has no network of {missing[0]} layers; its depths are {', '.join(map(str, have))}."
        )
    arms = tuple(arm for arm in experiment.arms if arm.depth in depths)
    names = {arm.name for arm in arms}
    ensembles = tuple(item for item in experiment.ensembles if set(item.arms) <= names)
    names |= {ensemble.name for ensemble in ensembles}
    claims = tuple(claim for claim in experiment.claims if set(claim.arms) <= names)
    return replace(experiment, arms=arms, claims=claims, ensembles=ensembles)
