"""An experiment's report: one HTML file that needs nothing beside it."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from reslab.analysis.pages import inline_svg, render_page
from reslab.files.atomic import write_text
from reslab.paper.experiments import note_parts
from reslab.paper.figures import draw_figures
from reslab.paper.record import Record
from reslab.paper.tables import Table, main_table, verdict_table

__all__ = ["REPORT_NAME", "contents", "figure_file", "page", "report_path", "write_figures", "write_report"]

REPORT_NAME = "report.html"


def report_path(folder: Path) -> Path:
    """Where an experiment's report is."""
    return folder / REPORT_NAME


def write_report(folder: Path) -> Path:
    """Writes report.html, and every figure as an SVG beside it, from a folder's results.json.

    Raises:
        ReslabError: the record is missing or damaged.
    """
    record = Record.read(folder)
    figures = write_figures(record, folder)
    write_text(report_path(folder), page("report.html.j2", **contents(record, figures)))
    return report_path(folder)


def write_figures(record: Record, folder: Path) -> list[tuple[str, str]]:
    """Writes every figure as an SVG beside the record; names and SVGs."""
    figures = list(draw_figures(record))
    for name, svg in figures:
        write_text(folder / figure_file(name), svg)
    return figures


def figure_file(name: str) -> str:
    """Name of a figure's file."""
    return f"{name.replace(' ', '-')}.svg"


def contents(record: Record, figures: list[tuple[str, str]]) -> dict[str, Any]:
    """What a page on a record shows."""
    content = record.content
    verdicts = verdict_table(record)
    paragraphs, commands = note_parts(content["experiment"])
    return {
        "record": record,
        "results": content,
        "paragraphs": paragraphs,
        "commands": commands,
        "figures": [(name, inline_svg(svg)) for name, svg in figures],
        "table": Markup(main_table(record).to_html("errors")),
        "verdicts": [dict(zip(_VERDICT, row, strict=True)) for row in verdicts.rows],
        "deviations": content["deviations"],
        "runs": Markup(_run_table(record).to_html("runs")),
    }


_VERDICT = ("claim", "source", "outcome", "figures", "basis")


def page(template: str, **values: Any) -> str:
    """A page of HTML from one of the templates."""
    return render_page("reslab.paper", template, **values)


def _run_table(record: Record) -> Table:
    """Every arm and seed, with the values that the table shows."""
    columns = list(record.experiment.columns)
    columns = [column for column in columns if any(column.value in row["values"] for row in record.all_rows)]
    rows = []
    for row in record.all_rows:
        values = [row["values"].get(column.value) for column in columns]
        cells = [
            "-" if value is None else f"{value:,.{column.digits}f}"
            for column, value in zip(columns, values, strict=True)
        ]
        rows.append((row["arm"], str(row["seed"]), f"{row['iterations']:,}", *cells, row["run"] or "-"))
    headings = ("arm", "seed", "iterations", *(column.heading for column in columns), "run")
    return Table(headings, tuple(rows), right=tuple(range(1, 3 + len(columns))))
