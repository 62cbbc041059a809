"""Jobs as tasks of a Ray cluster, which takes the extra `scale`. Importing this module imports neither Ray nor torch.

The folders of runs stay the truth: a task only starts the same process that the local engine starts, on a machine that
sees the same folders. A task whose worker dies is done again by Ray, and the training goes on from its last checkpoint.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reslab.errors import ReslabError
from reslab.paper.engines.local import worker_command
from reslab.training.stopping import PARENT_VARIABLE

__all__ = ["RayEngine"]

_ADDRESS = "RAY_ADDRESS"
_POLL_SECONDS = 0.2
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no report of use leaves the machine
    "RAY_AUTH_MODE": "token",  # whoever reaches its ports needs the token of this user
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class RayEngine:
    """Tasks of the cluster at $RAY_ADDRESS, or of one that is started on this machine.

    Args:
        slots: tasks side by side.
        threads: cores of each.

    Raises:
        ReslabError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, slots: int, threads: int) -> None:
        self.slots = slots
        quiet = {name: value for name, value in _QUIET.items() if name not in os.environ}
        if "ray" in sys.modules:  # which read it when it was imported, and would not agree with what it starts
            quiet.pop("RAY_AUTH_MODE", None)
        os.environ |= quiet
        try:
            import ray
        except ImportError:
            raise ReslabError("--engine ray needs Ray: pip install 'reslab[scale]'.") from None
        self.ray = ray
        address = os.environ.get(_ADDRESS)
        own: dict[str, Any] = {} if address else {"num_cpus": slots * threads, "include_dashboard": False}
        try:
            self.started = not ray.is_initialized()
            if self.started:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ReslabError(f"the Ray cluster {address or 'of this machine'} cannot be used: {error}") from None
        # A worker that is killed, or lost with its machine, is no failure of the job.
        self.task = ray.remote(num_cpus=threads, max_retries=-1)(_work)

    def start(self, folder: Path, numbers: Sequence[int], log: Path, rate: Path | None = None) -> "RayTask":
        """As in `Engine`; all paths must be the same on every machine of the cluster."""
        target = None if rate is None else str(rate.resolve())
        command = worker_command(folder.resolve(), numbers, Path(target) if target else None)
        stop = log.resolve().with_suffix(".stop")
        stop.unlink(missing_ok=True)
        return RayTask(self.ray, self.task.remote(command, str(log.resolve()), str(stop)), stop)

    def close(self) -> None:
        """Leaves the cluster, and ends it where it was started here."""
        if self.started:
            self.ray.shutdown()


class RayTask:
    """A task, as a running job."""

    def __init__(self, ray: Any, reference: Any, stop: Path) -> None:
        self.ray, self.reference, self.stop_file = ray, reference, stop

    def ended(self) -> int | None:
        """As in `Running`."""
        done, _ = self.ray.wait([self.reference], timeout=0)
        return self._status() if done else None

    def _status(self) -> int:
        try:
            return int(self.ray.get(self.reference))
        except self.ray.exceptions.RayError:
            return -signal.SIGKILL  # it was lost more often than Ray does it again

    def stop(self) -> None:
        """Asks by a file, which every machine sees: a task of Ray gets no signals."""
        self.stop_file.touch()

    def wait(self) -> None:
        """As in `Running`."""
        self._status()
        self.stop_file.unlink(missing_ok=True)


def _work(command: list[str], log: str, stop: str) -> int:
    """Does a job in a process of its own, which ends with this worker; returns its exit status."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
    environment.pop("OMP_NUM_THREADS", None)  # Ray's own; the recipe says how many
    with Path(log).open("ab") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment)
        while process.poll() is None:
            if Path(stop).exists():
                process.terminate()
            time.sleep(_POLL_SECONDS)
    return process.returncode
