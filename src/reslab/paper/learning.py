"""What the page for learning shows: curves, responses and gradients of the records, by network and start."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from reslab.errors import ReslabError
from reslab.models.zoo import parse_model
from reslab.paper.record import Record

__all__ = ["lessons"]

_POINTS = 120  # of a curve
_STARTS = {"fan_out": "He", "fan_in": "He", "normal": "normal 0.01", "xavier": "Xavier"}
_STARTS |= {"identity": "identity", "looks-linear": "looks-linear", "torch": "torch's"}
_USUAL = parse_model("resnet20")
_CHOSEN = {"blocks", "shortcut", "init", "norm", "num_classes", "in_channels"}  # in which nets of the page differ


def lessons(records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """Every arm that was trained, or whose gradients were taken at the start, with what its sliders stand at and what
    there is to be seen of it."""
    found = []
    for name, record in records.items():
        for arm in record.arm_names:
            described = record.arm(arm)
            seen = record.series("errors", arm) or record.series("growth", arm)
            if not described["net"] or described["fields"] or not seen:
                continue
            place = _place(described["net"])
            if place is not None:
                found.append({**place, "arm": arm, "data": record.data["name"], "record": name, **_seen(record, arm)})
    return found


def _place(net: str) -> dict[str, Any] | None:
    """Where a network stands on the sliders; None where something else about it is unusual."""
    try:
        spec = parse_model(net)
    except ReslabError:
        return None
    fixed = {field.name for field in fields(spec)} - _CHOSEN
    if any(getattr(spec, name) != getattr(_USUAL, name) for name in fixed) or spec.norm not in ("batch", "none"):
        return None
    return {
        "depth": spec.depth,
        "shortcut": spec.shortcut,
        "start": _STARTS[spec.init] + ("" if spec.norm == "batch" else ", without BN"),
    }


def _seen(record: Record, arm: str) -> dict[str, Any]:
    """Means over seeds of what was measured."""
    errors = record.series("errors", arm)
    seen: dict[str, Any] = {"seeds": record.num_seeds, "iterations": 0, "curve": [], "test": []}
    if errors:
        seen |= {
            "seeds": len(errors),
            "iterations": errors[0]["iteration"][-1],
            "curve": _curve(errors, "iteration", "train_error"),
            "test": _curve(errors, "test_iteration", "test_error"),
        }
    if responses := [item for item in record.series("responses", arm) if "response" in item]:
        seen["responses"] = _mean([item["response"] for item in responses])
    if signals := record.series("signals", arm):
        seen["gradients"] = _mean([item["gradient"][0] for item in signals])
        seen.setdefault("responses", _mean([item["response"][-1] for item in signals]))
    elif growth := record.series("growth", arm):
        seen["gradients"] = _mean([item["gradient"] for item in growth])
    return seen


def _curve(items: list[dict[str, Any]], x: str, y: str) -> list[list[float]]:
    places, values = items[0][x], _mean([item[y] for item in items])
    step = max(1, len(places) // _POINTS)
    return [[place, value] for place, value in zip(places, values, strict=True)][::step]


def _mean(rows: list[list[float]]) -> list[float]:
    values = np.array([[np.nan if number is None else number for number in row] for row in rows], dtype=float)
    return [float(f"{value:.4g}") if np.isfinite(value) else 0.0 for value in values.mean(axis=0)]
