"""Recipes as version 0.1 wrote them into runs: flat tables, with fields that did nothing among the others."""

from collections.abc import Mapping
from typing import Any

__all__ = ["OLD_NAMES", "is_from_0_1", "recipe_from_0_1"]

OLD_NAMES = {
    "schedule.iterations": "schedule.length",
    "schedule.decay": "schedule.kind",
    "schedule.plateau_evaluations": "schedule.evaluations",
    "schedule.plateau_threshold": "schedule.threshold",
    "schedule.plateau_drops": "schedule.drops",
    "schedule.warmup_iterations": "schedule.warmup",
    "schedule.warmup_rate": "schedule.deep_warmup.rate",
    "schedule.warmup_until_train_error": "schedule.deep_warmup.train_error",
    "schedule.warmup_window": "schedule.deep_warmup.window",
    "schedule.warmup_from_depth": "schedule.deep_warmup.from_depth",
    "data.pad": "data.images.pad",
    "data.pad_with": "data.images.pad_with",
    "data.train_size": "data.images.train_size",
    "data.test_size": "data.images.test_size",
    "data.test_resize": "data.images.test_resize",
    "data.interpolation": "data.images.interpolation",
    "data.crop": "data.images.crop",
    "data.shorter_side": "data.images.crop.shorter_side",
    "data.area": "data.images.crop.area",
    "data.color": "data.images.color",
    "data.color_strength": "data.images.color.strength",
    "data.auto_augment": "data.images.auto_augment",
    "data.rand_operations": "data.images.auto_augment.operations",
    "data.rand_magnitude": "data.images.auto_augment.magnitude",
    "data.reduced_decoding": "data.images.reduced_decoding",
    "data.repeats": "data.images.repeats",
    "regularization.target_threshold": "regularization.loss.target_threshold",
}
"""What the fields of version 0.1 are called now, where that is something else."""

_DEFAULTS: dict[str, dict[str, Any]] = {
    "optimizer": {"kind": "sgd", "learning_rate": 0.1, "weight_decay": 1e-4, "momentum": 0.9},
    "schedule": {"iterations": 64_000, "decay": "steps", "warmup_iterations": 0, "warmup_from_depth": 110},
    "data": {"images": "small", "crop": "shorter-side", "color": "none", "auto_augment": "none", "initial_scale": 1.0},
    "regularization": {"loss": "cross-entropy"},
}
_OPTIMIZER = ("learning_rate", "weight_decay", "decay", "clip_norm", "accumulate")
_OPTIMIZERS = {
    "sgd": ("momentum", "nesterov"),
    "lamb": (),
    "muon": ("momentum", "nesterov", "orthogonal_factor"),
}
_PHOTOS = ("train_size", "test_size", "test_resize", "interpolation", "reduced_decoding", "repeats")


def is_from_0_1(values: Mapping[str, Any]) -> bool:
    """Whether a run's recipe was written by version 0.1."""
    data, schedule = values.get("data"), values.get("schedule")
    return (isinstance(data, Mapping) and isinstance(data.get("images"), str)) or (
        isinstance(schedule, Mapping) and "iterations" in schedule
    )


def recipe_from_0_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe of version 0.1 as the plain values of today's, which train identically; what did nothing is left out."""
    tables = {name: {**_DEFAULTS.get(name, {}), **values.get(name, {})} for name in (*_DEFAULTS, "monitoring")}
    data = tables["data"]
    common = ["batch_size", "val_images", "normalization", "flip", "erase", "initial_scale"]
    common += ["initial_share"] if data["initial_scale"] != 1 else []
    regularization = dict(tables["regularization"])
    loss = {"kind": regularization.pop("loss")}
    threshold = _picked(regularization, "target_threshold")
    regularization.pop("target_threshold", None)
    return {
        "name": values.get("name", "unnamed"),
        "optimizer": _optimizer(tables["optimizer"]),
        "schedule": _schedule(tables["schedule"]),
        "data": {**_picked(data, *common), "images": _images(data)},
        "regularization": {
            **regularization,
            "loss": {**loss, **(threshold if loss["kind"] == "binary-cross-entropy" else {})},
        },
        "hardware": dict(values.get("hardware", {})),
        "monitoring": tables["monitoring"],
    }


def _optimizer(old: Mapping[str, Any]) -> dict[str, Any]:
    new = {"kind": old["kind"], **_picked(old, *_OPTIMIZER, *_OPTIMIZERS[old["kind"]])}
    if old["kind"] == "lamb":
        new["betas"] = [old["momentum"], 0.999]
    return new


def _schedule(old: Mapping[str, Any]) -> dict[str, Any]:
    deep: dict[str, Any] = {"kind": "none"}
    if old["warmup_from_depth"]:
        names = {"rate": "warmup_rate", "train_error": "warmup_until_train_error"}
        names |= {"window": "warmup_window", "from_depth": "warmup_from_depth"}
        deep = {"kind": "until-error", **{new: old[name] for new, name in names.items() if name in old}}
    new = {
        "kind": old["decay"],
        "length": old["iterations"],
        "warmup": old["warmup_iterations"],
        "deep_warmup": deep,
    }
    if old["decay"] == "steps":
        new |= _picked(old, "milestones", "factor")
    if old["decay"] == "plateau":
        names = {"evaluations": "plateau_evaluations", "threshold": "plateau_threshold", "drops": "plateau_drops"}
        new |= {**_picked(old, "factor"), **{new: old[name] for new, name in names.items() if name in old}}
    return new


def _images(old: Mapping[str, Any]) -> dict[str, Any]:
    if old["images"] == "small":
        padded = _picked(old, "pad", "pad_with")
        if old.get("pad") == 0:
            padded.pop("pad_with", None)
        return {"kind": "small", **padded}
    new = {"kind": "photos", **_picked(old, *_PHOTOS)}
    new["crop"] = {"kind": old["crop"], **_picked(old, "area" if old["crop"] == "area" else "shorter_side")}
    color: dict[str, Any] = {"kind": old["color"]}
    if old["color"] != "none" and "color_strength" in old:
        color["strength"] = old["color_strength"]
    augment: dict[str, Any] = {"kind": old["auto_augment"]}
    if old["auto_augment"] == "rand":
        names = {"operations": "rand_operations", "magnitude": "rand_magnitude"}
        augment |= {new: old[name] for new, name in names.items() if name in old}
    return {**new, "color": color, "auto_augment": augment}


def _picked(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}
