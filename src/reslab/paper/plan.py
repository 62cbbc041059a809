"""A plan: every job of an experiment, written down before anything runs. Importing this module imports no torch.

plan.json says what was chosen, which data that is by content, and what each arm and seed needs: values from which any
engine can do it, today or after a crash.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.errors import ReslabError
from reslab.files.records import read_record, write_record
from reslab.paper.choices import Choices
from reslab.paper.jobs import Job

__all__ = ["PLAN_NAME", "Plan", "read_plan"]

PLAN_NAME = "plan.json"
_SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done for an experiment.

    Args:
        folder: of the plan and the results.
        store: folder of the runs and measures, which experiments share.
        experiment: its name.
        choices: of the user.
        data: as `describe` has it; empty where none are needed.
        iterations: of an arm of length 1; 0 where nothing is trained.
        jobs: all there is to do.
        budget: seconds that were given; None for no limit.
    """

    folder: Path
    store: Path
    experiment: str
    choices: Choices
    data: Mapping[str, Any]
    iterations: int
    jobs: Sequence[Job]
    budget: float | None = None

    @property
    def threads(self) -> int:
        """Of each job."""
        return self.choices.threads

    def to_dict(self) -> dict[str, Any]:
        """As plan.json has it."""
        return {
            "schema_version": _SCHEMA,
            "experiment": self.experiment,
            "choices": self.choices.to_dict(),
            "store": os.path.relpath(self.store, self.folder),  # so that both can be moved together
            "data": dict(self.data),
            "iterations": self.iterations,
            "budget": self.budget,
            "jobs": [job.to_dict() for job in self.jobs],
        }

    def write(self) -> None:
        """Writes plan.json."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store.mkdir(parents=True, exist_ok=True)
        write_record(self.folder / PLAN_NAME, self.to_dict())


def read_plan(folder: Path) -> Plan:
    """Reads plan.json.

    Raises:
        ReslabError: there is none, or it is damaged.
    """
    path = folder / PLAN_NAME
    missing = f"there is no {path}: no experiment was started there."
    record = read_record(path, schema_version=_SCHEMA, error=ReslabError, if_missing=missing, checksum=True)
    try:
        lists = {name: tuple(value) for name, value in record["choices"].items() if isinstance(value, list)}
        choices = {**record["choices"], **lists}
        return Plan(
            folder=folder,
            store=folder / record["store"],
            experiment=record["experiment"],
            choices=Choices(**choices),
            data=record["data"],
            iterations=record["iterations"],
            jobs=[Job.from_dict(job) for job in record["jobs"]],
            budget=record["budget"],
        )
    except KeyError as error:
        raise ReslabError(f"{path} is damaged: it lacks {error}.") from None
    except (TypeError, AttributeError, ReslabError) as error:
        raise ReslabError(f"{path} is damaged: {error}.") from None
