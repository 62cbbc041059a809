"""How good a network is: error rates under a stated protocol, and batch-norm statistics measured precisely."""

from reslab.evaluation.evaluate import EVALUATION_BATCH, Evaluation, evaluate
from reslab.evaluation.precise_bn import precise_batch_norm

__all__ = ["EVALUATION_BATCH", "Evaluation", "evaluate", "precise_batch_norm"]
