"""A run's folder: its one reader and writer. Importing this module imports no torch.

run.json                what was asked for and what was chosen; written once, when the run starts
metrics.jsonl           one row every so many iterations
checkpoints/            states to resume from
result.json             the last figures; written when the run is finished
weights.safetensors     with card.json, and normalization.safetensors where the mean is per pixel
curves.png
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from reslab.errors import CheckpointError
from reslab.files.atomic import write_json, write_text
from reslab.files.records import read_record

__all__ = ["Run", "describe_run", "find_runs"]

_SCHEMA = 1


@dataclass(frozen=True)
class Run:
    """A run's folder.

    Args:
        folder: that has, or will have, the run's files.
    """

    folder: Path

    @property
    def record_path(self) -> Path:
        return self.folder / "run.json"

    @property
    def metrics_path(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.record_path.is_file()

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return (self.folder / "result.json").is_file()

    @cached_property
    def record(self) -> dict[str, Any]:
        """What run.json says.

        Raises:
            CheckpointError: there is no run, or its record is damaged or of another version.
        """
        return _read(self.record_path, _SCHEMA)

    def start(self, record: dict[str, Any]) -> None:
        """Writes run.json."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_json(self.record_path, {"schema_version": _SCHEMA, **record})

    def finish(self, result: dict[str, Any]) -> None:
        """Writes result.json, by which a run is known to be finished."""
        write_json(self.folder / "result.json", result)

    def result(self) -> dict[str, Any]:
        """What result.json says.

        Raises:
            CheckpointError: the run is not finished, or the file is damaged.
        """
        return _read(self.folder / "result.json", None)

    def append_row(self, row: dict[str, Any]) -> None:
        """Adds a row to metrics.jsonl."""
        with self.metrics_path.open("a") as stream:
            stream.write(json.dumps(row, allow_nan=False) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; a last line that a crash cut short is left out."""
        try:
            lines = self.metrics_path.read_text().splitlines()
        except FileNotFoundError:
            return []
        rows = []
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(json.loads(line))
            except ValueError:
                if number < len(lines):
                    raise CheckpointError(f"{self.metrics_path}, line {number}, is damaged.") from None
        return rows

    def forget_rows_after(self, iteration: int) -> None:
        """Drops the rows that a resumed run will write again."""
        kept = [row for row in self.rows() if row["iteration"] <= iteration]
        write_text(self.metrics_path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in kept))

    @contextmanager
    def lock(self, *, wait_seconds: float = 5.0) -> Iterator[None]:
        """Held while the run is written to.

        Args:
            wait_seconds: for another process that may be about to end.

        Raises:
            CheckpointError: another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=wait_seconds)
        except Timeout:
            raise CheckpointError(f"another process is writing to {self.folder}; wait for it or stop it.") from None
        try:
            yield
        finally:
            lock.release()


def find_runs(folder: Path) -> Iterable[Run]:
    """The runs under a folder, by path."""
    return (Run(path.parent) for path in sorted(folder.rglob("run.json")))


def _read(path: Path, schema_version: int | None) -> dict[str, Any]:
    missing = f"there is no {path}: no run was started there, or it is not finished."
    return read_record(path, schema_version=schema_version, error=CheckpointError, if_missing=missing)


def describe_run(run: Run) -> dict[str, Any]:
    """A run in a row: what it is, how far it is, and its last errors, in %, None where there are none yet.

    Raises:
        CheckpointError: the run is damaged.
    """
    record, rows = run.record, run.rows()
    last: dict[str, Any] = {}
    for row in rows:
        last |= row
    if run.finished:
        last |= run.result()
    try:
        return {
            "run": str(run.folder),
            "model": record["model"],
            "data": record["data"]["name"],
            "recipe": record["recipe"]["name"],
            "seed": record["seed"],
            "iteration": rows[-1]["iteration"] if rows else 0,
            "iterations": record["recipe"]["schedule"]["iterations"],
            "finished": run.finished,
            **{name: last.get(name) for name in ("train_error", "val_error", "test_error")},
        }
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{run.record_path} is damaged: it lacks {error}.") from None
