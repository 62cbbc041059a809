"""How good a network is: error rates under a stated protocol, and batch-norm statistics measured precisely.

Importing this package imports no torch; its names do.
"""

from typing import TYPE_CHECKING

from reslab.lazy import lazy_names

if TYPE_CHECKING:
    from reslab.evaluation.dense import Dense
    from reslab.evaluation.error_rates import EVALUATION_BATCH, evaluate
    from reslab.evaluation.precise_bn import Measurement, measure_batch_norm, precise_batch_norm
    from reslab.evaluation.protocols import OneCrop, Shifted, TenCrop
    from reslab.evaluation.scoring import average_scores, predict_split
    from reslab.tasks.classification import Evaluation

__all__ = [
    "EVALUATION_BATCH",
    "Dense",
    "Evaluation",
    "Measurement",
    "OneCrop",
    "Shifted",
    "TenCrop",
    "average_scores",
    "evaluate",
    "measure_batch_norm",
    "precise_batch_norm",
    "predict_split",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("EVALUATION_BATCH", "evaluate"), "reslab.evaluation.error_rates"),
        "Evaluation": "reslab.tasks.classification",
        **dict.fromkeys(("OneCrop", "Shifted", "TenCrop"), "reslab.evaluation.protocols"),
        **dict.fromkeys(("average_scores", "predict_split"), "reslab.evaluation.scoring"),
        "Dense": "reslab.evaluation.dense",
        **dict.fromkeys(("Measurement", "measure_batch_norm", "precise_batch_norm"), "reslab.evaluation.precise_bn"),
    },
)
