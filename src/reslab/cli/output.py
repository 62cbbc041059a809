"""What commands print: results on stdout as tables, sentences or JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["JSON_HELP", "count", "output_console", "print_json", "print_table", "show_size", "told_errors"]

JSON_HELP = "Print JSON."


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
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    print()


def show_size(num_bytes: int) -> str:
    """In megabytes or kilobytes."""
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:,.1f} kB"


def count(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 class`, `2,000 classes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def told_errors(record: dict[str, Any], num_classes: int) -> str:
    """A record's error rates as words; five answers of five classes or fewer are never wrong, and not worth a word."""
    top5 = f", top-5 error {record['top5_error']:.2f} %" if num_classes > 5 else ""
    return f"top-1 error {record['top1_error']:.2f} %{top5}"
