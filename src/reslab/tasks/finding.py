"""Tasks by their names."""

from reslab.data.targets import form_of
from reslab.tasks.classification import Classification
from reslab.tasks.multi_label import MultiLabel
from reslab.tasks.task import Task

__all__ = ["find_task"]

_TASKS: dict[str, Task] = {task.name: task for task in (Classification(), MultiLabel())}


def find_task(name: str) -> Task:
    """The task of a name, as data, runs and cards have it.

    Raises:
        DataError: there is no such task.
    """
    return _TASKS[form_of(name).task]
