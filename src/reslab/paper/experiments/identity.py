"""Is it easier to push F to zero than to fit an identity? In seconds, with fully connected nets.

    reslab paper run identity

A residual net y = x + f(x) and a plain one y = f(x), with equal layers and from the same starts, learn a function near
the identity, H(x) = x + 0.1 g(x), by SGD (Sec. 3.1: "it should be easier for the solver to find the perturbations with
reference to an identity mapping, than to learn the function as a new one"). y = x alone errs by 1 % of x's variance.
"""

from reslab.paper.catalogue import Arm, Column, Experiment, Measure
from reslab.paper.claims import Less

_DEPTHS = (2, 4, 8)
_NORMS = {"": False, ", BN": True}


def _name(kind: str, layers: int, words: str) -> str:
    return f"{kind}, {layers} layers{words}"


_CASES = [(layers, words) for words in _NORMS for layers in _DEPTHS]
_ARMS = tuple(
    Arm(name=_name(kind, layers, words), options={"kind": kind, "layers": layers, "batch_norm": _NORMS[words]})
    for layers, words in _CASES
    for kind in ("plain", "residual")
)

EXPERIMENT = Experiment(
    name="identity",
    title="Learning a function near the identity",
    source="Sec. 3.1",
    group="text",
    how="measured",
    arms=_ARMS,
    measures=(Measure(name="identity"),),
    columns=(
        Column(value="final_error", heading="final error, over the variance of x", digits=5),
        Column(value="steps_to_error", heading="steps to 2 %", digits=0),
        Column(value="start_distance", heading="distance from the identity, at the start", digits=3),
        Column(value="end_distance", heading="the same, trained", digits=3),
        Column(value="weights_from_zero", heading="weights' distance from 0", digits=3),
        Column(value="weights_from_identity", heading="and from I", digits=3),
    ),
    figures=("toy-losses",),
    seeds=5,
    claims=tuple(
        Less(
            text=f"With {layers} layers{' and BN' if words else ''} the residual net ends nearer to H",
            source="Sec. 3.1",
            value="log10_error",
            higher=_name("plain", layers, words),
            lower=_name("residual", layers, words),
        )
        for layers, words in _CASES
    ),
)
