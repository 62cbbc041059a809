"""Single fields of a recipe, changed by texts as a command line has them. Importing this imports no torch."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from reslab.errors import RecipeError, suggestion
from reslab.fields import KIND, Leaf, knobs, leaves
from reslab.training.durations import Duration
from reslab.training.recipe import Recipe
from reslab.training.recipe_files import changed, renamed

__all__ = ["as_flag", "find_field", "fitted", "is_length", "meant_field", "with_overrides"]

_PATH = re.compile(r"\b(?:optimizer|schedule|data|regularization|fine_tuning|hardware|monitoring)(?:\.[a-z_]+)+")
_SYNONYMS = {
    "lr": "optimizer.learning_rate",
    "rate": "optimizer.learning_rate",
    "wd": "optimizer.weight_decay",
    "bs": "data.batch_size",
    "batch": "data.batch_size",
    "epochs": "schedule.length",
    "iterations": "schedule.length",
    "steps": "schedule.length",
    "scheduler": "schedule.kind",
    "optim": "optimizer.kind",
    "label_smooth": "regularization.label_smoothing",
    "ema": "regularization.ema_decay",
    "amp": "hardware.precision",
    "num_workers": "hardware.workers",
    "image_size": "data.images.train_size",
    "input_size": "data.images.train_size",
}
"""What people call some fields elsewhere; messages suggest ours."""


def with_overrides(recipe: Recipe, values: Mapping[str, str], *, flags: bool = False) -> Recipe:
    """A recipe with fields changed by texts.

    Args:
        recipe: that is changed.
        values: texts by the fields' names, `optimizer.learning_rate: "0.1"`; dashes count as underscores. A table of
            several kinds stands for its `kind`: `optimizer: "muon"`. Kinds apply first, whatever the order.
        flags: whether messages name fields as flags, `--optimizer.learning-rate`.

    Raises:
        RecipeError: no such field, one that is another kind's, or a value that it does not take.
    """
    texts = {}
    for name, text in values.items():
        path = _path(name)
        path = f"{path}.{KIND}" if f"{path}.{KIND}" in _leaves() else path
        if path not in _leaves():
            raise RecipeError(_unknown(path, flags))
        if path in texts:
            raise RecipeError(f"{_spelled(path, flags)} is given twice.")
        texts[path] = text
    kinds = {path: text for path, text in texts.items() if path.endswith(f".{KIND}")}
    for path, text in kinds.items():
        choices = _leaves()[path].knob.choices
        if text not in choices:
            takes = _leaves()[path].knob.takes
            raise RecipeError(f"{_spelled(path, flags)} must be {takes}, not {text!r}{suggestion(text, choices)}")
    nested: dict[str, Any] = {}
    for path, text in texts.items():
        *tables, field = path.split(".")
        place = nested
        for table in tables:
            place = place.setdefault(table, {})
        _check_conditions(recipe, kinds, _leaves()[path], flags)
        place[field] = text if path in kinds else _parsed(recipe, kinds, path, text, flags)
    try:
        return changed(recipe, nested)
    except RecipeError as error:
        raise RecipeError(_PATH.sub(lambda found: _spelled(found[0], flags), str(error))) from None


def fitted(
    recipe: Recipe,
    num_images: int,
    *,
    length: Duration | None = None,
    fields: Mapping[str, str] | None = None,
    flags: bool = False,
) -> Recipe:
    """A recipe as a run follows it: rescaled, with fields changed, and all lengths in iterations.

    Args:
        recipe: as it was written.
        num_images: for training.
        length: to which its whole schedule is rescaled; lengths among the fields are of the rescaled one.
        fields: as in `with_overrides`.
        flags: likewise.

    Raises:
        RecipeError: as in `with_overrides`, `Recipe.resolved` and `Recipe.rescaled`.
    """
    fields = fields or {}
    if length is not None:
        others = {name: text for name, text in fields.items() if not is_length(name)}
        recipe = with_overrides(recipe, others, flags=flags).resolved(num_images)
        recipe = recipe.rescaled(length.in_iterations(num_images, recipe.data.batch_size))
    return with_overrides(recipe, fields, flags=flags).resolved(num_images)


def meant_field(name: str) -> str | None:
    """The field that another name may mean: one of version 0.1, of other programs, or without its table."""
    last = _path(name).rpartition(".")[2]
    same_name = [known for known in _leaves() if known.endswith(f".{last}")]
    return renamed(_path(name)) or _SYNONYMS.get(last) or (same_name[0] if same_name else None)


def find_field(name: str) -> Leaf | None:
    """The field of a name, as `with_overrides` takes it."""
    path = _path(name)
    return _leaves().get(path) or _leaves().get(f"{path}.{KIND}")


def is_length(name: str) -> bool:
    """Whether a field is a length of training, and so means something else once a schedule is rescaled."""
    leaf = find_field(name)
    return leaf is not None and leaf.knob.type in (Duration, tuple[Duration, ...])


def as_flag(path: str) -> str:
    """A field's name on the command line."""
    return f"--{path.replace('_', '-')}"


@cache
def _leaves() -> dict[str, Leaf]:
    return {leaf.path: leaf for leaf in leaves(Recipe)}


def _path(name: str) -> str:
    return name.removeprefix("--").replace("-", "_")


def _spelled(path: str, flags: bool) -> str:
    return as_flag(path) if flags else path


def _unknown(path: str, flags: bool) -> str:
    spelled = _spelled(path, flags)
    if new := renamed(path):
        return f"{spelled} is {_spelled(new, flags)} now."
    meant = meant_field(path)
    if meant == "schedule.length" and flags:
        return f"a recipe has no field {spelled}; --iterations N and --epochs N rescale its whole schedule."
    if meant:
        return f"a recipe has no field {spelled}; did you mean {_spelled(meant, flags)}?"
    table = f"{path.partition('.')[0]}."
    own = [known for known in _leaves() if known.startswith(table)]
    by_spelling = [_spelled(known, flags) for known in own or _leaves()]
    there_are = f"; there are {', '.join(by_spelling)}." if own else "; `reslab recipes NAME` shows all of them."
    return f"a recipe has no field {spelled}{suggestion(spelled, by_spelling, there_are)}"


def _check_conditions(recipe: Recipe, kinds: Mapping[str, str], leaf: Leaf, flags: bool) -> None:
    """Refuses a field of a form that is not in force."""
    for kind_path, forms in leaf.conditions:
        table = kind_path.removesuffix(f".{KIND}")
        ours = str(getattr(_in_force(recipe, kinds, table)[0], KIND))
        if ours not in forms:
            *others, last = forms
            theirs = f"{', '.join(others)} or {last}" if others else last
            raise RecipeError(
                f"{_spelled(leaf.path, flags)} is for {_spelled(table, flags)} = {theirs}, and here that is {ours}: "
                f"leave it out, or choose {_spelled(table, flags)} {theirs} as well."
            )


def _parsed(recipe: Recipe, kinds: Mapping[str, str], path: str, text: str, flags: bool) -> Any:
    table, _, field = path.rpartition(".")
    owner = _in_force(recipe, kinds, table)[0] if table else Recipe
    (knob,) = (item for item in knobs(owner) if item.name == field)
    try:
        return knob.parse(text)
    except ValueError as problem:
        raise RecipeError(f"{_spelled(path, flags)} must be {problem}, not {text!r}.") from None


def _in_force(recipe: Recipe, kinds: Mapping[str, str], table: str) -> tuple[type, Any]:
    """The form that a table has once kinds are changed; and the instance that it had, where there is one."""
    owner: type = Recipe
    instance: Any = recipe
    walked = ""
    for name in table.split("."):
        walked = f"{walked}.{name}" if walked else name
        (knob,) = (item for item in knobs(owner) if item.name == name)
        instance = getattr(instance, name, None)
        instance = knob.default if instance is None else instance
        owner = type(instance)
        wanted = kinds.get(f"{walked}.{KIND}")
        if wanted is not None and wanted != getattr(owner, KIND):
            owner = next(form for form in knob.forms if getattr(form, KIND) == wanted)
    return owner, instance
