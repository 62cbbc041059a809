"""Where jobs run: an engine starts them, and says when they have ended. Importing this module imports no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from reslab.errors import ReslabError

__all__ = ["Engine", "EngineName", "Running", "make_engine"]

EngineName = Literal["local", "ray"]


class Running(Protocol):
    """A job that was started."""

    def ended(self) -> int | None:
        """Its exit status; None while it goes on."""

    def stop(self) -> None:
        """Asks it to save its state and end."""

    def wait(self) -> None:
        """Returns when it has ended."""


class Engine(Protocol):
    """Starts jobs."""

    slots: int
    """Jobs side by side."""

    def start(self, folder: Path, numbers: Sequence[int], log: Path, rate: Path | None = None) -> Running:
        """Starts jobs of a plan, one after the other in one process.

        Args:
            folder: of the plan.
            numbers: of the jobs.
            log: file to which what it prints is added.
            rate: measure how fast it would go instead, and write that here.
        """

    def close(self) -> None:
        """Gives back what it holds."""


def make_engine(name: EngineName, *, slots: int, threads: int) -> Engine:
    """An engine by name.

    Args:
        name: `local` for processes on this machine, `ray` for tasks of a Ray cluster.
        slots: jobs side by side.
        threads: of each.

    Raises:
        ReslabError: there is none of this name, or Ray is not installed.
    """
    if name == "local":
        from reslab.paper.engines.local import LocalEngine

        return LocalEngine(slots)
    if name == "ray":
        from reslab.paper.engines.ray import RayEngine

        return RayEngine(slots, threads)
    raise ReslabError(f"there is no engine {name!r}; choose local or ray.")
