"""What a user can get wrong, as exception types.

Every message is one sentence or two that say what is wrong, where, and how to mend it. The command line prints the
message without a traceback and exits with code 2.
"""

__all__ = [
    "CheckpointError",
    "DataError",
    "DivergenceError",
    "ModelError",
    "RecipeError",
    "ReslabError",
    "WeightsError",
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


class DivergenceError(ReslabError):
    """Training that reached a loss that is not a finite number."""
