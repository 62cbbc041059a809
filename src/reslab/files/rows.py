"""Rows on disk: JSON lines, each with a checksum of itself and of all the rows before it.

A row that is changed, missing, or at another place is noticed by its own checksum or by the next row's; rows that are
missing at the end are noticed by whoever keeps a mark of how far they went.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypedDict

from reslab.errors import ReslabError
from reslab.files.atomic import fsync, naming, write_text
from reslab.files.reading import reading

__all__ = ["RowLog", "RowMark"]

Row = dict[str, Any]

MOST_BYTES = 1 << 30
"""Of a file of rows: four million rows, a hundred thousand times as many as a run has by default."""
_CHECKSUM = "checksum"
_DIGITS = 32


class RowMark(TypedDict):
    """How far rows go: their number, and the checksum of the last one, which covers them all."""

    num_rows: int
    checksum: str


class RowLog:
    """A file of rows: its one reader and writer.

    Args:
        path: of the file; there need be none.
        anchor: what the rows belong to, as a digest; the first row's checksum covers it.
        error: what to raise.
        bare_too: whether rows without checksums are read, as version 0.1.0 wrote them.
    """

    def __init__(self, path: Path, *, anchor: str, error: type[ReslabError], bare_too: bool = False) -> None:
        self.path, self.anchor, self.error, self.bare_too = path, anchor, error, bare_too
        self._start()

    @property
    def mark(self) -> RowMark:
        """How far the rows go that were read or written through this object."""
        return {"num_rows": self._num_rows, "checksum": self._last}

    def read(self) -> list[Row]:
        """The rows, without their checksums; a last line that a crash cut short is left out.

        Raises:
            error: a row is damaged, missing, or not of this run.
        """
        lines = self._lines()
        whole = lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines
        try:
            return self._parse(lines)
        except self.error:
            if len(whole) == len(lines) and not self.bare_too:
                raise
        return self._parse(lines[:-1])

    def keep(self, mark: RowMark, counted_on_by: str) -> list[Row]:
        """The rows up to a mark; the file is cut after them.

        Args:
            mark: how far the rows went when it was made.
            counted_on_by: who made it, for messages.

        Raises:
            error: the rows up to there are not what they were.
        """
        lines = self._lines()[: mark["num_rows"]]  # what lies after it may be torn, and is written again
        rows = self._parse(lines)
        if self.mark != mark:
            raise self.error(
                f"{self.path} lacks rows that {counted_on_by} counts on: it has {len(rows)} of {mark['num_rows']}. "
                f"Put back a copy of it, or remove what counts on them, to go on from before."
            )
        self._rewrite(rows)
        return rows

    def keep_where(self, wanted: Callable[[Row], bool]) -> list[Row]:
        """The rows before the first one that is not wanted; the file is cut there, and every row gets its checksum.

        Raises:
            error: a row is damaged, missing, or not of this run.
        """
        rows = self.read()
        rows = rows[: next((number for number, row in enumerate(rows) if not wanted(row)), len(rows))]
        self._rewrite(rows)
        return rows

    def keep_none(self) -> None:
        """Removes all rows, whosever they are; leaves an empty file."""
        self._rewrite([])

    def append(self, row: Row) -> None:
        """Adds a row; `sync` brings it to the disk.

        Raises:
            WriteError: it cannot be written, as on a full disk; the row may be cut then, and is left out by `read`.
        """
        line = self._line(row)
        with naming(self.path), self.path.open("a", encoding="utf-8") as stream:
            stream.write(line)

    def sync(self) -> None:
        """Waits until the rows are on the disk."""
        if self.path.exists():
            with naming(self.path):
                fsync(self.path)
                fsync(self.path.parent)

    def _start(self) -> None:
        self._num_rows, self._last = 0, self.anchor

    def _lines(self) -> list[bytes]:
        if not self.path.exists():
            return []
        with reading(self.path, self.error):
            if (size := self.path.stat().st_size) > MOST_BYTES:
                raise self.error(f"{self.path} has {size:,} bytes, and {MOST_BYTES:,} are read at most.")
            return self.path.read_bytes().splitlines(keepends=True)

    def _line(self, row: Row) -> str:
        """A row as it stands in the file, with its checksum; notes it as the last one."""
        self._num_rows, self._last = self._num_rows + 1, _checksum(self._last, row)
        return json.dumps({**row, _CHECKSUM: self._last}, allow_nan=False) + "\n"

    def _parse(self, lines: Iterable[bytes]) -> list[Row]:
        self._start()
        rows: list[Row] = []
        num_bare = 0
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                stated = row.pop(_CHECKSUM, None)
                found = _checksum(self._last, row)
            except (ValueError, AttributeError, TypeError, RecursionError, MemoryError):
                raise self._damage(number) from None
            num_bare += stated is None
            if stated != found and not (stated is None and self.bare_too and num_bare == number):
                raise self._damage(number)
            rows.append(row)
            self._num_rows, self._last = number, found
        return rows

    def _damage(self, number: int) -> ReslabError:
        return self.error(
            f"{self.path}, line {number}, is damaged, or rows before it were changed or are of another run: its "
            "checksum differs. Put back a copy of the file as it was written."
        )

    def _rewrite(self, rows: list[Row]) -> None:
        """Leaves these rows in the file, and no others."""
        self._start()
        text = "".join(map(self._line, rows))
        if not self.path.exists() or b"".join(self._lines()) != text.encode():
            write_text(self.path, text)


def _checksum(before: str, row: Row) -> str:
    content = f"{before}\n{json.dumps(row, sort_keys=True, allow_nan=False)}"
    return hashlib.sha256(content.encode()).hexdigest()[:_DIGITS]
