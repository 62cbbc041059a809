"""The residual-learning laboratory: the ResNet paper's networks, recipes, protocols and figures.

Everything public is imported on first use, so that `import reslab` is quick.

    reslab.train("resnet20", "digits", run_dir="run")
    network = reslab.load("run")
    network.evaluate().record["top1_error"]
    network.predict("7.png").labels
    network.export("seven.onnx")
"""

from typing import TYPE_CHECKING

from reslab.lazy import lazy_names

if TYPE_CHECKING:
    from reslab import bench
    from reslab.analysis.complexity import summarize, summary
    from reslab.api import Network, load
    from reslab.data import available_roles, load_data
    from reslab.deploy.corrupted import evaluate_corruptions
    from reslab.deploy.push import push
    from reslab.deploy.testing import evaluate_networks
    from reslab.errors import ReslabError
    from reslab.evaluation import evaluate
    from reslab.evaluation.calibrated_run import calibrate
    from reslab.models import NetSpec, create_model, list_models
    from reslab.models.weights import load_weights
    from reslab.paper.run import run_experiment
    from reslab.runs import Run, find_runs
    from reslab.trained.conversion import convert
    from reslab.training import train

__version__ = "0.2.0"
__all__ = [
    "NetSpec",
    "Network",
    "ReslabError",
    "Run",
    "available_roles",
    "bench",
    "calibrate",
    "convert",
    "create_model",
    "evaluate",
    "evaluate_corruptions",
    "evaluate_networks",
    "find_runs",
    "list_models",
    "load",
    "load_data",
    "load_weights",
    "push",
    "run_experiment",
    "summarize",
    "summary",
    "train",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "bench": "",
        **dict.fromkeys(("NetSpec", "create_model", "list_models"), "reslab.models"),
        **dict.fromkeys(("Network", "load"), "reslab.api"),
        **dict.fromkeys(("available_roles", "load_data"), "reslab.data"),
        **dict.fromkeys(("Run", "find_runs"), "reslab.runs"),
        "ReslabError": "reslab.errors",
        "calibrate": "reslab.evaluation.calibrated_run",
        "convert": "reslab.trained.conversion",
        "evaluate": "reslab.evaluation",
        "evaluate_corruptions": "reslab.deploy.corrupted",
        "evaluate_networks": "reslab.deploy.testing",
        "load_weights": "reslab.models.weights",
        "push": "reslab.deploy.push",
        "run_experiment": "reslab.paper.run",
        **dict.fromkeys(("summarize", "summary"), "reslab.analysis.complexity"),
        "train": "reslab.training",
    },
)
