"""Moving images that cannot be used out of a folder, with a note on why."""

import shutil
from pathlib import Path
from typing import Any

from reslab.data.findings import UNUSABLE, CheckReport, ShardReport
from reslab.errors import DataError
from reslab.files.atomic import write_json
from reslab.files.records import read_record

__all__ = ["quarantine"]


def quarantine(folder: Path, report: CheckReport | ShardReport, into: Path) -> list[str]:
    """Moves the images that cannot be used out of a folder, and writes `quarantine.json`, which says why.

    Args:
        folder: that was checked.
        report: what was found; of shards nothing is moved.
        into: another folder on any file system; the images keep their paths below it.

    Returns:
        The paths that were moved.

    Raises:
        DataError: the quarantine lies in the folder, or has one of the files already.
    """
    if into.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"the quarantine {into} lies in {folder} itself, and would be read with it; choose another.")
    if isinstance(report, ShardReport):
        return []
    unusable = [finding for finding in report.findings if finding.problem in UNUSABLE]
    for finding in unusable:
        if (into / finding.path).exists():
            raise DataError(f"{into / finding.path} is there already; choose another quarantine.")
    if unusable:
        into.mkdir(parents=True, exist_ok=True)
        notes = into / "quarantine.json"
        earlier: dict[str, Any] = {"moves": []}
        if notes.exists():
            earlier = read_record(notes, schema_version=None, error=DataError, if_missing="")
        move = {"from": str(folder), "findings": [item.to_dict() for item in unusable]}
        write_json(notes, {"moves": [*earlier.get("moves", []), move]})
    for finding in unusable:
        (into / finding.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / finding.path, into / finding.path)
    return [finding.path for finding in unusable]
