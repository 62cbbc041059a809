"""What measures found, as files in the folder of runs. Importing this module imports no torch."""

from pathlib import Path
from typing import Any

from reslab.errors import ReslabError
from reslab.files.records import read_record, write_record
from reslab.paper.catalogue import Measure
from reslab.paper.jobs import Job, measure_key
from reslab.paper.measures import Measured

__all__ = ["measure_path", "read_measure", "write_measure"]

_SCHEMA = 1


def measure_path(store: Path, measure: Measure, job: Job) -> Path:
    """Where what a measure found is kept."""
    return store / "measures" / f"{measure.name}-{measure_key(measure, job)[:16]}.json"


def read_measure(store: Path, measure: Measure, job: Job) -> dict[str, Any]:
    """What a measure found, as `Measured.to_dict` has it.

    Raises:
        ReslabError: it was not taken, or its file is damaged.
    """
    path = measure_path(store, measure, job)
    missing = f"there is no {path}: {job.name} has not been measured; run the experiment again."
    return read_record(path, schema_version=_SCHEMA, error=ReslabError, if_missing=missing, checksum=True)


def write_measure(store: Path, measure: Measure, job: Job, found: Measured) -> None:
    """Keeps what a measure found."""
    path = measure_path(store, measure, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    described = {"measure": measure.to_dict(), "arm": job.arm, "seed": job.subject.seed}
    write_record(path, {"schema_version": _SCHEMA, **described, **found.to_dict()})
