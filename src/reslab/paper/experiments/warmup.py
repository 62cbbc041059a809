"""ResNet-110 with and without its warm-up.

    reslab paper run warmup

"The initial learning rate of 0.1 is slightly too large to start converging", so ResNet-110 starts at 0.01; a
footnote: "With an initial learning rate of 0.1, it starts converging (<90% error) after several epochs, but still
reaches similar accuracy" (Sec. 4.2).
"""

from reslab.paper.catalogue import Arm, Experiment
from reslab.paper.claims import Equal
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED

EXPERIMENT = Experiment(
    name="warmup",
    title="ResNet-110 without its warm-up",
    source="Sec. 4.2, footnote",
    group="text",
    arms=(
        Arm(net="resnet110", name="with warm-up"),
        Arm(net="resnet110", name="without", fields={"schedule.deep_warmup": "none"}),
    ),
    measures=TRAINED,
    columns=ERROR_COLUMNS,
    figures=("errors",),
    claims=(
        Equal(
            text="Without the warm-up ResNet-110 reaches a similar error (within a point)",
            source="Sec. 4.2, footnote 5",
            value="test_error",
            first="with warm-up",
            second="without",
            margin=1.0,
        ),
    ),
)
