"""Which of the cures cured vanishing gradients: the start, or batch norm?

    reslab paper run initialization

The problem of vanishing and exploding gradients "has been largely addressed by normalized initialization and
intermediate normalization layers" (Sec. 1). Three starts, normal with 0.01, Xavier's and He's, with and without batch
norm, at 20 and at 56 layers.
"""

from reslab.paper.catalogue import Arm, Column, Experiment, Measure
from reslab.paper.claims import Bound, Less
from reslab.paper.experiments.common import ERROR_COLUMNS, ERRORS

_STARTS = {"normal 0.01": "normal", "Xavier": "xavier", "He": "fan_in"}
_ARMS = tuple(
    Arm(net=f"plain{depth}[init={init}{norm}]", name=f"plain{depth}, {start}{words}")
    for depth in (20, 56)
    for norm, words in (("", ""), (",norm=none", ", without BN"))
    for start, init in _STARTS.items()
)

EXPERIMENT = Experiment(
    name="initialization",
    title="Starts with and without batch norm",
    source="Sec. 1",
    group="text",
    arms=_ARMS,
    measures=(ERRORS, Measure(name="growth")),
    columns=(
        Column(value="gradient_ratio", heading="gradient, first over last layer, at the start", digits=6),
        *ERROR_COLUMNS[1:2],
        ERROR_COLUMNS[0],
    ),
    figures=("bars",),
    seeds=3,
    claims=(
        Bound(
            text="Without BN, normal weights of 0.01 let gradients vanish at 20 layers: under a millionth arrives",
            source="Sec. 1",
            value="gradient_ratio",
            arm="plain20, normal 0.01, without BN",
            most=1e-6,
        ),
        Less(
            text="... and the net does not learn; He's start does",
            source="Sec. 1; arXiv 1502.01852",
            value="train_error",
            higher="plain20, normal 0.01, without BN",
            lower="plain20, He, without BN",
        ),
        Less(
            text="With BN even normal weights of 0.01 learn",
            source="Sec. 1",
            value="train_error",
            higher="plain20, normal 0.01, without BN",
            lower="plain20, normal 0.01",
        ),
        Less(
            text="Degradation is there with He's start and BN all the same",
            source="Sec. 1, Sec. 4.1",
            value="train_error",
            higher="plain56, He",
            lower="plain20, He",
        ),
    ),
)
