"""What commands print: results on stdout as tables, sentences or JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reslab.fields import knob
from reslab.streams import stdout_takes

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["JSON_HELP", "JsonArguments", "output_console", "print_json", "print_report", "print_table"]

JSON_HELP = "Print JSON."


@dataclass(frozen=True, kw_only=True)
class JsonArguments:
    json: bool = knob(False, JSON_HELP)


def output_console() -> "Console":
    """Where tables go: brackets are text there, and outside a terminal nothing is squeezed into 80 columns."""
    from rich.console import Console

    console = Console(markup=False)
    return console if console.is_terminal else Console(markup=False, width=160)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """A table without lines; where it does not fit, cells take several lines, and none is cut.

    Args:
        headings: of the columns.
        rows: of texts.
        right: headings of columns of numbers.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    output_console().print(table)


def print_json(value: Any) -> None:
    """Prints a result for programs."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    print(text if stdout_takes(text) else json.dumps(value, indent=2, allow_nan=False))


def print_report(report: Any, as_json: bool, *, and_then: Path | None = None, **first: Any) -> int:
    """Prints what was done, in its own words or for programs.

    Args:
        report: that has `to_dict()`, and may have a `note` for stderr.
        as_json: for programs.
        and_then: file or folder to name behind its words, where there is one.
        **first: what JSON says before the report.

    Returns:
        Exit code 0.
    """
    if getattr(report, "note", ""):
        print(report.note, file=sys.stderr)
    if as_json:
        print_json({**first, **report.to_dict()})
    else:
        print(report, *[and_then] * (and_then is not None), sep="\n")
    return 0
