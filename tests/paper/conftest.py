"""A small experiment with real trainings, which take three seconds each, and records of any experiment made up."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reslab.data import ImageData, Split
from reslab.environment import describe_environment
from reslab.paper import experiments
from reslab.paper.catalogue import Arm, Column, Experiment
from reslab.paper.choices import Choices
from reslab.paper.claims import Less
from reslab.paper.collect import collect_record, verdicts_of
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED
from reslab.paper.planning import Planner
from reslab.paper.record import SCHEMA, Record
from reslab.paper.report import write_report
from reslab.paper.work import do_job

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
TINY_ITERATIONS = 30


def register(patch: pytest.MonkeyPatch, experiment: Experiment) -> None:
    """Puts an experiment into the catalogue."""
    patch.setitem(experiments.EXPERIMENTS, experiment.name, experiment)
    patch.setitem(
        experiments.NOTES,
        experiment.name,
        f"{experiment.title}.\n\n    reslab paper run {experiment.name}\n\nMade up.",
    )


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """The small experiment, which the catalogue has for the time of a test."""
    register(monkeypatch, TINY)
    return TINY


@pytest.fixture(scope="module")
def tiny_in_catalogue() -> Iterator[None]:
    """The same for all tests of a file, and its fixtures."""
    with pytest.MonkeyPatch.context() as patch:
        register(patch, TINY)
        yield


@pytest.fixture(scope="session")
def tiny_folder(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The small experiment, finished, with its runs inside; tests read it and do not write there."""

    def fill(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            register(patch, TINY)
            patch.setattr(
                "reslab.training.finish.plot_curves", lambda rows, title, path, words: path.write_bytes(b"curves")
            )
            planner = Planner(TINY, Choices(iterations=TINY_ITERATIONS), folder=folder, store=folder / "runs")
            plan = planner.plan(TINY_ITERATIONS)
            plan.write()
            assert all(do_job(plan, job) for job in plan.jobs)
            collect_record(TINY, plan).write(folder)
            write_report(folder)

    return made_once("tiny-experiment", fill)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[Experiment], Experiment]:
    """Puts another experiment into the catalogue for the time of a test."""

    def add(experiment: Experiment) -> Experiment:
        register(monkeypatch, experiment)
        return experiment

    return add


@pytest.fixture(scope="session")
def small_color_images() -> ImageData:
    """A data set of ten classes and few images of CIFAR-10's shape."""
    generator = np.random.default_rng(7)

    def split(count: int) -> Split:
        images = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        return Split(images, np.arange(count, dtype=np.int64) % 10)

    names = tuple(f"class{number}" for number in range(10))
    return ImageData("colors", names, {"train": split(300), "test": split(20)})


Values = Mapping[str, Mapping[str, Sequence[float | None]]]


@pytest.fixture(scope="session")
def record_of() -> Callable[..., Record]:
    """Makes a record of values as if they had been measured."""

    def make(
        experiment: Experiment,
        values: Values,
        *,
        counts: Mapping[str, int] | None = None,
        series: Sequence[Mapping[str, Any]] = (),
        **content: Any,
    ) -> Record:
        """
        Args:
            experiment: that it is a record of; it must be in the catalogue.
            values: of each arm each value's numbers, seed by seed.
            counts: of images, of those values that are error rates.
            series: of measures.
            content: of the record that is to be otherwise.
        """
        rows = []
        for arm, own in values.items():
            for seed in range(max((len(numbers) for numbers in own.values()), default=0)):
                found = {name: numbers[seed] for name, numbers in own.items() if seed < len(numbers)}
                own_counts = {name: count for name, count in (counts or {}).items() if name in found}
                described = {"arm": arm, "seed": seed, "iterations": 100, "net": arm, "run": ""}
                rows.append({**described, "values": found, "counts": own_counts})
        record = Record(
            {
                "schema_version": SCHEMA,
                "experiment": experiment.name,
                "title": experiment.title,
                "source": experiment.source,
                "choices": {},
                "budget": None,
                "data": {},
                "iterations": 100,
                "arms": [{**arm.to_dict(), "recipe": {}} for arm in experiment.arms],
                "exact": experiment.how == "computed",
                "environment": describe_environment(),
                "reduced": "digits instead of CIFAR-10",
                "deviations": [],
                "hours": 0.0,
                "rows": rows,
                "series": list(series),
                "verdicts": [],
                **content,
            }
        )
        return Record({**record.content, "verdicts": verdicts_of(experiment.claims, record)})

    return make
