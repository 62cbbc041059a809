"""Table 3: ten-crop errors of options A, B and C at 34 layers, and of deeper nets.

    reslab paper run table3 --data cifar10-jpeg/ --depths 18,34 --budget 10m
    reslab paper run table3 --data imagenet/ --nets resnet50=torchvision:V1 resnet101=torchvision:V1

B is slightly better than A, and C than B; the differences are small, so projections are not essential for curing
degradation. 50, 101 and 152 layers have bottlenecks, with option B; the paper's have the stride on the first 1x1.
"""

from reslab.paper.catalogue import IMAGENET, Arm, Column, Experiment
from reslab.paper.claims import Equal, Less, Trend
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED
from reslab.paper.experiments.table2 import CROPS

_ARMS = (
    Arm(net="plain34"),
    Arm(net="resnet34[shortcut=A]", name="resnet34 A"),
    Arm(net="resnet34", name="resnet34 B", quoted="resnet34[shortcut=B]"),
    Arm(net="resnet34[shortcut=C]", name="resnet34 C"),
    Arm(net="resnet50[stride=v1]", name="resnet50"),
    Arm(net="resnet101[stride=v1]", name="resnet101"),
    Arm(net="resnet152[stride=v1]", name="resnet152"),
)

EXPERIMENT = Experiment(
    name="table3",
    title="Shortcut options and depth on ImageNet",
    source="Table 3",
    group="table",
    arms=_ARMS,
    measures=(*TRAINED, CROPS),
    columns=(
        Column(
            value="crops_top1",
            heading="top-1 error of several crops %",
            paper="top1_error",
            tables=("table3",),
            others="top1_error_10_crop",
        ),
        Column(value="crops_top5", heading="top-5 %", paper="top5_error", tables=("table3",)),
        ERROR_COLUMNS[1],
    ),
    quoted=("table3", "others-imagenet"),
    setting=IMAGENET,
    claims=(
        Equal(
            text="Options A and B differ little (less than a point): projections are not essential",
            source="Sec. 4.1, Table 3: 25.03 and 24.52",
            value="crops_top1",
            first="resnet34 A",
            second="resnet34 B",
            margin=1.0,
        ),
        Equal(
            text="... and so do B and C",
            source="Sec. 4.1, Table 3: 24.52 and 24.19",
            value="crops_top1",
            first="resnet34 B",
            second="resnet34 C",
            margin=1.0,
        ),
        Less(
            text="All three are considerably better than the plain net",
            source="Table 3",
            value="crops_top1",
            higher="plain34",
            lower="resnet34 A",
        ),
        Trend(
            text="The deeper, the better: 34, 50, 101, 152 layers",
            source="Table 3",
            value="crops_top1",
            arms=("resnet34 B", "resnet50", "resnet101", "resnet152"),
            rising=False,
        ),
    ),
)
