"""Runs trainings side by side as processes on this machine. Importing this module imports no torch.

Each training is one `reslab train --resume` in a folder of its own, so that a killed experiment goes on where it
stopped.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from reslab.errors import ReslabError
from reslab.runs import Run
from reslab.training.stopping import PARENT_VARIABLE, StopRequests

__all__ = ["Training", "run_trainings"]

_POLL_SECONDS = 0.3
_PLAIN_LINES = 10  # lines a training where there is no terminal


@dataclass(frozen=True)
class Training:
    """One training to be done.

    Args:
        name: shown to the user.
        arguments: of `reslab train`, without --run-dir and --resume.
        run: its folder.
        iterations: in all.
    """

    name: str
    arguments: tuple[str, ...]
    run: Run
    iterations: int

    @property
    def log(self) -> Path:
        """What the process printed."""
        return self.run.folder / "train.log"


def run_trainings(trainings: Sequence[Training], jobs: int) -> str | None:
    """Does the trainings that are not finished, `jobs` at a time, in the order given.

    Returns:
        None once all are finished; the signal that asked to stop otherwise, with every training's state saved.

    Raises:
        ReslabError: a training failed; its message is that training's.
    """
    waiting = [training for training in trainings if not training.run.finished]
    running: dict[subprocess.Popen[bytes], Training] = {}
    with StopRequests(None) as stop, _Display(trainings) as display:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    training = waiting.pop(0)
                    running[_start(training)] = training
                time.sleep(_POLL_SECONDS)
                for process in [process for process in running if process.poll() is not None]:
                    training = running.pop(process)
                    if process.returncode != 0:
                        raise ReslabError(_failure(training, process.returncode))
                display.update()
                if (reason := stop.reason(0)) is not None:
                    return reason
        finally:
            # Each saves a checkpoint on SIGTERM; a Ctrl-C in a terminal has reached it already.
            for process in running:
                process.terminate()
            for process in running:
                process.wait()
        display.update()
    return None


def _start(training: Training) -> "subprocess.Popen[bytes]":
    training.run.folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "reslab", "train", *training.arguments]
    command += ["--run-dir", str(training.run.folder), "--resume"]
    with training.log.open("ab") as log:
        environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)


def _failure(training: Training, code: int) -> str:
    lines = training.log.read_text(errors="replace").strip().splitlines()
    last = lines[-1].removeprefix("reslab: ") if lines else f"it printed nothing and exited with {code}"
    return f"training {training.name} failed: {last} (all of it: {training.log}). The same command goes on from here."


class _Display:
    """A bar a training in a terminal, and now and then a line elsewhere; on stderr."""

    def __init__(self, trainings: Sequence[Training]) -> None:
        console = Console(stderr=True)
        self.live = console.is_terminal
        self.trainings = trainings
        self.shown = {training.name: -1 for training in trainings}
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
        )
        self.bar = Progress(*columns, console=console, disable=not self.live)
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "_Display":
        for training in self.trainings:
            self.tasks[training.name] = self.bar.add_task(
                f"{training.name:<17}", total=training.iterations, start=False, figures=""
            )
        self.bar.start()
        self.update()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self) -> None:
        """Shows how far each training is, from its metrics."""
        for training in self.trainings:
            rows = training.run.rows()
            if not rows:
                continue
            iteration, error = rows[-1]["iteration"], rows[-1]["train_error"]
            task = self.tasks[training.name]
            if self.live:
                self.bar.start_task(task)
                self.bar.update(task, completed=iteration, figures=f"training error {error:6.2f} %")
                if training.run.finished:
                    self.bar.stop_task(task)
            share = iteration * _PLAIN_LINES // training.iterations
            if not self.live and share > self.shown[training.name]:
                self.shown[training.name] = share
                line = f"{training.name:<17} {iteration:>6}/{training.iterations}  training error {error:6.2f} %"
                print(line, file=sys.stderr, flush=True)
