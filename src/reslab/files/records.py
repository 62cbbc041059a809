"""Records on disk: JSON tables that say which version of their form they have."""

import json
from pathlib import Path
from typing import Any

from reslab.errors import ReslabError

__all__ = ["read_record"]


def read_record(path: Path, *, schema_version: int | None, error: type[ReslabError], if_missing: str) -> dict[str, Any]:
    """Reads a JSON table.

    Args:
        path: of the file.
        schema_version: that it must state; None where the form has no version.
        error: what to raise.
        if_missing: the message where there is no such file.

    Raises:
        error: the file is missing, damaged, no table, or of another version.
    """
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        raise error(if_missing) from None
    except (OSError, ValueError, RecursionError) as problem:
        raise error(f"{path} is damaged: {problem}.") from None
    if not isinstance(record, dict):
        raise error(f"{path} is damaged: it holds no table.")
    if schema_version is not None and record.get("schema_version") != schema_version:
        raise error(f"{path} is not a record of schema version {schema_version}.")
    return record
