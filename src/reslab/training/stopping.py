"""Ending a run early: on Ctrl-C or SIGTERM, as its terminal closes, at an iteration, after a time, with its parent."""

import os
import re
import signal
import threading
import time
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Self

from reslab.errors import RecipeError

__all__ = ["PARENT_VARIABLE", "StopAfter", "StopRequests", "Stopped"]

# Where a training is a part of something larger: the process without which it is not to go on.
PARENT_VARIABLE = "RESLAB_PARENT_PID"

# A terminal that is closed, or an ssh connection that breaks, sends SIGHUP; under `nohup` it is ignored, and stays so.
_SIGNALS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class StopAfter:
    """Where to stop, with the schedule untouched.

    Args:
        iteration: of the schedule.
        seconds: after the start.
    """

    iteration: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `500` (iterations), `90s`, `30m`, `2h` or `1.5d`.

        Raises:
            RecipeError: it is none of these, or not positive.
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", text)
        if match and float(match[1]) > 0:
            if match[2]:
                return cls(seconds=float(match[1]) * _SECONDS[match[2]])
            if match[1].isdigit():
                return cls(iteration=int(match[1]))
        raise RecipeError(f"cannot read the stop {text!r}: write iterations, as in 500, or a time, as in 90s, 30m, 2h.")


class Stopped(Exception):  # noqa: N818 - no error: somebody asked for it
    """Raised between two steps of a preparation that can be begun again."""


class StopRequests:
    """Notes signals while it is entered; the loop asks between two iterations, so that no update is cut in half.

    A second Ctrl-C interrupts at once. Outside the main thread, where Python has no signals, only `after` stops.

    Args:
        after: where to stop in any case.
    """

    def __init__(self, after: StopAfter | None) -> None:
        self.after = after or StopAfter()
        self.started_at = time.monotonic()
        self.signal: signal.Signals | None = None
        parent = os.environ.get(PARENT_VARIABLE, "")
        self.parent = int(parent) if parent.isdigit() else None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN or number in (signal.SIGINT, signal.SIGTERM):
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)

    def check(self) -> None:
        """Raises Stopped if a signal or the time asks for it, where there is no iteration to stop at yet."""
        reason = self.reason(-1)
        if reason is not None:
            raise Stopped(reason)

    def reason(self, iteration: int) -> str | None:
        """Why to stop before this iteration; None to go on."""
        if self.signal is not None:
            return self.signal.name
        if self.parent is not None and os.getppid() != self.parent:
            return "the end of the process that started it"
        if self.after.iteration is not None and iteration >= self.after.iteration:
            return f"iteration {iteration}"
        if self.after.seconds is not None and time.monotonic() - self.started_at >= self.after.seconds:
            return f"{self.after.seconds:g} s"
        return None
