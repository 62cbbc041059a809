"""The residual-learning laboratory: the ResNet paper's networks, recipes, protocols and figures.

Everything public is imported on first use, so that `import reslab` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reslab.data import load_data
    from reslab.evaluation import evaluate
    from reslab.models import NetSpec, create_model, list_models
    from reslab.models.weights import load_weights
    from reslab.training import train

__version__ = "0.1.0"
__all__ = ["NetSpec", "create_model", "evaluate", "list_models", "load_data", "load_weights", "train"]

_HOMES = {
    "NetSpec": "reslab.models",
    "create_model": "reslab.models",
    "evaluate": "reslab.evaluation",
    "list_models": "reslab.models",
    "load_data": "reslab.data",
    "load_weights": "reslab.models.weights",
    "train": "reslab.training",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'reslab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
