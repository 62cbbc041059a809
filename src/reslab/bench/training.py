"""Training steps, end to end from images to updated weights, against the loops that most people write.

Ours is the trainer as `reslab train` sets it up."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from reslab.analysis.complexity import count_macs, count_winograd_macs
from reslab.bench.profile import profile_steps
from reslab.bench.rates import rate_contender
from reslab.bench.records import best, describe, find, ratios, share
from reslab.bench.training_peers import PEERS, peer_work
from reslab.bench.training_task import TrainingTask, check_task, task_spec, training_images
from reslab.bench.turns import BenchmarkError, CannotRun, Contender, Turns, Work, take_turns
from reslab.models import spell
from reslab.runs import Run
from reslab.training.execution import choose_execution
from reslab.training.loop import Trainer
from reslab.training.plan import Asked, Plan
from reslab.training.recipe import DataRecipe

__all__ = ["OURS", "compare_training", "make_trainer", "our_work"]

OURS = "reslab"
_OPERATIONS_A_MAC = 6  # forward, and twice that backward; a multiply-add is two operations


def compare_training(
    task: TrainingTask,
    peers: tuple[str, ...],
    turns: Turns,
    *,
    profiled_steps: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Trains by turns.

    Args:
        task: what is trained.
        peers: of `PEERS`.
        turns: how many, and how long.
        profiled_steps: that each contender takes after its turns, to add a `profile` (see `profile_steps`) to its
            details.
        tell: is told what is being done.

    Returns:
        A record's row: the contenders with their images a second; the ratio of ours to each peer and to the best one;
        and the shares of the processor's arithmetic (`peaks`, measured in the same turns) in the precision that ours
        trains in: `share_of_peak` at six operations for every multiply-add of an image's forward pass, and
        `share_of_fewest` at as many for those that Winograd's algorithm leaves.

    Raises:
        ReslabError: a bad task, or a contender that failed.
    """
    check_task(task)
    for peer in peers:
        if peer not in PEERS:
            raise BenchmarkError(f"there is no peer {peer!r}; there are {', '.join(PEERS)}.")
    if profiled_steps and ("compiled" in peers or task.recipe.hardware.compile != "off"):
        raise BenchmarkError("a compiled step has no profile: its operations are fused under other names.")
    makers = {OURS: partial(_ours, task), **{peer: partial(peer_work, peer, task) for peer in peers}}
    contenders = [
        Contender(name, partial(_profiled, make, profiled_steps) if profiled_steps else make)
        for name, make in makers.items()
    ]
    threads = task.recipe.hardware.threads
    *outcomes, fp32, bf16 = take_turns(
        [*contenders, rate_contender("fma", threads), rate_contender("fma-bf16", threads)], turns, tell=tell
    )
    ours = find(outcomes, OURS)
    rivals = outcomes[1:]
    fastest = best(rivals)
    macs, precision = ours.details["macs"], ours.details["precision"]
    own = bf16 if precision == "bf16" and bf16.rates else fp32
    return {
        "model": task.model,
        "macs": macs,
        "precision": precision,
        "contenders": [describe(outcome) for outcome in outcomes],
        "ratios": {peer.name: ratios(ours, peer) for peer in rivals if peer.rates},
        "best_peer": fastest.name if fastest else None,
        "winograd_macs": ours.details["winograd_macs"],
        "peaks": {"fp32": describe(fp32, "gflops", 1e-9), "bf16": describe(bf16, "gflops", 1e-9)},
        "share_of_peak": share(ours, _OPERATIONS_A_MAC * macs, own),
        "share_of_fewest": share(ours, _OPERATIONS_A_MAC * ours.details["winograd_macs"], own),
    }


def _profiled(make: Callable[[Path], Work], steps: int, folder: Path) -> Work:
    """A contender's work, with a profile in its report."""
    work = make(folder)
    if work.details.get("execution", {}).get("device", "cpu") != "cpu":
        raise CannotRun("a profile is of work on a CPU; set hardware.device=cpu")
    return replace(work, report=lambda: {"profile": profile_steps(work.step, steps)})


# Ours


def make_trainer(task: TrainingTask, folder: Path, stack: ExitStack) -> Trainer:
    """The trainer that `reslab train` would run, with what it chooses by itself on this machine.

    Args:
        task: what is trained.
        folder: of the run; nothing is written until the trainer is asked to.
        stack: is given what must end after the trainer.
    """
    data = training_images(task)
    spec = task_spec(task, data)
    full_size = replace(task.recipe.data, initial_scale=1.0, initial_share=DataRecipe().initial_share)
    recipe = replace(task.recipe, data=full_size)
    recipe = recipe.resolved(
        recipe.schedule.made_for_images or len(data.split("train"))
    )  # compiled if it would be there
    execution = choose_execution(recipe, spec, data.image_shape[:2])
    stack.enter_context(execution.in_force())
    trainer = Trainer(Plan(Asked(spec, data, recipe, seed=0), Run(folder), execution))
    trainer.state.model.train()
    return trainer


def our_work(task: TrainingTask, folder: Path) -> tuple[Trainer, Work]:
    """The trainer, and its steps as work."""
    stack = ExitStack()
    trainer = make_trainer(task, folder, stack)
    height, width, _ = trainer.data.image_shape
    what = "crops and mirrors of images in memory"
    if task.photos:
        what += f", which were resized and cropped to {width}x{height} before"
    details = {
        "net": spell(trainer.state.model.spec),
        "macs": count_macs(trainer.state.model.spec, (height, width)),
        "winograd_macs": count_winograd_macs(trainer.state.model.spec, (height, width)),
        "precision": trainer.execution.precision,
        "input": what,
        "execution": trainer.execution.to_dict(),
    }
    return trainer, Work(trainer.iterate, task.recipe.data.batch_size, details, close=stack.close)


def _ours(task: TrainingTask, folder: Path) -> Work:
    return our_work(task, folder)[1]
