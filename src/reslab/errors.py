"""What a user can get wrong, as exception types.

Every message is one sentence or two that say what is wrong, where, and how to mend it. The command line prints the
message without a traceback and exits with code 2.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "DataError",
    "DivergenceError",
    "ModelError",
    "RecipeError",
    "ReslabError",
    "ReslabWarning",
    "WeightsError",
    "WriteError",
    "suggestion",
]


class ReslabError(ValueError):
    """A mistake that its message tells how to mend. Base of all of reslab's own exceptions."""


class ModelError(ReslabError):
    """No such network, or a description of one that contradicts itself."""


class DataError(ReslabError):
    """Data that is missing, damaged, or does not fit the network or its other splits."""


class RecipeError(ReslabError):
    """A recipe that is unknown, misspelt, or contradicts itself."""


class WeightsError(ReslabError):
    """Weights that are missing, damaged, or do not fit the network."""


class CheckpointError(ReslabError):
    """A run that cannot be started or resumed as asked."""


class WriteError(ReslabError, OSError):
    """A file that cannot be written, as on a full disk; an OSError too, for those who expect one."""


class DivergenceError(ReslabError):
    """Training that reached a loss that is not a finite number."""


class ReslabWarning(UserWarning):
    """What a user should know, and nothing is wrong with; the command line prints it as a sentence."""


def suggestion(name: str, known: Iterable[str], otherwise: str = ".", *, most: int = 1) -> str:
    """The end of a sentence on a name that is not known: `; did you mean resnet20?`

    Args:
        name: that is not known; capitals do not count.
        known: the names there are.
        otherwise: the end where none of them is near.
        most: names to suggest.
    """
    by_lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=0.6)
    return f"; did you mean {' or '.join(by_lower[other] for other in near)}?" if near else otherwise
