"""A run's rows as a board of another program shows them. They follow from metrics.jsonl, and cost no run anything."""

import io
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from reslab.errors import ReslabError, ReslabWarning

__all__ = ["TRACKERS", "Tracker", "TrackingWarning", "check_tracker"]

TRACKERS = ("tensorboard",)
_EVENT_FILES = "events.out.tfevents.*"


class TrackingWarning(ReslabWarning):
    """Rows could not be written for another program; the run goes on without."""


def check_tracker(name: str) -> None:
    """Raises ReslabError if there is no such tracker, or its package is missing."""
    if name not in TRACKERS:
        raise ReslabError(f"there is no tracker {name!r}: choose {' or '.join(TRACKERS)}.")
    try:
        import tensorboard.compat.proto.event_pb2  # noqa: F401
    except ImportError:
        raise ReslabError("--track tensorboard needs tensorboard: pip install 'reslab[track]'.") from None


class Tracker:
    """Writes rows as TensorBoard's scalars into a folder of the run; without a folder it does nothing.

    The events are written anew from metrics.jsonl whenever a training begins or goes on, so that they never have a row
    twice, and none that a kill took back. Torch's SummaryWriter would write them in a thread of its own, for which a
    training waits without end where the disk is full.

    Args:
        folder: for the event files; None to track nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._stream: BinaryIO | None = None

    def begin(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Removes the events that the folder has, and writes those of these rows.

        Args:
            rows: of metrics.jsonl, as far as the run goes on from them.
        """
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.glob(_EVENT_FILES):
                path.unlink()
            # Behind the name of the one before, so that a board that is open goes on to it.
            self._stream = (self.folder / _EVENT_FILES.replace("*", f"{time.time_ns() // 1000}.reslab")).open("wb")
            self._stream.write(_beginning() + b"".join(map(_events, rows)))
            self._stream.flush()
        except Exception as error:  # whatever it is, the training is worth more
            self._give_up(error)

    def add(self, row: Mapping[str, Any]) -> None:
        """Writes a row that was added to metrics.jsonl."""
        if self._stream is None:
            return
        try:
            self._stream.write(_events(row))
            self._stream.flush()
        except Exception as error:  # likewise
            self._give_up(error)

    def close(self) -> None:
        """Closes the file."""
        if self._stream is not None:
            with suppress(OSError):
                self._stream.close()
            self._stream = None

    def _give_up(self, error: Exception) -> None:
        self.close()
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        warnings.warn(
            f"the rows for TensorBoard cannot be written to {self.folder} ({reason}); the training goes on without, "
            "and metrics.jsonl has them all.",
            TrackingWarning,
            stacklevel=3,
        )


def _beginning() -> bytes:
    """Of a file: its form, and that an open board is to forget what it has seen from step 0 on."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    start = SessionLog(status=SessionLog.SessionStatus.Value("START"))
    return _record(Event(wall_time=time.time(), file_version="brain.Event:2")) + _record(
        Event(wall_time=time.time(), step=0, session_log=start)
    )


def _events(row: Mapping[str, Any]) -> bytes:
    """A row's figures as one event: a scalar each, at the row's iteration."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    figures = {name: value for name, value in row.items() if name != "iteration" and value is not None}
    values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
    return _record(Event(wall_time=time.time(), step=row["iteration"], summary=Summary(value=values)))


def _record(event: Any) -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()
