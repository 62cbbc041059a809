"""One model of a table, as text for a terminal, Markdown and HTML. Importing this module imports no torch."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from reslab.paper.catalogue import Column
from reslab.paper.record import Record
from reslab.paper.reference import QuotedTable

__all__ = ["Table", "main_table", "quoted_table", "verdict_lines", "verdict_table", "with_spread"]

_MARK = "†"


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Args:
        headings: of the columns.
        rows: cells.
        right: numbers of the columns that are numbers, and set flush right.
        note: a sentence below it.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()
    note: str = ""

    def to_markdown(self) -> str:
        """As a table of Markdown, numbers flush right."""
        marks = ["---:" if place in self.right else "---" for place in range(len(self.headings))]
        rows = [[cell.replace("|", "\\|") for cell in row] for row in (self.headings, *self.rows)]
        lines = [rows[0], marks, *rows[1:]]
        text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"{text}\n\n{self.note}\n" if self.note else f"{text}\n"

    def to_html(self, identity: str) -> str:
        """As a table element with an id."""

        def row(cells: Sequence[str], tag: str) -> str:
            made = []
            for place, cell in enumerate(cells):
                kind = ' class="number"' if place in self.right else ""
                made.append(f"<{tag}{kind}>{html.escape(cell)}</{tag}>")
            return f"<tr>{''.join(made)}</tr>"

        body = "\n".join(row(cells, "td") for cells in self.rows)
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        return (
            f'<div class="scroll"><table id="{identity}"><thead>{row(self.headings, "th")}</thead>\n'
            f"<tbody>{body}</tbody></table></div>{note}"
        )


_WHOLE, _LARGE = 1_000.0, 1e7  # from where on numbers have no digits after the point, and are in powers of ten


def with_spread(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation over seeds; a dash where nothing was measured."""
    if not values:
        return "-"
    if not all(map(math.isfinite, values)):
        reached = [value for value in values if math.isfinite(value)]
        return f"{len(values) - len(reached)} of {len(values)} never" if len(values) > 1 else "never"
    middle = mean(values)
    digits = digits if abs(middle) < _WHOLE else 0
    shown = _number(middle, digits)
    if len(values) == 1:
        return shown
    return f"{shown} ± {stdev(values):.2g}" if abs(middle) >= _LARGE else f"{shown} ± {_number(stdev(values), digits)}"


def _number(value: float, digits: int) -> str:
    """A number with so many digits after the point, or in powers of ten where that would show nothing of it."""
    if value != 0 and (abs(value) < 0.5 * 10**-digits or abs(value) >= _LARGE):
        return f"{value:.2g}"
    return f"{value:,.{digits}f}"


def main_table(record: Record) -> Table:
    """The arms of a record: the paper's numbers beside ours."""
    names = record.arm_names
    columns: list[tuple[str, list[str]]] = []
    for column in record.experiment.columns:
        if not _shown(record, column):
            continue
        words, place = column.heading.removesuffix(" %"), _paper_data(record)
        unit = " %" if column.heading.endswith(" %") else ""
        paper = [record.paper_value(name, column) for name in names]
        if any(paper):
            columns.append(
                (f"paper: {words}, {place}{unit}", ["-" if value is None else str(value) for value in paper])
            )
        others = [_range(record.others_values(name, column)) for name in names]
        if any(cell != "-" for cell in others):
            columns.append((f"others, {place}{unit}", others))
        ours = [_shown_values(record.values(name, column.value), column) for name in names]
        columns.append((column.heading, ours))
    columns.append(("n", [str(len(record.rows(name))) for name in names]))
    headings = ("arm", *(heading for heading, _ in columns))
    rows = tuple(zip(names, *(cells for _, cells in columns), strict=True))
    return Table(headings, rows, tuple(range(1, len(headings))))


def _shown_values(values: Sequence[float], column: Column) -> str:
    return with_spread([min(values)] if values and column.best else values, column.digits)


def _range(values: Sequence[float]) -> str:
    """What others have, from the lowest to the highest, with their number."""
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{low:.2f}" if len(values) == 1 else f"{low:.2f} to {high:.2f} ({len(values)})"


def _paper_data(record: Record) -> str:
    data = record.experiment.setting.data
    return {"cifar10": "CIFAR-10", "imagenet": "ImageNet"}.get(data, data)


def _shown(record: Record, column: Column) -> bool:
    return any(record.values(name, column.value) for name in record.arm_names)


def verdict_table(record: Record) -> Table:
    """The claims, whether they held, and by which figures."""
    rows = tuple(
        (item["claim"], item["source"], item["outcome"], item["explanation"], item["basis"])
        for item in record.content["verdicts"]
    )
    return Table(("claim", "where it is made", "here", "figures", "rests on"), rows)


def verdict_lines(record: Record) -> list[str]:
    """The verdicts for a terminal: the outcome and the claim, and below them the figures."""
    return [
        f"{item['outcome'] + ':':<10} {item['claim']}\n           {item['explanation']}"
        for item in record.content["verdicts"]
    ]


def quoted_table(table: QuotedTable) -> Table:
    """Numbers of the paper or of others, as they stand there."""
    columns = [place for place in range(len(table.columns)) if any(row.values[place] is not None for row in table.rows)]
    headings = [table.columns[place].replace("_", " ") for place in columns]
    rows = []
    memory = False
    for row in table.rows:
        values = [row.values[place] for place in columns]
        memory = memory or any(value is not None and value.from_memory for value in values)
        rows.append((row.label, *("-" if value is None else f"{value}{_MARK * value.from_memory}" for value in values)))
    note = f"{table.title} ({table.source})." + (f" {_MARK} from memory, to be checked." if memory else "")
    return Table(("", *headings), tuple(rows), tuple(range(1, 1 + len(columns))), note)
