"""Is it easier to push F to zero than to fit an identity? In seconds, with fully connected nets.

    reslab paper run identity

A residual net y = x + f(x) and a plain one y = f(x) of equal layers learn H(x) = x + 0.1 g(x), near the identity, by
SGD from the same starts (Sec. 3.1: "it should be easier for the solver to find the perturbations with reference to an
identity mapping, than to learn the function as a new one").
"""

from reslab.paper.catalogue import Arm, Column, Experiment, Measure
from reslab.paper.claims import Less

_DEPTHS = (2, 4, 8)
_ARMS = tuple(
    Arm(name=f"{kind}, {layers} layers", options={"kind": kind, "layers": layers})
    for kind in ("plain", "residual")
    for layers in _DEPTHS
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
        Column(value="final_loss", heading="final loss over the target's variance", digits=5),
        Column(value="distance_from_target", heading="distance of the linear part from its target", digits=3),
        Column(value="steps_to_error", heading="steps to 1 % of the variance", digits=0),
    ),
    figures=("toy-losses",),
    seeds=5,
    claims=tuple(
        Less(
            text=f"With {layers} layers the residual net ends nearer",
            source="Sec. 3.1",
            value="log_final_loss",
            higher=f"plain, {layers} layers",
            lower=f"residual, {layers} layers",
        )
        for layers in _DEPTHS
    ),
)
