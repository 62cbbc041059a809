"""Numbers of the paper's own tables, as values: what its text says of them can be judged, too."""

from reslab.paper.measures import Measured
from reslab.paper.reference import find_table
from reslab.paper.subjects import MeasuredNetwork

__all__ = ["quotes"]


def quotes(subject: MeasuredNetwork, *, table: str, row: str) -> Measured:
    """A row of a table in `reslab.paper.reference`, each number by its column's name.

    Args:
        subject: is not looked at.
        table: name of the table.
        row: its label.
    """
    found = find_table(table)
    values = zip(found.columns, found.row(row).values, strict=True)
    return Measured(values={name: value.value for name, value in values if value is not None})
