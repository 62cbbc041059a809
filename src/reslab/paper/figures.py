"""The experiments' figures, drawn from their records."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from reslab.analysis.plots import save_figure
from reslab.training.recipe import Steps
from reslab.training.recipe_files import recipe_from_dict

__all__ = ["draw_error_curves"]

_COLORS = {20: "#e0a800", 32: "#2ca02c", 44: "#17a2b8", 56: "#c0392b", 110: "#000000"}


def draw_error_curves(results: dict[str, Any], path: Path) -> None:
    """Error against iterations in the manner of Fig. 6: plain nets left, ResNets right; training dashed, test bold.

    With several seeds, lines are means and bands reach from the lowest to the highest.
    """
    curves: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for curve in results["curves"]:
        curves[curve["network"]].append(curve)
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, family in zip(panels, ("plain", "resnet"), strict=True):
        for network, own in curves.items():
            if not network.startswith(family):
                continue
            depth = int(network.removeprefix(family))
            color = _COLORS.get(depth)
            for x, y, style, width in (
                ("iteration", "train_error", "--", 1.0),
                ("test_iteration", "test_error", "-", 2.4),
            ):
                if not own[0][x]:
                    continue
                values = np.array([_smoothed(curve[x], curve[y]) if y == "train_error" else curve[y] for curve in own])
                kind = "train" if y == "train_error" else "test"
                axes.plot(
                    own[0][x], values.mean(axis=0), style, color=color, linewidth=width, label=f"{network} {kind}"
                )
                if len(own) > 1:
                    axes.fill_between(own[0][x], values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, lw=0)
        schedule = recipe_from_dict(results["recipe"]).schedule
        for number, milestone in enumerate(schedule.milestones if isinstance(schedule, Steps) else ()):
            label = "rate divided by 10" if number == 0 else None
            axes.axvline(int(milestone), color="0.6", linewidth=0.8, linestyle=":", zorder=0, label=label)
        axes.set(xlabel="iteration", title="plain nets" if family == "plain" else "residual nets")
        axes.grid(alpha=0.25)
        axes.legend(fontsize="small")
    panels[0].set(ylabel="error (%)", ylim=(0, 100))
    seeds = sorted({curve["seed"] for curve in results["curves"]})
    spoken = f"{len(seeds)} seeds: mean, lowest to highest" if len(seeds) > 1 else f"seed {seeds[0]}"
    figure.suptitle(f"{results['title']} ({results['source']})\nreduced: {results['reduced']}; {spoken}", fontsize=11)
    save_figure(figure, path)


def _smoothed(ends: list[int], errors: list[float], window: int = 3) -> list[float]:
    """Running mean, each row weighted by its iterations: a point is the error of few images, and of a row that an
    evaluation or the end cut short of very few, and the eye needs the trend."""
    weights = np.diff(np.array([0, *ends]))
    places = ((max(0, end - window), end) for end in range(1, len(errors) + 1))
    return [float(np.average(errors[start:end], weights=weights[start:end])) for start, end in places]
