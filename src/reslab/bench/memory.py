"""The peak of a training process's memory, and what keeping it low costs in time.

    all-kept       the trainer without gradient checkpointing
    every-block    every block computed again in the backward pass (`set_grad_checkpointing`)
    planned        the trainer with `hardware.memory`, which checkpoints as much as the memory asks for

The contenders take turns like all others. Each is a fresh process, whose peak resident memory counts everything:
Python, torch, images, weights, momentum, activations, and the gaps that the allocator leaves between them.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from reslab.analysis.training_memory import IMPORT_BYTES, estimate_training_memory
from reslab.bench.records import describe, find, ratios
from reslab.bench.training import our_work
from reslab.bench.training_task import TrainingTask, check_task
from reslab.bench.turns import Contender, Turns, Work, take_turns
from reslab.environment import resident_bytes

__all__ = ["compare_memory"]

_ALL_KEPT, _EVERY_BLOCK, _PLANNED = "all-kept", "every-block", "planned"


def compare_memory(
    task: TrainingTask,
    planned: TrainingTask | None,
    turns: Turns,
    *,
    kept_batch_size: int | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Trains by turns in fresh processes.

    Args:
        task: what is trained.
        planned: the same with a recipe that limits the memory; None to leave that contender out.
        turns: how many, and how long.
        kept_batch_size: of the contender that keeps all activations, where the task's would not fit; times are then
            compared for each image.
        tell: is told what is being done.

    Returns:
        A record's row: the contenders with their images a second, and in their details the batch size, the peak in
        bytes, and what was predicted where something was; `time_ratios`, how many times as long an image takes as
        where everything is kept.

    Raises:
        ReslabError: a bad task, or a contender that failed.
    """
    check_task(task)
    recipe = task.recipe
    kept = replace(
        task, recipe=replace(recipe, data=replace(recipe.data, batch_size=kept_batch_size or recipe.data.batch_size))
    )
    contenders = [
        Contender(_ALL_KEPT, partial(_prepare, kept, False)),
        Contender(_EVERY_BLOCK, partial(_prepare, task, True)),
    ]
    if planned:
        contenders.append(Contender(_PLANNED, partial(_prepare, planned, False)))
    outcomes = take_turns(contenders, turns, tell=tell)
    base = find(outcomes, _ALL_KEPT)
    return {
        "model": task.model,
        "contenders": [describe(outcome) for outcome in outcomes],
        "time_ratios": {outcome.name: ratios(base, outcome) for outcome in outcomes[1:]},
    }


def _prepare(task: TrainingTask, every_block: bool, folder: Path) -> Work:
    trainer, work = our_work(task, folder)
    if every_block:
        trainer.state.model.set_grad_checkpointing(True)
    height, width, _ = trainer.data.image_shape
    batch_size = task.recipe.data.batch_size
    predicted = trainer.execution.predicted_bytes
    if predicted is None and not every_block:
        spec = trainer.state.model.spec
        predicted = IMPORT_BYTES + estimate_training_memory(spec, (height, width), batch_size)
    details = {**work.details, "batch_size": batch_size, "predicted_bytes": predicted}
    return replace(work, details=details, report=lambda: {"peak_bytes": resident_bytes(peak=True)})
