"""Contenders that take turns: each is a process of its own, and one works while the others wait.

A machine's speed drifts by a third within minutes, so that figures of different runs say little. Turns (A B C, A B C)
let all meet the same drift, and a process each keeps one's threads, caches and settings out of another's. Importing
this module imports no torch.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from reslab.errors import ReslabError

__all__ = ["UNTIMED_STEPS", "BenchmarkError", "CannotRun", "Contender", "Outcome", "Turns", "Work", "take_turns"]

UNTIMED_STEPS = 5
"""At the start of a turn: as many batches as a DataLoader of two workers has prepared while it waited, and one more."""
_PATIENCE_SECONDS = 5.0  # for a process that was asked to end


class BenchmarkError(ReslabError):
    """A benchmark that cannot be run as asked, or a contender that failed."""


class CannotRun(Exception):  # noqa: N818 - a state of affairs that the table shows, not a mistake
    """Raised by a contender that does not apply here, or lacks a library; says why in a few words."""


@dataclass(frozen=True)
class Work:
    """What a contender does, made in its own process.

    Args:
        step: is called again and again, such as a training step or a batch.
        amount: what one step does, in the contest's unit: images, operations or bytes.
        details: for the record: threads, layout, and what else was chosen.
        report: called after the last turn, for details that are known then only.
        close: called at the very end.
    """

    step: Callable[[], object]
    amount: float
    details: dict[str, Any] = field(default_factory=dict)
    report: Callable[[], dict[str, Any]] = dict
    close: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Contender:
    """One who takes part.

    Args:
        name: in tables and records.
        prepare: makes the work, in the contender's process; picklable, as a function of a module or a
            `functools.partial` of one. It gets a folder for temporary files, which is removed at the end.
    """

    name: str
    prepare: Callable[[Path], Work]


@dataclass(frozen=True)
class Turns:
    """How long the turns are, and how many.

    Args:
        number: of turns that each contender gets.
        steps: of a turn, at the least.
        seconds: of a turn, at the least.
        untimed_steps: at the start of every turn.
    """

    number: int = 5
    steps: int = 15
    seconds: float = 0.0
    untimed_steps: int = UNTIMED_STEPS

    def __post_init__(self) -> None:
        for name, value, least in (("turns", self.number, 1), ("steps", self.steps, 1), ("seconds", self.seconds, 0)):
            if not least <= value <= 100_000:
                raise BenchmarkError(f"--{name} must be between {least} and 100,000, not {value}.")


@dataclass(frozen=True)
class Outcome:
    """What a contender reached.

    Args:
        name: the contender's.
        rates: amount of work a second, one for each turn; empty if it could not run.
        first_step_seconds: time of the very first step, in which compilers compile.
        details: what it said of itself.
        absent: why it could not run; empty if it could.
    """

    name: str
    rates: tuple[float, ...] = ()
    first_step_seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)
    absent: str = ""

    @property
    def rate(self) -> float:
        """The median over the turns."""
        return median(self.rates)


def take_turns(
    contenders: Sequence[Contender], turns: Turns, *, tell: Callable[[str], None] = lambda text: None
) -> list[Outcome]:
    """Lets contenders work by turns.

    They are set up one after the other, and each does its first step before the next is started. One that cannot run
    has an outcome that says why. Whatever happens, no process is left behind.

    Args:
        contenders: in the order of their turns.
        turns: how many, and how long.
        tell: is told what is being done, once before each contender's set-up and once before each turn.

    Returns:
        An outcome for each contender, in the order given.

    Raises:
        BenchmarkError: a contender failed or died; the message has the last line of what it printed.
    """
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="reslab-bench-", ignore_cleanup_errors=True))
        )
        started = []
        for index, contender in enumerate(contenders):
            tell(f"{contender.name}: first step")
            started.append(stack.enter_context(_Process(contender, folder / str(index), turns)))
        running = [process for process in started if not process.absent]
        for number in range(turns.number):
            for process in running:
                tell(f"{process.name}: turn {number + 1} of {turns.number}")
                process.take_turn()
        for process in running:
            process.finish()
        return [process.outcome for process in started]


class _Process:
    """A contender's process, seen from outside."""

    def __init__(self, contender: Contender, folder: Path, turns: Turns) -> None:
        self.name, self.log = contender.name, folder / "output.txt"
        folder.mkdir()
        context = multiprocessing.get_context("spawn")  # a fork would inherit our threads' locks
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(contender, folder, turns, theirs), name=contender.name)
        self.process.start()
        theirs.close()  # so that its end is seen as the end of the connection
        self.rates: list[float] = []
        self.absent, self.details, self.first_step_seconds = "", {}, 0.0
        try:
            self.absent, self.details, self.first_step_seconds = self._receive()
        except BaseException:
            self.__exit__()
            raise

    def take_turn(self) -> None:
        self._send(True)
        self.rates.append(self._receive())

    def finish(self) -> None:
        self._send(False)
        self.details |= self._receive()

    @property
    def outcome(self) -> Outcome:
        return Outcome(self.name, tuple(self.rates), self.first_step_seconds, self.details, self.absent)

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        if self.rates:  # otherwise it may be far from the moment when it would see that
            self.process.join(_PATIENCE_SECONDS / 5)
        for end in (self.process.terminate, self.process.kill):
            if self.process.is_alive():
                end()
                self.process.join(_PATIENCE_SECONDS)
        self.process.join()

    def _send(self, go_on: bool) -> None:
        try:
            self.connection.send(go_on)
        except OSError:
            raise self._died() from None

    def _receive(self) -> Any:
        try:
            failure, answer = self.connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if failure:
            raise BenchmarkError(f"{self.name} failed: {failure}")
        return answer

    def _died(self) -> BenchmarkError:
        self.process.join(_PATIENCE_SECONDS)
        code = self.process.exitcode
        if code is None or code >= 0:
            how = f"ended with code {code}"
        else:
            hint = ", as when memory runs out" if -code == signal.SIGKILL else ""
            how = f"was ended by {signal.Signals(-code).name}{hint}"
        return BenchmarkError(f"the process of {self.name} {how}: {self._last_line()}")

    def _last_line(self) -> str:
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
            lines = [line.strip() for line in text.splitlines() if line.strip()]
        except OSError:
            lines = []
        return lines[-1] if lines else "it printed nothing."


def _work(contender: Contender, folder: Path, turns: Turns, connection: Connection) -> None:
    """A contender's process, seen from inside: prepares, then does turns while it is told to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a Ctrl-C the parent hears as well, and ends us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that our own processes end with us
    output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT)
    for stream in (sys.stdout, sys.stderr):  # standard output is for results alone
        stream.flush()
        os.dup2(output, stream.fileno())
    try:
        try:
            work = contender.prepare(folder)
            start = time.perf_counter()
            work.step()
            connection.send(("", ("", work.details, time.perf_counter() - start)))
        except CannotRun as reason:
            connection.send(("", (str(reason), {}, 0.0)))
            return
        except ModuleNotFoundError as error:
            connection.send(("", (f"{error.name} is not installed", {}, 0.0)))
            return
        while connection.recv():
            connection.send(("", _rate(work, turns)))
        connection.send(("", work.report()))
        work.close()
    except EOFError:
        pass  # the parent has had enough
    except ReslabError as error:
        connection.send((str(error), None))
    except Exception as error:
        lines = str(error).strip().splitlines()
        connection.send((f"{type(error).__name__}: {lines[-1] if lines else 'no message'}", None))


def _rate(work: Work, turns: Turns) -> float:
    """Amount of work a second of one turn, in steady state."""
    for _ in range(turns.untimed_steps):
        work.step()
    steps, seconds, start = 0, 0.0, time.perf_counter()
    while steps < turns.steps or seconds < turns.seconds:
        work.step()
        steps += 1
        seconds = time.perf_counter() - start
    return steps * work.amount / seconds
