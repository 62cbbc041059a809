"""The end of a run: the weights that it leaves, their card, the last figures, and the curves."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from reslab.analysis.plots import plot_curves
from reslab.checkpoints import BEST_NAME, DamagedCheckpointError, check_asked, load_checkpoint
from reslab.console import counting
from reslab.data.dataset import Role, Samples
from reslab.data.held_out import HeldOut
from reslab.data.normalization import Normalization
from reslab.environment import resident_bytes
from reslab.errors import CheckpointError
from reslab.evaluation import EVALUATION_BATCH, Measurement, evaluate, measure_batch_norm
from reslab.files.hashing import hash_json
from reslab.files.reading import reading
from reslab.files.rows import RowLog
from reslab.models import spell
from reslab.models.weights import save_weights
from reslab.runs import HeldRun
from reslab.tasks import Score
from reslab.training.inputs import test_view
from reslab.training.plan import Plan
from reslab.training.recipe import Photos, SmallImages
from reslab.training.schedule import LAST_SHARE
from reslab.training.state import TrainingState

__all__ = ["describe_weights", "evaluate_within", "finish_run"]

_MOST_SEEN_CLEAN = 10_000  # images of train, evaluated without augmentation: more would take longer, and tell no more


def finish_run(
    plan: Plan,
    held: HeldRun,
    state: TrainingState,
    normalization: Normalization,
    rows: RowLog,
    *,
    progress: bool = False,
) -> dict[str, Any]:
    """Writes weights, card, curves and result.json, and returns what the last one says.

    All of it follows from the last checkpoint and the rows, bitwise but for timings: a run that is killed in here is
    finished again by a resume.

    Args:
        plan: the run's.
        held: its folder, while this process may write to it.
        state: after the last iteration; or of a stopped run, which then ends there.
        normalization: of the network's inputs.
        rows: of the run, all written.
        progress: whether the last evaluations show a progress bar.

    Raises:
        CheckpointError: the state that is best on val is asked for, and lost; or the folder was removed.
    """
    run, recipe, data, iteration = plan.run, plan.recipe, plan.data, state.iteration
    if recipe.monitoring.weights == "best-on-val":
        _take_best(plan, state)
    model = state.eval_model
    if num_images := recipe.monitoring.precise_bn_images:
        part = recipe.data.batch_size // recipe.optimizer.accumulate  # over which training took its statistics
        wanted = Measurement(num_images=num_images, batch_size=part, seed=plan.asked.seed, iteration=iteration)
        measure_batch_norm(model, data.split("train"), normalization, wanted)
    history = run.rows()
    errors = _errors(plan, model, normalization, progress)
    errors = {"train_error": final_train_error(history, iteration), **errors}
    held.check()
    plot_curves(history, _title(plan), run.folder / "curves.png", plan.task.words)
    save_weights(
        model,
        run.folder,
        {**describe_weights(plan, normalization), "iterations": iteration, "errors": errors},
        write_normalization=normalization.save if normalization.per_pixel else None,
    )
    figures = {
        "model": spell(model.spec),
        "data": data.name,
        "recipe": recipe.name,
        "iterations": recipe.iterations,
        **({"stopped_at": iteration} if iteration < recipe.iterations else {}),
        "seed": plan.asked.seed,
        **errors,
        "train_seconds": round(state.seconds, 1),
        "images_per_second": round(iteration * recipe.data.batch_size / max(state.seconds, 1e-9), 1),
        "warmup_ended_at": state.warmup.ended_at,
        "peak_memory_bytes": resident_bytes(peak=True) or None,
    }
    held.check()
    run.finish(figures, rows.mark)
    return figures


def _title(plan: Plan) -> str:
    return f"{spell(plan.asked.spec)} on {plan.data.name}, {plan.recipe.name}"


def _take_best(plan: Plan, state: TrainingState) -> None:
    with reading(plan.run.checkpoints / BEST_NAME, CheckpointError):
        state.load_weights(_best_state(plan, state))


def _best_state(plan: Plan, state: TrainingState) -> dict[str, Any]:
    path = plan.run.checkpoints / BEST_NAME
    lost = "The weights that are best on val are lost; put back a copy of the file, or train again."
    if not path.is_file():
        raise CheckpointError(f"{path} is missing. {lost}")
    try:
        best = load_checkpoint(path, unsealed_too=not plan.run.has_checksums)
    except DamagedCheckpointError as error:
        raise CheckpointError(f"{error} {lost}") from None
    check_asked(best, path, plan.run.asked)
    known = state.best_iteration is not None  # version 0.1.0 did not write it down
    if best.get("best_val_error") != state.best_val_error or (known and best["iteration"] != state.best_iteration):
        raise CheckpointError(
            f"{path} is not the state that was best on val: it is of iteration {best['iteration']}, and the best was "
            f"{state.best_iteration if known else 'another'}, with {state.best_val_error} %. {lost}"
        )
    return best


def _errors(plan: Plan, model: nn.Module, normalization: Normalization, progress: bool) -> dict[str, float]:
    """The run's error rates in %, with the number of images of each."""
    data = plan.data
    seen: Samples = data.split("train")
    if len(seen) > _MOST_SEEN_CLEAN:
        seen = seen.subset(np.sort(np.random.default_rng(0).permutation(len(seen))[:_MOST_SEEN_CLEAN]))
    roles: list[Role] = ["val"] if "val" in data.splits else []
    roles += ["test"] if plan.asked.test_curve and "test" in data.splits else []
    splits: dict[str, Samples] = {"train_clean": seen, **{role: data.split(role) for role in roles}}
    errors: dict[str, float] = {}
    with counting("Evaluating", sum(map(len, splits.values())), enabled=progress) as advance:
        for name, split in splits.items():
            found = evaluate_within(plan, model, split, normalization, advance)
            if name == "train_clean":  # to be compared with the training error, which counts wrong answers
                errors["train_error_clean"] = found.wrong
            else:
                errors[f"{name}_error"] = found.error
            errors[f"num_{name}_images"] = found.num_images
            errors |= found.figures(name)
    return errors


def describe_weights(plan: Plan, normalization: Normalization) -> dict[str, Any]:
    """What a card, or a checkpoint, says of a run's weights: whose they are, and how the network sees images."""
    spec, data, recipe = plan.asked.spec, plan.data, plan.recipe
    images = recipe.data.images
    return {
        "model": spell(spec),
        "net": spec.to_dict(),
        "task": plan.task.name,
        "data": plan.run.data,
        "data_spec": plan.run.record["data_spec"],
        **HeldOut.read(plan.run.record).to_dict(),
        "classes": list(data.classes),
        "normalization": normalization.to_dict(),
        "preprocessing": test_view(recipe.data).to_dict() if isinstance(images, Photos) else None,
        "pad_with": images.pad_with if isinstance(images, SmallImages) else "black",
        "recipe": recipe.name,
        "recipe_sha256": hash_json(recipe.to_dict()),
        "seed": plan.asked.seed,
        "asked": plan.run.asked,
    }


def evaluate_within(
    plan: Plan,
    model: nn.Module,
    split: Samples,
    normalization: Normalization,
    advance: Callable[[int], object] | None = None,
) -> Score:
    """`evaluate`, in batches that take no more memory than training where the recipe has a limit."""
    recipe = plan.recipe
    limited = min(EVALUATION_BATCH, recipe.data.batch_size) if recipe.hardware.memory else EVALUATION_BATCH
    return evaluate(model, split, normalization, batch_size=limited, advance=advance, task=plan.task)


def final_train_error(rows: list[dict[str, Any]], iterations: int) -> float:
    """Mean training error over the last rows, weighted by their iterations, in %."""
    first = iterations * (1 - LAST_SHARE)
    ends = [0] + [row["iteration"] for row in rows]
    last = [
        (end - start, row["train_error"])
        for start, end, row in zip(ends, ends[1:], rows, strict=False)
        if start >= first
    ]
    last = last or [(1, rows[-1]["train_error"])]
    return float(sum(weight * error for weight, error in last) / sum(weight for weight, _ in last))
