"""The end of a run: the weights that it leaves, their card, the last figures, and the curves."""

from typing import Any

import numpy as np
from safetensors.numpy import save_file
from torch import nn

from reslab.analysis.plots import plot_curves
from reslab.data.batches import evaluation_batches
from reslab.data.dataset import Role, Samples, Split
from reslab.data.normalization import Normalization
from reslab.environment import resident_bytes
from reslab.evaluation import EVALUATION_BATCH, Evaluation, evaluate, precise_batch_norm
from reslab.files.atomic import atomic_path
from reslab.files.hashing import hash_json
from reslab.models import spell
from reslab.models.weights import NORMALIZATION_NAME, save_weights
from reslab.runs import Run
from reslab.training.checkpoint import BEST_NAME, load_checkpoint
from reslab.training.inputs import AnyData, test_view
from reslab.training.recipe import Photos, Recipe
from reslab.training.schedule import LAST_SHARE
from reslab.training.state import TrainingState

__all__ = ["evaluate_within", "finish_run"]

_MOST_SEEN_CLEAN = 10_000  # photos of train, evaluated without augmentation: more would take longer, and tell no more


def finish_run(
    run: Run,
    state: TrainingState,
    data: AnyData,
    normalization: Normalization,
    recipe: Recipe,
    seed: int,
    test_curve: bool,
) -> dict[str, Any]:
    """Writes weights, card, curves and result.json, and returns what the last one says."""
    if recipe.monitoring.weights == "best-on-val" and (run.checkpoints / BEST_NAME).is_file():
        state.load_weights(load_checkpoint(run.checkpoints / BEST_NAME))
    model = state.result
    if num_images := recipe.monitoring.precise_bn_images:
        train = data.split("train")
        # Images of every class, since a folder's come class by class; and full batches, which weigh the same.
        part = recipe.data.batch_size // recipe.optimizer.accumulate  # over which training took its statistics
        batch_size = min(part, num_images, len(train))
        num_images = min(num_images, len(train)) // batch_size * batch_size
        chosen = np.random.default_rng(0).permutation(len(train))[:num_images]
        sample = train.subset(chosen)
        device = next(model.parameters()).device
        precise_batch_norm(
            model,
            (images.to(device) for images, _ in evaluation_batches(sample, normalization, batch_size)),
        )
    rows = run.rows()
    seen: Samples = data.split("train")
    if not isinstance(seen, Split) and len(seen) > _MOST_SEEN_CLEAN:
        seen = seen.subset(np.sort(np.random.default_rng(0).permutation(len(seen))[:_MOST_SEEN_CLEAN]))
    clean = evaluate_within(recipe, model, seen, normalization)
    errors = {
        "train_error": final_train_error(rows, recipe.iterations),
        "train_error_clean": clean.top1_error,
        "num_train_clean_images": clean.num_images,
    }
    roles: list[Role] = ["val"] if "val" in data.splits else []
    roles += ["test"] if test_curve and "test" in data.splits else []
    for role in roles:
        evaluation = evaluate_within(recipe, model, data.split(role), normalization)
        errors[f"{role}_error"] = evaluation.top1_error
        errors[f"num_{role}_images"] = evaluation.num_images

    plot_curves(rows, f"{spell(model.spec)} on {data.name}, {recipe.name}", run.folder / "curves.png")
    save_normalization(run, normalization)
    card = {
        "model": spell(model.spec),
        "net": model.spec.to_dict(),
        "data": data.describe(),
        "classes": list(data.classes),
        "normalization": normalization.to_dict(),
        "preprocessing": test_view(recipe.data).to_dict() if isinstance(recipe.data.images, Photos) else None,
        "recipe": recipe.name,
        "recipe_sha256": hash_json(recipe.to_dict()),
        "iterations": recipe.iterations,
        "seed": seed,
        "errors": errors,
    }
    save_weights(model, run.folder, card)
    result = {
        "model": spell(model.spec),
        "data": data.name,
        "recipe": recipe.name,
        "iterations": recipe.iterations,
        "seed": seed,
        **errors,
        "train_seconds": round(state.seconds, 1),
        "images_per_second": round(recipe.iterations * recipe.data.batch_size / max(state.seconds, 1e-9), 1),
        "warmup_ended_at": state.warmup.ended_at,
        "peak_memory_bytes": resident_bytes(peak=True) or None,
    }
    run.finish(result)
    return result


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


def save_normalization(run: Run, normalization: Normalization) -> None:
    """Writes normalization.safetensors where the mean is per pixel; elsewhere the card says all."""
    if normalization.mean.ndim == 3:
        with atomic_path(run.folder / NORMALIZATION_NAME) as temporary:
            save_file({"mean": normalization.mean, "std": normalization.std}, temporary)
