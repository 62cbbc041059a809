"""Records on disk: JSON tables that say which version of their form they have, and with which checksum."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from reslab.errors import ReslabError
from reslab.files.atomic import json_text, write_text
from reslab.files.hashing import hash_json
from reslab.files.reading import reading

__all__ = ["CHECKSUM", "read_record", "record_text", "write_record"]

CHECKSUM = "checksum"
"""Name of the entry that has it."""
MOST_BYTES = 64 << 20
"""Of a record: a hundred times the largest of ours. Read, JSON takes up to twenty times as much memory."""


def record_text(record: Mapping[str, Any]) -> str:
    """A table as JSON that ends with the checksum of all else in it, as `read_record` verifies it."""
    values = {name: value for name, value in record.items() if name != CHECKSUM}
    return json_text({**values, CHECKSUM: hash_json(values)})


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Replaces a file atomically with a table and its checksum."""
    write_text(path, record_text(record))


def read_record(
    path: Path,
    *,
    schema_version: int | None,
    error: type[ReslabError],
    if_missing: str,
    older: Collection[int | None] = (),
    checksum: bool = False,
) -> dict[str, Any]:
    """Reads a JSON table, without its checksum.

    Args:
        path: of the file.
        schema_version: that it must state; None where the form has no version.
        error: what to raise.
        if_missing: the message where there is no such file.
        older: versions that are read as well, and had no checksum; None among them for a form without a version.
        checksum: whether a table of this version must have one. One that is there is verified in any case.

    Raises:
        error: the file is missing, damaged, no table, of another version, or not what was written.
    """
    if not path.exists():
        raise error(if_missing)
    with reading(path, error):
        if (size := path.stat().st_size) > MOST_BYTES:
            raise error(f"{path} is no record of reslab's: it has {size:,} bytes, and {MOST_BYTES:,} are read at most.")
        text = path.read_text(encoding="utf-8")
        if not text.strip("\0 \t\r\n"):
            raise error(f"{path} is damaged: it is empty, or holds nothing but zeros; put back a copy of the file.")
        record = json.loads(text)
    if not isinstance(record, dict):
        raise error(f"{path} is damaged: it holds no table.")
    version = record.get("schema_version")
    known = not isinstance(version, bool | float | dict | list) and version in (schema_version, *older)
    if schema_version is not None and not known:
        raise error(f"{path} is not a record of schema version {schema_version}.")
    stated = record.pop(CHECKSUM, None)
    if stated is None and checksum and version not in older:
        raise error(f"{path} is damaged: it lacks its checksum; put back a copy of the file as it was written.")
    if stated is not None and stated != _checksum(record):
        raise error(
            f"{path} is damaged, or was changed after it was written: its checksum differs; "
            "put back a copy of the file as it was written."
        )
    return record


def _checksum(record: dict[str, Any]) -> str:
    try:
        return hash_json(record)
    except (ValueError, RecursionError):  # numbers that nobody writes, NaN for example
        return ""
