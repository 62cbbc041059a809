"""Numbers that others have published, and tables of them, each with the place it stands at."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from reslab.errors import ReslabError, suggestion

__all__ = ["Quoted", "QuotedRow", "QuotedTable", "Row", "quote", "quoted_table"]

_NUMBER = r"\d[\d,]*(?:\.\d+)?"
_CELL = re.compile(rf"(?P<about>about )?(?P<value>-?{_NUMBER})(?: ± (?P<spread>{_NUMBER}))?(?P<memory>\?)?")

_MEASURED = ("error", "map", "seconds")  # in the names of columns whose values have notes and numbers of runs


@dataclass(frozen=True)
class Quoted:
    """A number that others published.

    Args:
        value: errors, accuracies and mean average precisions in %.
        source: where it stands.
        spread: standard deviation over runs, where it is stated.
        num_runs: how many runs it is of, where that is stated.
        read_off: whether it was read off a figure, and so is approximate.
        from_memory: whether it was written down from memory, and is to be checked before it decides anything.
        note: what else is to be known of it.
        decimals: that it is printed with.
    """

    value: float
    source: str
    spread: float | None = None
    num_runs: int | None = None
    read_off: bool = False
    from_memory: bool = False
    note: str = ""
    decimals: int = 2

    def __str__(self) -> str:
        if self.read_off:
            return f"about {self.value:g}"
        spread = f" ± {self.spread:.{self.decimals}f}" if self.spread is not None else ""
        return f"{self.value:,.{self.decimals}f}{spread}"


@dataclass(frozen=True)
class QuotedRow:
    """A row of a table.

    Args:
        label: as the table has it.
        values: one a column; None where the table has none.
        net: spelling of the network, where it is one of ours; or empty.
        who: measured it, where that is somebody else than the table's authors; or empty.
    """

    label: str
    values: tuple[Quoted | None, ...]
    net: str = ""
    who: str = ""


@dataclass(frozen=True)
class QuotedTable:
    """Numbers of one place, or of one kind.

    Args:
        name: by which it is found.
        title: what it shows.
        source: where it stands.
        columns: names of the values, as in "top1_error".
        rows: in the table's order.
    """

    name: str
    title: str
    source: str
    columns: tuple[str, ...]
    rows: tuple[QuotedRow, ...]

    def row(self, name: str) -> QuotedRow:
        """A row by its label or by its network's spelling.

        Raises:
            ReslabError: there is none, and the message suggests near ones; or there are several of this network.
        """
        found = [row for row in self.rows if row.label == name] or [row for row in self.rows if row.net == name != ""]
        if len(found) == 1:
            return found[0]
        if found:
            labels = "; ".join(row.label for row in found)
            raise ReslabError(f"{self.name} has several rows of {name}; give a label: {labels}.")
        known = [text for row in self.rows for text in (row.label, row.net) if text]
        hint = suggestion(name, known, f"; there are: {'; '.join(row.label for row in self.rows)}.")
        raise ReslabError(f"{self.name} has no row {name!r}{hint}")

    def value(self, row: str, column: str) -> Quoted | None:
        """A number by its row, as in `row`, and its column; None where the table has none.

        Raises:
            ReslabError: there is no such row or column.
        """
        if column not in self.columns:
            hint = suggestion(column, self.columns, f"; there are {', '.join(self.columns)}.")
            raise ReslabError(f"{self.name} has no column {column!r}{hint}")
        return self.row(row).values[self.columns.index(column)]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Row:
    """A row as it is written down in this package.

    Args:
        label: as the table has it.
        cells: texts of `quote`, joined by slashes, one a column.
        net: spelling of the network, where it is one of ours.
        who: measured it, if not the table's authors.
        source: where the row stands, if not where the table does.
        num_runs: that measured values are of.
        from_memory: whether all of it is.
        note: of all its measured values.
    """

    label: str
    cells: str
    net: str = ""
    who: str = ""
    source: str = ""
    num_runs: int | None = None
    from_memory: bool = False
    note: str = ""


def quote(text: str, source: str, *, num_runs: int | None = None, from_memory: bool = False, note: str = "") -> Quoted:
    """A number from its text, which keeps the digits that it is printed with.

    Args:
        text: `7.40`, `69,632`, `6.61 ± 0.16`; `about 9` where it was read off a figure; with a question mark behind
            it where it is from memory.
        source: where it stands.
        num_runs: that it is of.
        from_memory: whether it is, without a question mark.
        note: what else is to be known.

    Raises:
        ReslabError: the text is no number.
    """
    found = _CELL.fullmatch(text.strip())
    if found is None:
        raise ReslabError(f"cannot read the number {text!r} of {source}: write it as in 7.40, 6.61 ± 0.16 or about 9.")
    return Quoted(
        value=float(found["value"].replace(",", "")),
        source=source,
        spread=float(found["spread"]) if found["spread"] else None,
        num_runs=num_runs,
        read_off=bool(found["about"]),
        from_memory=from_memory or bool(found["memory"]),
        note=note,
        decimals=len(found["value"].partition(".")[2]),
    )


def quoted_table(name: str, title: str, source: str, columns: tuple[str, ...], rows: Iterable[Row]) -> QuotedTable:
    """A table from its rows as texts, with arguments as in `QuotedTable`.

    Raises:
        ReslabError: a row has more or fewer cells than there are columns, or a cell is no number.
    """
    made = []
    for row in rows:
        cells = [cell.strip() for cell in row.cells.split("/")]
        if len(cells) != len(columns):
            raise ReslabError(f"{name}, {row.label}: there are {len(columns)} columns, and {len(cells)} cells.")
        values: list[Quoted | None] = []
        for cell, column in zip(cells, columns, strict=True):
            if cell == "-":
                values.append(None)
                continue
            measured = any(word in column for word in _MEASURED)
            marks: dict[str, Any] = {"num_runs": row.num_runs, "note": row.note} if measured else {}
            values.append(quote(cell, row.source or source, from_memory=row.from_memory, **marks))
        made.append(QuotedRow(row.label, tuple(values), row.net, row.who))
    return QuotedTable(name, title, source, columns, tuple(made))
