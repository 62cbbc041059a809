"""The end of a run: the weights that it leaves, their card, the last figures, and the curves."""

from typing import Any

import numpy as np
from torch import nn

from reslab.analysis.plots import plot_curves
from reslab.data.dataset import Role, Samples, Split
from reslab.data.normalization import Normalization
from reslab.environment import resident_bytes
from reslab.errors import CheckpointError
from reslab.evaluation import EVALUATION_BATCH, Evaluation, Measurement, evaluate, measure_batch_norm
from reslab.files.hashing import hash_json
from reslab.files.rows import RowLog
from reslab.models import spell
from reslab.models.weights import save_weights
from reslab.runs import HeldRun
from reslab.training.checkpoint import BEST_NAME, DamagedCheckpointError, check_asked, load_checkpoint
from reslab.training.inputs import test_view
from reslab.training.plan import Plan
from reslab.training.recipe import Recipe
from reslab.training.schedule import LAST_SHARE
from reslab.training.state import TrainingState

__all__ = ["evaluate_within", "finish_run"]

_MOST_SEEN_CLEAN = 10_000  # photos of train, evaluated without augmentation: more would take longer, and tell no more


def finish_run(
    plan: Plan, held: HeldRun, state: TrainingState, normalization: Normalization, rows: RowLog
) -> dict[str, Any]:
    """Writes weights, card, curves and result.json, and returns what the last one says.

    All of it follows from the last checkpoint and the rows, bitwise but for timings: a run that is killed in here is
    finished again by a resume.

    Args:
        plan: the run's.
        held: its folder, while this process may write to it.
        state: after the last iteration.
        normalization: of the network's inputs.
        rows: of the run, all written.

    Raises:
        CheckpointError: the state that is best on val is asked for, and lost; or the folder was removed.
    """
    run, recipe, seed, data = plan.run, plan.recipe, plan.asked.seed, plan.data
    if recipe.monitoring.weights == "best-on-val":
        state.load_weights(_best_state(plan, state))
    model = state.result
    if num_images := recipe.monitoring.precise_bn_images:
        part = recipe.data.batch_size // recipe.optimizer.accumulate  # over which training took its statistics
        wanted = Measurement(num_images=num_images, batch_size=part, seed=seed, iteration=recipe.schedule.iterations)
        measure_batch_norm(model, data.split("train"), normalization, wanted)
    history = run.rows()
    errors = _errors(plan, model, normalization, history)
    held.check()
    plot_curves(history, f"{spell(model.spec)} on {data.name}, {recipe.name}", run.folder / "curves.png")
    save_weights(
        model,
        run.folder,
        _card(plan, normalization, errors),
        write_normalization=normalization.save if normalization.per_pixel else None,
    )
    result = {
        "model": spell(model.spec),
        "data": data.name,
        "recipe": recipe.name,
        "iterations": recipe.schedule.iterations,
        "seed": seed,
        **errors,
        "train_seconds": round(state.seconds, 1),
        "images_per_second": round(recipe.schedule.iterations * recipe.data.batch_size / max(state.seconds, 1e-9), 1),
        "warmup_ended_at": state.warmup.ended_at,
        "peak_memory_bytes": resident_bytes(peak=True) or None,
    }
    held.check()
    run.finish(result, rows.mark)
    return result


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


def _errors(
    plan: Plan, model: nn.Module, normalization: Normalization, history: list[dict[str, Any]]
) -> dict[str, float]:
    """The run's error rates in %, with the number of images of each."""
    recipe, data = plan.recipe, plan.data
    seen: Samples = data.split("train")
    if not isinstance(seen, Split) and len(seen) > _MOST_SEEN_CLEAN:
        seen = seen.subset(np.sort(np.random.default_rng(0).permutation(len(seen))[:_MOST_SEEN_CLEAN]))
    clean = evaluate_within(recipe, model, seen, normalization)
    errors = {
        "train_error": final_train_error(history, recipe.schedule.iterations),
        "train_error_clean": clean.top1_error,
        "num_train_clean_images": clean.num_images,
    }
    roles: list[Role] = ["val"] if "val" in data.splits else []
    roles += ["test"] if plan.asked.test_curve and "test" in data.splits else []
    for role in roles:
        evaluation = evaluate_within(recipe, model, data.split(role), normalization)
        errors[f"{role}_error"] = evaluation.top1_error
        errors[f"num_{role}_images"] = evaluation.num_images
    return errors


def _card(plan: Plan, normalization: Normalization, errors: dict[str, float]) -> dict[str, Any]:
    spec, data, recipe = plan.asked.spec, plan.data, plan.recipe
    return {
        "model": spell(spec),
        "net": spec.to_dict(),
        "data": data.describe(),
        "classes": list(data.classes),
        "normalization": normalization.to_dict(),
        "preprocessing": test_view(recipe.data).to_dict() if recipe.data.images == "photos" else None,
        "recipe": recipe.name,
        "recipe_sha256": hash_json(recipe.to_dict()),
        "iterations": recipe.schedule.iterations,
        "seed": plan.asked.seed,
        "errors": errors,
        "asked": plan.run.asked,
    }


def evaluate_within(recipe: Recipe, model: nn.Module, split: Samples, normalization: Normalization) -> Evaluation:
    """`evaluate`, in batches that take no more memory than training where the recipe has a limit."""
    if not recipe.hardware.memory:
        return evaluate(model, split, normalization)
    return evaluate(model, split, normalization, batch_size=min(EVALUATION_BATCH, recipe.data.batch_size))


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
