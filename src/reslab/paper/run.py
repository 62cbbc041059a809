"""An experiment, run from its plan to its report. Importing this module imports no torch."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from reslab.data import absolute_spec
from reslab.environment import available_cores
from reslab.errors import ReslabError
from reslab.paper.catalogue import chosen_arms
from reslab.paper.choices import Choices, Precision, parse_time
from reslab.paper.engines import EngineName, make_engine
from reslab.paper.experiments import find_experiment
from reslab.paper.record import Record

__all__ = ["ExperimentRun", "run_experiment"]

_STORE = "runs"


@dataclass(frozen=True, kw_only=True)
class ExperimentRun:
    """How a call of `run_experiment` ended.

    Args:
        folder: of the results.
        stopped_by: the signal that asked to stop, with everything saved; None if it is finished.
        record: what results.json says; None if it is not finished.
    """

    folder: Path
    stopped_by: str | None
    record: Record | None


def run_experiment(
    name: str,
    *,
    data: str | None = None,
    recipe: str | None = None,
    iterations: int | None = None,
    budget: str | None = None,
    depths: Sequence[int] = (),
    input_size: int | None = None,
    precision: Precision | None = None,
    seeds: int | None = None,
    nets: Sequence[str] = (),
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    engine: EngineName = "local",
    jobs: int | None = None,
    threads: int | None = None,
    out: Path | None = None,
    data_dir: Path | None = None,
    yes: bool = False,
    progress: bool = True,
) -> ExperimentRun:  # an experiment has as many settings
    """Runs an experiment and writes plan.json, results.json, and its report.

    Interrupted or killed, the same call goes on where it was. Trainings that another experiment has made in the same
    folder of runs are not made again.

    Args:
        name: name of the experiment; `reslab paper list` lists them.
        data: name of a data set, or a folder of class folders; digits by default.
        recipe: recipe of all networks; by default digits-quick for digits, and the paper's otherwise.
        iterations: length to which the recipe's whole schedule is rescaled; an arm of another length keeps its ratio.
        budget: time for all of it, as in 10m or 2h: speeds are measured, and the iterations chosen to fit.
        depths: depths of the networks that take part; all by default.
        input_size: side of the crops of photos.
        precision: precision of convolutions and products, of all networks alike: auto, fp32, bf16 or fp16.
        seeds: number of trainings of each network, with seeds from 0; by default the experiment's, or as many of
            them as a budget has time for.
        nets: trained networks to look at instead of training some, as `reslab eval` takes them.
        mean: mean of each channel of such networks' inputs, pixels in [0, 1], for weight files without a card.
        std: std likewise; 1 where only a mean is given.
        engine: what runs the trainings: processes of this machine (local), or tasks of a Ray cluster (ray).
        jobs: trainings side by side; by default one a core, up to as many as there are.
        threads: threads of each training; by default the cores divided by the jobs.
        out: folder of the results, with the runs inside; by default paper/NAME-DATA-LENGTH, and paper/runs for all
            runs.
        data_dir: folder where named data sets are looked for first.
        yes: do not ask before a training that takes long.
        progress: whether to show it.

    Raises:
        ReslabError: a bad argument, a folder with other settings, or a training that failed.
    """
    experiment = chosen_arms(find_experiment(name), depths)
    if experiment.how == "quoted":
        raise ReslabError(f"{name} is quoted and not run here: `reslab paper list {name}` shows its numbers.")
    for word, value in (("seeds", seeds), ("jobs", jobs), ("threads", threads), ("input-size", input_size)):
        if value is not None and not 1 <= value <= 4096:
            raise ReslabError(f"--{word} must be between 1 and 4096, not {value}.")
    if budget is not None and iterations is not None:
        raise ReslabError("give --budget or --iterations: a budget chooses the iterations.")
    seconds = None if budget is None else parse_time(budget)
    if data is not None and not experiment.needs_images:
        raise ReslabError(f"{name} looks at no images: leave --data out.")
    spec = data if data is not None else "digits" if experiment.needs_images and not nets else ""
    count = max(1, len(nets) or len(experiment.arms) * (seeds or experiment.seeds))
    slots = jobs or min(available_cores(), count)
    threads = threads or max(1, available_cores() // slots)
    choices = Choices(
        data=absolute_spec(spec) if spec else "",
        recipe=recipe,
        iterations=iterations,
        input_size=input_size,
        precision=precision,
        seeds=seeds,
        depths=tuple(depths),
        nets=tuple(nets),
        mean=tuple(mean),
        std=tuple(std),
        threads=threads,
    )
    length = budget or iterations or ("" if nets or not experiment.trains else "full")
    words = "-".join(str(word) for word in (name, Path(spec).name, length) if word)
    folder = out or Path("paper", words)
    store = folder / _STORE if out else Path("paper", _STORE)
    from reslab.paper.runner import Runner

    runner = Runner(experiment, choices, folder=folder, store=store, data_dir=data_dir, progress=progress)
    with closing(make_engine(engine, slots=slots, threads=threads)) as opened:
        stopped_by = runner.run(opened, seconds, ask=not yes and budget is None and iterations is None)
    record = None if stopped_by else Record.read(folder)
    return ExperimentRun(folder=folder, stopped_by=stopped_by, record=record)
