"""An experiment's report: one HTML file that needs nothing beside it, and the same table for a terminal."""

import base64
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from jinja2 import Environment, StrictUndefined

from reslab.files.atomic import write_text
from reslab.paper.figures import draw_error_curves
from reslab.paper.reference import CIFAR_ITERATIONS, CIFAR_TEST_ERRORS
from reslab.paper.results import read_results

__all__ = ["figure_path", "report_path", "table_rows", "write_report"]

_MEASURES = ("train_error", "train_error_clean", "test_error")


def figure_path(folder: Path, results: dict[str, Any]) -> Path:
    """Where an experiment's figure is."""
    return folder / f"{results['experiment']}.png"


def report_path(folder: Path) -> Path:
    """Where an experiment's report is."""
    return folder / "report.html"


def write_report(folder: Path) -> Path:
    """Draws the figure and writes report.html from a folder's results.json.

    Raises:
        ReslabError: the record is missing or damaged.
    """
    results = read_results(folder)
    picture = figure_path(folder, results)
    draw_error_curves(results, picture)
    template = files("reslab.paper").joinpath("templates/report.html.j2").read_text()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(template).render(
        results=results,
        table=table_rows(results),
        seeds=sorted({row["seed"] for row in results["rows"]}),
        figure=base64.b64encode(picture.read_bytes()).decode(),
        minutes=sum(row["train_seconds"] for row in results["rows"]) / 60,
        cost=_cost(results["rows"]),
        full_iterations=CIFAR_ITERATIONS,
    )
    write_text(report_path(folder), html)
    return report_path(folder)


def table_rows(results: dict[str, Any]) -> list[dict[str, str]]:
    """Paper and measured side by side, a row a network, as text."""
    table = []
    for network in dict.fromkeys(row["network"] for row in results["rows"]):
        rows = [row for row in results["rows"] if row["network"] == network]
        quoted = CIFAR_TEST_ERRORS.get(network)
        cells = {name: _with_spread([row[name] for row in rows if name in row]) for name in _MEASURES}
        table.append(
            {
                "network": network,
                "paper": f"{quoted} ({quoted.source})" if quoted else "-",
                **cells,
                "seeds": str(len(rows)),
                "images_per_second": f"{mean(row['images_per_second'] for row in rows):,.0f}",
            }
        )
    return table


def _with_spread(errors: Sequence[float]) -> str:
    if not errors:
        return "-"
    return f"{mean(errors):.2f} ± {stdev(errors):.2f}" if len(errors) > 1 else f"{errors[0]:.2f}"


def _cost(rows: Sequence[dict[str, Any]]) -> float:
    """Hours that these networks, one seed each, would take at the paper's 64,000 iterations of 128, at these speeds."""
    speeds: dict[str, list[float]] = {}
    for row in rows:
        speeds.setdefault(row["network"], []).append(row["images_per_second"])
    return sum(CIFAR_ITERATIONS * 128 / mean(values) for values in speeds.values()) / 3600
