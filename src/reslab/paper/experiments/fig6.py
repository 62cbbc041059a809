"""Figure 6 and Table 6: CIFAR-10, plain and residual nets of 20 to 110 layers, and of 1202.

    reslab paper run fig6 --depths 20,32,44,56 --budget 10m
    reslab paper run table6 --data cifar10

Plain nets get worse with depth, in training too; ResNets get better, up to 110 layers. Plain-110's error is above 60
% and not shown. ResNet-110 warms up at 0.01 until its training error is below 80 %. ResNet-1202 trains as well and
tests worse, which the paper puts down to overfitting. Table 6 has ResNet-110 with five seeds: the best, and mean +/-
std.
"""

from reslab.paper.catalogue import Column, Experiment
from reslab.paper.claims import Bound, Less, Trend
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED, of_depths

_DEPTHS = (20, 32, 44, 56, 110)
_COLUMNS = (
    Column(
        value="test_error", heading="test error %", paper="test_error", tables=("table6", "fig6"), others="test_error"
    ),
    *ERROR_COLUMNS[1:],
)

EXPERIMENT = Experiment(
    name="fig6",
    title="Depth in plain and in residual nets",
    source="Fig. 6",
    group="figure",
    arms=(*of_depths("plain", _DEPTHS), *of_depths("resnet", (*_DEPTHS, 1202))),
    measures=TRAINED,
    columns=_COLUMNS,
    figures=("errors", "depths"),
    claims=(
        Trend(
            text="Degradation: plain nets' training error rises with depth",
            source="Fig. 6 left",
            value="train_error",
            arms=("plain20", "plain32", "plain44", "plain56"),
            rising=True,
        ),
        Less(
            text="Degradation: plain-56's training error is above plain-20's",
            source="Fig. 6 left",
            value="train_error",
            higher="plain56",
            lower="plain20",
        ),
        Bound(
            text="Plain-110's error is above 60 %",
            source="Sec. 4.2, Fig. 6",
            value="test_error",
            arm="plain110",
            least=60.0,
        ),
        Trend(
            text="ResNets' test error falls with depth, to 110 layers",
            source="Table 6: 8.75, 7.51, 7.17, 6.97, 6.43",
            value="test_error",
            arms=("resnet20", "resnet32", "resnet44", "resnet56", "resnet110"),
            rising=False,
        ),
        Less(
            text="ResNet-56's test error is below ResNet-20's",
            source="Table 6: 8.75 and 6.97",
            value="test_error",
            higher="resnet20",
            lower="resnet56",
        ),
        Less(
            text="At 56 layers the residual net has the lower training error",
            source="Fig. 6 left and middle",
            value="train_error",
            higher="plain56",
            lower="resnet56",
        ),
        Bound(
            text="ResNet-1202's training error is below 0.1 %",
            source="Sec. 4.2, Fig. 6 right",
            value="train_error",
            arm="resnet1202",
            most=0.1,
        ),
        Less(
            text="... and its test error above ResNet-110's",
            source="Table 6: 7.93 and 6.43",
            value="test_error",
            higher="resnet1202",
            lower="resnet110",
        ),
    ),
    note="Plain-110 is not in the paper's figure; its text says that the error is above 60 %.",
)
