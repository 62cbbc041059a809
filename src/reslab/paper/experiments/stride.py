"""Bottlenecks with the stride on the first 1x1 (v1, the paper) and on the 3x3 (v1.5, torchvision).

    reslab paper run stride --data photos/ --input-size 64 --budget 1h

On ImageNet v1.5 is said to be about 0.5 points better in top-1 error, for 6 % more multiply-adds.
"""

from reslab.paper.catalogue import IMAGENET, Arm, Experiment
from reslab.paper.claims import Less
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED

EXPERIMENT = Experiment(
    name="stride",
    title="Where a bottleneck has its stride",
    source="Sec. 3.4; torchvision",
    group="beyond",
    arms=(Arm(net="resnet50[stride=v1]", name="v1"), Arm(net="resnet50", name="v1.5")),
    measures=TRAINED,
    columns=ERROR_COLUMNS,
    figures=("errors",),
    setting=IMAGENET,
    claims=(
        Less(
            text="v1.5 errs less than v1",
            source="NVIDIA's and torchvision's notes: about 0.5 points",
            value="test_error",
            higher="v1",
            lower="v1.5",
        ),
    ),
)
