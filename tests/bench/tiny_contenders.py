"""Contenders that take no time. A module of its own, since their processes import it by its name."""

import importlib
import os
import signal
import sys
import time
from pathlib import Path

from reslab.bench.turns import CannotRun, Work
from reslab.errors import DataError


def note(log: Path, text: str) -> None:
    with log.open("a") as stream:
        stream.write(f"{text}\n")


def worker(name: str, log: Path, folder: Path) -> Work:
    """Notes every step."""
    print(f"{name} talks")  # which must not reach standard output

    def step() -> None:
        note(log, f"{name} begins")
        time.sleep(0.001)
        note(log, f"{name} ends")

    return Work(step, 10.0, {"pid": os.getpid(), "folder": str(folder)}, lambda: {"peak": 7})


def absent(folder: Path) -> Work:
    raise CannotRun("there is no such network")


def without_library(folder: Path) -> Work:
    importlib.import_module("no_such_library")
    raise AssertionError


def refused(folder: Path) -> Work:
    raise DataError("the folder is empty.")


def raises(folder: Path) -> Work:
    def step() -> None:
        raise RuntimeError("first line\nthe tensors do not fit")

    return Work(step, 1.0)


def dies(log: Path, how: str, folder: Path) -> Work:
    """Lives through its first step, and dies in the second."""
    note(log, str(os.getpid()))
    steps = iter(range(1))

    def step() -> None:
        if next(steps, None) is None:
            print("the last words", file=sys.stderr, flush=True)
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(3)

    return Work(step, 1.0)


def sleeps(log: Path, folder: Path) -> Work:
    """Takes for ever from the second step on."""
    steps = iter(range(1))

    def step() -> None:
        if next(steps, None) is None:
            note(log, str(os.getpid()))
            time.sleep(600)

    return Work(step, 1.0)
