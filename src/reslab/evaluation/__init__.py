"""How good a network is: error rates under a stated protocol, and batch-norm statistics measured precisely."""

from reslab.evaluation.evaluate import EVALUATION_BATCH, Evaluation, evaluate
from reslab.evaluation.precise_bn import Measurement, measure_batch_norm, precise_batch_norm
from reslab.evaluation.protocols import Dense, OneCrop, Shifted, TenCrop
from reslab.evaluation.scoring import average_scores, predict_split

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
