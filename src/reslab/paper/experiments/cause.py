"""Beyond the paper: why a published plain-56 had tiny responses.

    reslab paper run cause

In an independent reproduction plain-56's layer responses are 0.06 on average, and 0.4 to 0.8 in all other nets; that
net alone was trained with gradients clipped at norm 0.1. A scale of batch norm that no gradient opposes decays to
exp(-sum of rate x decay / (1 - momentum)), 0.034 in the paper's schedule. The factors: weight decay on everything or
on weight matrices only, and clipping, at 20 and at 56 layers.

The digits' schedule is short: there batch norm's scales, its shifts and the biases alone decay, by 0.025, so that what
nothing opposes ends at 0.034 there, too.
"""

from reslab.paper.catalogue import Arm, Column, Experiment, Measure
from reslab.paper.claims import Equal, Less
from reslab.paper.experiments.common import ERRORS

_DECAYS = {"with decay": "all", "without": "weights"}
_DIGITS = {"optimizer.decay": "norms", "optimizer.weight_decay": "0.025"}
_ARMS = tuple(
    Arm(
        net=f"plain{depth}",
        name=f"plain{depth}, {decay}{', clipped' if clip else ''}",
        fields={"optimizer.decay": field, "optimizer.clip_norm": "0.1" if clip else "0"},
        digits=_DIGITS if field == "all" else {},
    )
    for depth in (20, 56)
    for decay, field in _DECAYS.items()
    for clip in (False, True)
)

EXPERIMENT = Experiment(
    name="cause",
    title="What made plain-56's responses tiny?",
    source="beyond the paper; Fig. 7",
    group="beyond",
    arms=_ARMS,
    measures=(ERRORS, Measure(name="responses")),
    columns=(
        Column(value="mean_response", heading="mean response", digits=3),
        Column(value="estimated_response", heading="mean response, from batch norm alone", digits=3),
        Column(value="rms_scale", heading="rms scale of batch norm", digits=3),
        Column(value="train_error", heading="training error %"),
    ),
    figures=("bars", "responses"),
    seeds=5,
    claims=(
        Less(
            text="Decay on batch norm shrinks plain-56's responses",
            source="a question of our own",
            value="mean_response",
            higher="plain56, without",
            lower="plain56, with decay",
        ),
        Less(
            text="... and clipping shrinks them further",
            source="a question of our own",
            value="mean_response",
            higher="plain56, with decay",
            lower="plain56, with decay, clipped",
        ),
        Equal(
            text="Clipping alone does not (less than 0.1 of difference)",
            source="a question of our own",
            value="mean_response",
            first="plain56, without",
            second="plain56, without, clipped",
            margin=0.1,
        ),
        Less(
            text="The deeper net's shrink more",
            source="a question of our own",
            value="mean_response",
            higher="plain20, with decay, clipped",
            lower="plain56, with decay, clipped",
        ),
    ),
)
