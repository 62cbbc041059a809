"""How far an experiment is from the paper's setting. Importing this module imports no torch."""

from collections.abc import Iterable
from typing import Any

from reslab.paper.catalogue import Experiment
from reslab.paper.jobs import Job
from reslab.paper.plan import Plan
from reslab.training.recipes import RECIPES

__all__ = ["deviations", "reduction"]

_COMPARED = ("optimizer.", "schedule.", "data.", "regularization.")


def reduction(experiment: Experiment, plan: Plan) -> str:
    """By how much an experiment was reduced, for the titles of its figures; empty where it was not."""
    if not plan.data:
        return ""
    setting, name = experiment.setting, plan.data["name"]
    parts = [] if name == setting.data else [f"{name} instead of {_spoken(setting.data)}"]
    recipe = next((job.subject.followed for job in plan.jobs if job.subject.followed), None)
    if recipe is not None:
        if plan.iterations != setting.iterations:
            share = 100 * plan.iterations / setting.iterations
            parts.append(f"{plan.iterations:,} iterations, {_share(share)} % of the paper's {setting.iterations:,}")
        if recipe.data.batch_size != setting.batch_size:
            parts.append(f"batches of {recipe.data.batch_size} instead of {setting.batch_size}")
        if recipe.hardware.precision != "fp32":
            parts.append(f"in {recipe.hardware.precision}")
        limit, test = plan.choices.protocol_images, plan.data["splits"]["test"]["num_images"]
        if limit is not None and limit < test:
            parts.append(f"many views of {limit:,} of {test:,} test images")
    return ", ".join(parts)


def _share(percent: float) -> str:
    """Two digits of it, and no powers of ten."""
    return f"{percent:,.0f}" if percent >= 99.5 else f"{percent:.2g}"


def deviations(experiment: Experiment, plan: Plan, jobs: Iterable[Job]) -> list[dict[str, str]]:
    """Every setting that differs from the paper's, as rows of a table."""
    setting = experiment.setting
    first = next((job for job in jobs if job.subject.followed and job.subject.recipe is not None), None)
    if first is None or not plan.data:
        return []
    recipe = first.subject.followed
    assert recipe is not None
    paper = RECIPES[setting.recipe].resolved(setting.images)
    data, train = plan.data, plan.data["splits"]["train"]["num_images"]
    shape = f"{data['height']}x{data['width']}x{data['channels']}"
    table = []
    if (data["name"], train) != (setting.data, setting.images):
        note = f"; {data['note']}" if data["note"] else ""
        theirs = f"{_spoken(setting.data)}, {setting.images:,} of {setting.image}"
        table.append(("data", theirs, f"{data['name']}, {train:,} of {shape}{note}"))
        epochs = recipe.iterations * recipe.data.batch_size / train
        paper_epochs = setting.iterations * setting.batch_size / setting.images
        table.append(("epochs", f"{paper_epochs:.2f}", f"{epochs:.2f}"))
    ours, theirs_flat = _flat(recipe.to_dict()), _flat(paper.to_dict())
    own = {name for arm in experiment.arms for name in arm.fields}
    for name in dict.fromkeys([*theirs_flat, *ours]):
        compared = name.startswith(_COMPARED) or name in ("monitoring.precise_bn_images", "hardware.precision")
        if compared and name not in own and ours.get(name) != theirs_flat.get(name):
            table.append((name, _words(theirs_flat.get(name, "-")), _words(ours.get(name, "-"))))
    return [{"setting": name, "paper": theirs, "here": here} for name, theirs, here in table]


def _spoken(data: str) -> str:
    return {"cifar10": "CIFAR-10", "imagenet": "ImageNet"}.get(data, data)


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Fields of tables within tables, by their paths."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
