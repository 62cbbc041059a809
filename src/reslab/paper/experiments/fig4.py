"""Figure 4 and Table 2: plain and residual nets of 18 and 34 layers on ImageNet.

    reslab paper run fig4 --data cifar10-jpeg/ --budget 10m    # at 32 pixels
    reslab paper run table2 --data imagenet/ --precision bf16

Plain-34's training error is above plain-18's throughout; ResNet-34's is below ResNet-18's. Shortcuts are option A, so
that plain and residual nets have equally many parameters. Figure 4 shows centre-crop errors, Table 2 those of ten
crops.
"""

from reslab.paper.catalogue import IMAGENET, Arm, Column, Experiment
from reslab.paper.claims import Equal, Less
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED

ARMS = (
    Arm(net="plain18"),
    Arm(net="plain34"),
    Arm(net="resnet18[shortcut=A]", name="resnet18"),
    Arm(net="resnet34[shortcut=A]", name="resnet34"),
)

EXPERIMENT = Experiment(
    name="fig4",
    title="Plain and residual nets of 18 and 34 layers",
    source="Fig. 4",
    group="figure",
    arms=ARMS,
    measures=TRAINED,
    columns=(
        Column(value="test_error", heading="one-crop error %", paper="top1_error", tables=("table2",)),
        *ERROR_COLUMNS[1:],
    ),
    figures=("errors",),
    setting=IMAGENET,
    claims=(
        Less(
            text="Plain-34 has the higher training error",
            source="Fig. 4 left",
            value="train_error",
            higher="plain34",
            lower="plain18",
        ),
        Less(
            text="ResNet-34 has the lower training error",
            source="Fig. 4 right",
            value="train_error",
            higher="resnet18",
            lower="resnet34",
        ),
        Less(
            text="ResNet-34 errs less than ResNet-18",
            source="Table 2: 2.8 points",
            value="test_error",
            higher="resnet18",
            lower="resnet34",
        ),
        Less(
            text="ResNet-34 errs less than plain-34",
            source="Table 2: 3.5 points",
            value="test_error",
            higher="plain34",
            lower="resnet34",
        ),
        Equal(
            text="At 18 layers plain and residual nets are comparably accurate (within a point)",
            source="Table 2: 27.94 and 27.88",
            value="test_error",
            first="plain18",
            second="resnet18",
            margin=1.0,
        ),
    ),
)
