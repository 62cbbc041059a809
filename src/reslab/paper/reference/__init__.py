"""Numbers of the paper and of others, each with the place it stands at. Importing this package imports no torch.

Errors and mean average precisions are in %. What was written down from memory says so (`Quoted.from_memory`), and so
does what was read off a figure.
"""

from typing import NamedTuple

from reslab.errors import ReslabError, suggestion
from reslab.models.zoo import base_name
from reslab.paper.reference.cifar import CIFAR_ITERATIONS, CIFAR_TABLES, CIFAR_TEST_ERRORS
from reslab.paper.reference.detection import DETECTION_TABLES
from reslab.paper.reference.follow_ups import FOLLOW_UP_TABLES
from reslab.paper.reference.imagenet import IMAGENET_TABLES
from reslab.paper.reference.others import OTHERS_TABLES
from reslab.paper.reference.quoted import Quoted, QuotedRow, QuotedTable
from reslab.paper.reference.text import TEXT_TABLES

__all__ = [
    "CIFAR_ITERATIONS",
    "CIFAR_TEST_ERRORS",
    "TABLES",
    "OthersValue",
    "Quoted",
    "QuotedRow",
    "QuotedTable",
    "find_table",
    "others_values",
    "paper_value",
]

TABLES: dict[str, QuotedTable] = {
    table.name: table
    for table in (
        *IMAGENET_TABLES,
        *CIFAR_TABLES,
        *DETECTION_TABLES,
        *TEXT_TABLES,
        *FOLLOW_UP_TABLES,
        *OTHERS_TABLES,
    )
}
"""All tables by their names: table1 to table14 and fig6 of the paper, and what stands beside them."""


class OthersValue(NamedTuple):
    """A number that others than the paper's authors published of a network.

    Args:
        who: published it.
        net: spelling of the network that it is of.
        quoted: the number.
        table: name of the table that it is in.
    """

    who: str
    net: str
    quoted: Quoted
    table: str


def find_table(name: str) -> QuotedTable:
    """A table by its name.

    Raises:
        ReslabError: there is none; the message suggests near ones.
    """
    if name not in TABLES:
        hint = suggestion(name, TABLES, f"; there are {', '.join(TABLES)}.")
        raise ReslabError(f"there is no table {name!r}{hint}")
    return TABLES[name]


def paper_value(table: str, row: str, column: str) -> Quoted | None:
    """A number by its place.

    Args:
        table: a name in `TABLES`, such as "table3".
        row: its label or its network's spelling: "ResNet-34 C" or "resnet34[shortcut=C]".
        column: such as "top1_error".

    Returns:
        The number; None where the table has none.

    Raises:
        ReslabError: there is no such table, row or column.
    """
    return find_table(table).value(row, column)


def others_values(net: str, what: str) -> tuple[OthersValue, ...]:
    """What others published of a network.

    Args:
        net: name or spelling. Fields in brackets do not count, since others choose theirs: each number says which
            network it is of.
        what: name of a column: "test_error" (CIFAR-10), "top1_error", "top5_error" (ImageNet, one crop),
            "top1_error_10_crop".

    Returns:
        The numbers, in the order of the tables; none where nobody published any.
    """
    return tuple(
        OthersValue(row.who, row.net, found, table.name)
        for table in TABLES.values()
        if what in table.columns
        for row in table.rows
        if row.who and row.net and base_name(row.net) == base_name(net)
        if (found := row.values[table.columns.index(what)]) is not None
    )
