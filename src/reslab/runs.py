"""A run's folder: its one reader and writer. Importing this module imports no torch.

run.json                what was asked for and what was chosen; written when the run starts
metrics.jsonl           one row every so many iterations
checkpoints/            states to resume from
result.json             the last figures; written when the run is finished
weights.safetensors     with card.json, and normalization.safetensors where the mean is per pixel
curves.png

Every file but the picture carries a checksum, or is covered by the card's, and whoever reads it verifies it. Version
0.1.0 wrote only the weights' one; its runs, of schema version 1, are read as they are.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from reslab.errors import CheckpointError
from reslab.files.hashing import hash_json
from reslab.files.reading import reading
from reslab.files.records import read_record, write_record
from reslab.files.rows import RowLog, RowMark
from reslab.files.sets import finish_replacement
from reslab.files.shapes import Shape, check_shape

__all__ = ["HeldRun", "Run", "asked_digest", "describe_run", "find_runs"]

_SCHEMA = 2
_FIRST_SCHEMA = 1  # version 0.1.0's, without checksums
# What is read of each file here, by its kinds (`reslab.files.shapes`); what version 0.1.0 did not write may be missing.
_RUN: Shape = {
    "model": str,
    "task?": str,
    "data": {"name": str, "splits": dict},
    "recipe": {
        "name": str,
        "data?": {"batch_size?": int, "val_images?": int, "pad_with?": str},
        "monitoring?": {"weights?": str},
        "hardware?": dict,
        "schedule?": dict,
    },
    "seed": int,
    "data_spec?": (str, None),
    "val_images?": int,
    "val_names?": [str],
    "weights?": (str, None),
    "shards?": int,
    "test_curve?": bool,
    "iterations?": int,
    "execution?": dict,
    "classes?": [str],
}
_ERRORS = ("train_error", "train_error_clean", "val_error", "test_error")
_FIGURES: Shape = {
    "train_error": float,
    **{f"{name}?": (float, None) for name in (*_ERRORS[1:], "images_per_second", "train_seconds")},
    **{f"{name}?": (str, None) for name in ("model", "data", "recipe", "asked")},
    **{
        f"{name}?": (int, None) for name in ("iterations", "stopped_at", "seed", "warmup_ended_at", "peak_memory_bytes")
    },
    **{f"num_{name}_images?": (int, None) for name in ("train_clean", "val", "test")},
    "rows?": {"num_rows": int, "checksum": str},
}
_ROW: Shape = {
    "iteration": int,
    **{f"{name}?": (float, None) for name in (*_ERRORS, "loss", "learning_rate", "images_per_second")},
}
_OF_THE_FILE = ("schema_version", "asked", "rows")  # what result.json has besides the figures
# Beginnings of the names of temporary files that are written under the lock; eval writes others without it.
_LOCKED = (".run.", ".metrics.", ".result.", ".weights.", ".card.", ".normalization.", ".curves.", "..replacing-")


def asked_digest(asked: Mapping[str, Any]) -> str:
    """Hex sha256 of what decides a run's weights: its checkpoints and rows state it, and belong to no other run.

    Args:
        asked: the record of what was asked for, as run.json has it: `model`, `data`, `recipe`, `seed`, `weights` (the
            initial ones) and `shards` (of a batch).
    """
    recipe, splits = dict(asked["recipe"]), asked["data"]["splits"]
    # Processes that decode photos change nothing, and a resume may have others.
    recipe["hardware"] = {name: value for name, value in recipe.get("hardware", {}).items() if name != "workers"}
    return hash_json(
        {
            "model": asked["model"],
            "data": {role: splits[role]["sha256"] for role in ("train", "val") if role in splits},
            "recipe": recipe,
            "seed": asked["seed"],
            "weights": asked.get("weights"),
            "shards": asked.get("shards", 1),
        }
    )


@dataclass(frozen=True)
class HeldRun:
    """A run's folder while this process may write to it.

    Args:
        lock_path: the file that is locked.
        record_path: run.json.
        inode: of the locked file.
    """

    lock_path: Path
    record_path: Path
    inode: int

    def check(self) -> None:
        """Raises CheckpointError if the folder was removed or replaced since; what is written now would be lost."""
        try:
            there = self.lock_path.stat().st_ino == self.inode and self.record_path.is_file()
        except OSError:
            there = False
        if not there:
            raise CheckpointError(
                f"{self.record_path.parent} was removed or replaced while the run was being trained; nothing more can "
                "be saved there. Start the run again."
            )


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
        record = _read(self.record_path, (_FIRST_SCHEMA,))
        check_shape(self.record_path, record, _RUN, CheckpointError)
        for role, split in record["data"]["splits"].items():
            check_shape(self.record_path, split, {"sha256": str}, CheckpointError, at=f"data.splits.{role}")
        return record

    @property
    def has_checksums(self) -> bool:
        """Whether all its files have them; those of version 0.1.0 had none."""
        return bool(self.record["schema_version"] != _FIRST_SCHEMA)

    @cached_property
    def asked(self) -> str:
        """The digest of what was asked for, which its checkpoints and rows state.

        Raises:
            CheckpointError: as for `record`.
        """
        record = self.record
        with reading(self.record_path, CheckpointError):
            return asked_digest(record)

    @property
    def data(self) -> dict[str, Any]:
        """What the record says of the images: of those that the run began with, or that were accepted last instead."""
        accepted = self.record.get("accepted_data") or [self.record]
        return dict(accepted[-1]["data"])

    def start(self, record: dict[str, Any]) -> None:
        """Writes run.json."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_record(self.record_path, {"schema_version": _SCHEMA, **record})

    def note(self, **values: Any) -> None:
        """Writes into run.json what is no part of what was asked for; for whoever holds the lock."""
        write_record(self.record_path, {**self.record, **values})
        self.__dict__.pop("record")

    def finish(self, result: dict[str, Any], rows: RowMark) -> None:
        """Writes result.json, by which a run is known to be finished.

        Args:
            result: the last figures.
            rows: how far metrics.jsonl goes.
        """
        described = {"schema_version": _SCHEMA, **result, "asked": self.asked, "rows": rows}
        write_record(self.folder / "result.json", described)

    def figures(self) -> dict[str, Any]:
        """The last figures, as result.json has them.

        Raises:
            CheckpointError: the run is not finished, or the file is damaged.
        """
        result = self._result()
        return {name: value for name, value in result.items() if name not in _OF_THE_FILE}

    def rows(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; a last line that a crash cut short is left out.

        Raises:
            CheckpointError: rows are damaged, missing, or of another run.
        """
        if not self.exists:
            return []
        log = self.row_log()
        rows = log.read()
        for number, row in enumerate(rows, start=1):
            check_shape(f"{self.metrics_path}, line {number},", row, _ROW, CheckpointError)
        if self.finished and self._result().get("rows", log.mark) != log.mark:
            raise CheckpointError(
                f"{self.metrics_path} has other rows than the run had when it was finished; put back a copy of it."
            )
        return rows

    def row_log(self) -> RowLog:
        """Reads and writes metrics.jsonl."""
        return RowLog(self.metrics_path, anchor=self.asked, error=CheckpointError, bare_too=not self.has_checksums)

    def _remove_leftovers(self) -> None:
        """Removes temporary files of a process that was killed; nobody writes them without the lock."""
        for path in [*self.folder.glob(".*.partial"), *self.checkpoints.glob(".*.partial")]:
            if path.parent == self.checkpoints or path.name.startswith(_LOCKED):
                path.unlink(missing_ok=True)

    def check_belongings(self) -> None:
        """Raises CheckpointError if the folder has the result of a run and no run.json that says of which."""
        if self.finished and not self.exists:
            raise CheckpointError(
                f"{self.folder} holds the result of a run, and its {self.record_path.name} is missing; put that back, "
                "or choose another --run-dir."
            )

    def check_belongs(self, record: Mapping[str, Any], path: Path) -> None:
        """Raises CheckpointError if a record in the folder is of another run; one of version 0.1.0 does not say.

        Args:
            record: with the digest of what was asked for in `asked`.
            path: where it was read, for the message.
        """
        if record.get("asked", self.asked) != self.asked:
            raise CheckpointError(
                f"{path} is of another run than {self.record_path}: of another network, other data, another recipe, "
                "seed or initial weights. Put back the file that belongs there."
            )

    def _result(self) -> dict[str, Any]:
        path = self.folder / "result.json"
        result = _read(path, () if self.has_checksums else (None,))
        if self.has_checksums and not {"asked", "rows"} <= result.keys():
            raise CheckpointError(f"{path} is no result of a run; put back the file that belongs there.")
        check_shape(path, result, _FIGURES, CheckpointError)
        self.check_belongs(result, path)
        return result

    @contextmanager
    def lock(self, *, wait_seconds: float = 5.0) -> Iterator[HeldRun]:
        """Held while the run is written to; finishes a replacement of its files that a crash cut short.

        Args:
            wait_seconds: for another process that may be about to end.

        Raises:
            CheckpointError: another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / ".lock"
        lock = FileLock(path)
        try:
            lock.acquire(timeout=wait_seconds)
        except Timeout:
            raise CheckpointError(f"another process is writing to {self.folder}; wait for it or stop it.") from None
        try:
            finish_replacement(self.folder, CheckpointError)
            self._remove_leftovers()
            yield HeldRun(path, self.record_path, path.stat().st_ino)
        finally:
            lock.release()


def find_runs(folder: Path) -> Iterable[Run]:
    """The runs under a folder, by path."""
    return (Run(path.parent) for path in sorted(folder.rglob("run.json")))


def _iterations(record: Mapping[str, Any]) -> int:
    """How many a run has in all; version 0.1.0 had them in the schedule."""
    return int(record["iterations"] if "iterations" in record else record["recipe"]["schedule"]["iterations"])


def _read(path: Path, older: tuple[int | None, ...]) -> dict[str, Any]:
    missing = f"there is no {path}: no run was started there, or it is not finished."
    return read_record(
        path, schema_version=_SCHEMA, error=CheckpointError, if_missing=missing, older=older, checksum=True
    )


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
        last |= run.figures()
    try:
        return {
            "run": str(run.folder),
            "model": record["model"],
            "data": record["data"]["name"],
            "recipe": record["recipe"]["name"],
            "seed": record["seed"],
            "iteration": rows[-1]["iteration"] if rows else 0,
            "iterations": _iterations(record),
            "finished": run.finished,
            **{name: last.get(name) for name in ("train_error", "val_error", "test_error")},
        }
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{run.record_path} is damaged: it lacks {error}.") from None
