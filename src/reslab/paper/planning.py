"""From an experiment and what a user chose to a plan."""

import re
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from reslab.data import AnyData, PhotoData, absolute_spec, load_data
from reslab.errors import ReslabError
from reslab.files.hashing import file_digest, hash_json
from reslab.models import parse_model, spell
from reslab.models.weights import WEIGHTS_NAME
from reslab.paper.catalogue import Arm, Ensemble, Experiment, Measure
from reslab.paper.choices import Choices, arm_recipe, full_iterations
from reslab.paper.jobs import Job, Subject, existing_runs
from reslab.paper.measures import PROTOCOL
from reslab.paper.plan import Plan
from reslab.trained import Reference
from reslab.training.inputs import load_inputs

__all__ = ["Planner"]


class Planner:
    """Makes an experiment's plan, for any number of iterations.

    Args:
        experiment: with the arms that were chosen.
        choices: of the user.
        folder: of the plan and the results.
        store: of the runs and measures.
        data_dir: where named data sets are looked for first.
        progress: whether reading the data shows a progress bar.

    Raises:
        ReslabError: the data are not there, or do not go with the experiment.
    """

    def __init__(
        self,
        experiment: Experiment,
        choices: Choices,
        *,
        folder: Path,
        store: Path,
        data_dir: Path | None = None,
        progress: bool = False,
    ) -> None:
        if choices.nets:
            experiment = _looking_at(experiment, choices.nets)
        if experiment.trains and choices.recipe is not None:
            full_iterations(experiment, choices, photos=False)  # which refuses a recipe that counts in epochs
        self.experiment, self.choices = experiment, choices
        self.folder, self.store, self.data_dir = folder, store, data_dir
        self.data = self._load(progress) if self._needs_data else None
        self.existing = existing_runs(store) if experiment.trains else {}

    @property
    def _needs_data(self) -> bool:
        """Nets whose weights alone are looked at need none."""
        return self.experiment.needs_images and bool(self.choices.data)

    def _load(self, progress: bool) -> AnyData:
        """The data as a training sees them, test images too."""
        spec = absolute_spec(self.choices.data)
        if not self.experiment.trains:
            return self._checked(load_data(spec, data_dir=self.data_dir, progress=progress))
        first = load_data(spec, data_dir=self.data_dir, roles=["train", "val", "test"], progress=progress)
        recipe = arm_recipe(self.experiment, self.experiment.arms[0], self.choices, first, 1_000)
        data, _ = load_inputs(self._checked(first), recipe.data, self.data_dir, progress, test_curve=True)
        for role in ("train", "test"):
            data.split(role)  # which says if there is none
        return data

    @staticmethod
    def _checked(data: AnyData) -> AnyData:
        data.need_one_label("the paper's experiments are")
        return data

    @property
    def photos(self) -> bool:
        """Whether the data are photos."""
        return isinstance(self.data, PhotoData)

    def full_iterations(self) -> int:
        """The length of a training where no budget decides it; 0 where nothing is trained."""
        return full_iterations(self.experiment, self.choices, self.photos) if self.experiment.trains else 0

    def with_choices(self, **changes: Any) -> "Planner":
        """Of the same experiment, with other fields of `Choices`."""
        other = copy(self)
        other.choices = replace(self.choices, **changes)
        return other

    @property
    def has_protocols(self) -> bool:
        """Whether networks are tested by many views of each image."""
        return any(measure.name == PROTOCOL for measure in self.experiment.measures)

    def plan(self, iterations: int, budget: float | None = None) -> Plan:
        """The plan, with trainings so long; deep networks first, so that none of them is left to run alone at the end.

        Raises:
            ReslabError: an arm's network or recipe does not go with the data.
        """
        jobs = [self._job(arm, seed, iterations) for arm in self.experiment.arms for seed in range(self._seeds(arm))]
        jobs.sort(
            key=lambda job: (job.subject.seed, -self.experiment.arm(job.arm).depth * max(1, job.subject.iterations))
        )
        _check_different(jobs)
        return Plan(
            folder=self.folder,
            store=self.store,
            experiment=self.experiment.name,
            choices=self.choices,
            data=self.data.describe() if self.data else {},
            iterations=iterations if self.experiment.trains else 0,
            jobs=jobs,
            budget=budget,
        )

    def _seeds(self, arm: Arm) -> int:
        if self.experiment.how == "computed" or self.choices.nets:
            return 1
        return arm.seeds or self.choices.seeds or self.experiment.seeds

    def _job(self, arm: Arm, seed: int, iterations: int) -> Job:
        measures = tuple(
            self._limited(measure)
            for measure in self.experiment.measures
            if not measure.arms or arm.name in measure.arms
        )
        subject = self._subject(arm, seed, iterations)
        folder = ""
        if subject.recipe is not None:
            known = self.existing.get(subject.key)
            folder = (
                str(known.relative_to(self.store))
                if known
                else f"{_words(arm.name)}-{self._data_name}-{subject.iterations}-seed{seed}-{subject.key[:8]}"
            )
        return Job(arm=arm.name, subject=subject, measures=measures, folder=folder, options=arm.options)

    def _limited(self, measure: Measure) -> Measure:
        """A protocol on fewer images, where a budget has no time for all."""
        limit = self.choices.protocol_images
        if measure.name != PROTOCOL or limit is None:
            return measure
        return replace(measure, options={**measure.options, "images": limit})

    @property
    def _some_without_card(self) -> bool:
        """Whether some of the networks that are looked at do not say how they see images."""
        return any(Reference.parse(net).folder is None for net in self.choices.nets)

    @property
    def _data_name(self) -> str:
        assert self.data is not None
        return _words(self.data.name)

    def _subject(self, arm: Arm, seed: int, iterations: int) -> Subject:
        common: dict[str, Any] = {"seed": seed}
        if self.data is not None:
            common |= {
                "data": absolute_spec(self.choices.data),
                "data_dir": str(self.data_dir) if self.data_dir else None,
                "kind": "photos" if self.photos else "small",
                "splits": {role: split["sha256"] for role, split in self.data.describe()["splits"].items()},
            }
        if not arm.net:
            return Subject(**common)
        if self.choices.nets:
            reference = Reference.parse(arm.net)
            mean, std = self.choices.mean, self.choices.std
            if reference.folder is not None and self._some_without_card:
                mean = std = ()  # it says so itself; what was given is of the others
            return Subject(**common, mean=mean, std=std, reference=arm.net, weights=_digest(reference))
        if self.data is None:
            return Subject(**common, net=spell(parse_model(arm.net)))
        defaults = {"num_classes": self.data.num_classes, "in_channels": self.data.image_shape[2]}
        net = spell(parse_model(arm.net, defaults=defaults))
        if not self.experiment.trains:
            return Subject(**common, net=net)
        recipe = arm_recipe(self.experiment, arm, self.choices, self.data, iterations)
        return Subject(**common, net=net, recipe=recipe.to_dict())


def _looking_at(experiment: Experiment, nets: Sequence[str]) -> Experiment:
    """The experiment with trained networks as its arms, and none of the claims that are about its own."""
    if not any(measure.name in _OF_TRAINED for measure in experiment.measures):
        raise ReslabError(
            f"{experiment.name} is about networks of its own; --nets is for {', '.join(sorted(_FOR_NETS))}."
        )
    measures = tuple(measure for measure in experiment.measures if measure.name in _OF_TRAINED)
    arms = []
    for net in nets:
        Reference.parse(net)
        arms.append(Arm(net=net, name=_short(net)))
    names = tuple(arm.name for arm in arms)
    if len(set(names)) < len(names):
        raise ReslabError(f"two of the networks in --nets are called alike: {', '.join(names)}; rename their folders.")
    together = (Ensemble(name="all together", arms=names),) if experiment.ensembles and len(names) > 1 else ()
    return replace(experiment, arms=tuple(arms), claims=(), measures=measures, ensembles=together, how="evaluated")


_OF_TRAINED = ("responses", "branches", "lesions", PROTOCOL, "predictions")
_FOR_NETS = ("fig7", "zero", "lesions", "table3", "table4", "table5")


def _digest(reference: Reference) -> str:
    """Sha256 of a trained network's weights; of released ones, which have a name, of that."""
    for path in (reference.folder / WEIGHTS_NAME if reference.folder else None, Path(reference.weights or "")):
        if path is not None and path.is_file():
            return file_digest(path)
    return hash_json(reference.name)


def _short(net: str) -> str:
    """A network's name, with its weights' file by its own name."""
    name, equals, weights = net.rpartition("=")
    if equals and "]" not in weights:
        return f"{name} ({Path(weights).name})"
    return Path(net).name if Path(net).is_dir() else net


def _check_different(jobs: Sequence[Job]) -> None:
    """Refuses two arms that are the same training, as with a stride that a network does not have."""
    seen: dict[str, Job] = {}
    for job in jobs:
        if job.subject.recipe is None:
            continue
        other = seen.setdefault(job.subject.key, job)
        if other is not job:
            raise ReslabError(
                f"{job.arm} and {other.arm} are the same network and recipe: there is nothing to compare."
            )


def _words(name: str) -> str:
    return re.sub(r"[^\w.=]+", "-", name).strip("-")
