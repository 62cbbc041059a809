"""Jobs as processes on this machine. Importing this module imports no torch."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from reslab.training.stopping import PARENT_VARIABLE

__all__ = ["LocalEngine", "worker_command"]

_VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


class LocalEngine:
    """Processes on this machine; with several GPUs, each takes the next one.

    Args:
        slots: processes side by side.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.gpus = _gpus()
        self.started = 0

    def start(self, folder: Path, numbers: Sequence[int], log: Path, rate: Path | None = None) -> "LocalProcess":
        """As in `Engine`."""
        environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
        if len(self.gpus) > 1:
            environment[_VISIBLE_GPUS] = self.gpus[self.started % len(self.gpus)]
        self.started += 1
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            command = worker_command(folder, numbers, rate)
            return LocalProcess(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment)
            )

    def close(self) -> None:
        """Nothing is held."""


class LocalProcess:
    """A process of this machine, as a running job."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process

    def ended(self) -> int | None:
        """As in `Running`."""
        return self.process.poll()

    def stop(self) -> None:
        """Asks by SIGTERM; a Ctrl-C in a terminal has reached it already."""
        self.process.terminate()

    def wait(self) -> None:
        """As in `Running`."""
        self.process.wait()


def worker_command(folder: Path, numbers: Sequence[int], rate: Path | None = None) -> list[str]:
    """What does jobs of a plan in a process."""
    command = [sys.executable, "-m", "reslab.paper.worker", str(folder), *map(str, numbers)]
    return command if rate is None else [*command, "--rate", str(rate)]


def _gpus() -> list[str]:
    """Numbers of the GPUs that may be used, without asking torch; empty where there are none."""
    if (visible := os.environ.get(_VISIBLE_GPUS)) is not None:
        return [name for name in visible.split(",") if name.strip()]
    return [str(number) for number in range(len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))]
