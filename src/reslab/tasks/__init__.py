"""What a network is asked of an image: the targets, the loss, the score, and the form of an answer.

Importing this package imports no torch; its names do.
"""

from typing import TYPE_CHECKING

from reslab.lazy import lazy_names

if TYPE_CHECKING:
    from reslab.tasks.classification import Classification
    from reslab.tasks.finding import find_task
    from reslab.tasks.multi_label import MultiLabel
    from reslab.tasks.task import Answer, Score, Task

__all__ = ["Answer", "Classification", "MultiLabel", "Score", "Task", "find_task"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("Answer", "Score", "Task"), "reslab.tasks.task"),
        "Classification": "reslab.tasks.classification",
        "MultiLabel": "reslab.tasks.multi_label",
        "find_task": "reslab.tasks.finding",
    },
)
