"""Figure 1: degradation, and beside it its cure.

    reslab paper run fig1    # two minutes on two cores
    reslab paper run fig1 --data cifar10-jpeg/ --iterations 8000 --precision bf16

Plain nets of 20 and 56 layers: the deeper one has the higher training error, and so the higher test error. That is no
overfitting. The ResNets of the same depths, which the paper shows in Fig. 6, are trained beside them.
"""

from reslab.paper.catalogue import Column, Experiment
from reslab.paper.claims import Less
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED, arms

EXPERIMENT = Experiment(
    name="fig1",
    title="Degradation and its cure",
    source="Fig. 1 and Fig. 6",
    group="figure",
    arms=arms("plain20", "plain56", "resnet20", "resnet56"),
    measures=TRAINED,
    columns=(
        Column(
            value="test_error",
            heading="test error %",
            paper="test_error",
            tables=("table6", "fig6"),
            others="test_error",
        ),
        *ERROR_COLUMNS[1:],
    ),
    figures=("errors",),
    claims=(
        Less(
            text="Degradation: the deeper plain net has the higher training error",
            source="Fig. 1 left, Fig. 6 left",
            value="train_error",
            higher="plain56",
            lower="plain20",
        ),
        Less(
            text="... and the higher test error",
            source="Fig. 1 right, Fig. 6 left",
            value="test_error",
            higher="plain56",
            lower="plain20",
        ),
        Less(
            text="Its cure: the deeper residual net trains no worse than the shallower one (by at most 2 points)",
            source="Fig. 6 middle",
            value="train_error",
            higher="resnet20",
            lower="resnet56",
            margin=-2.0,
        ),
        Less(
            text="At 56 layers the residual net has the lower training error",
            source="Fig. 6 left and middle",
            value="train_error",
            higher="plain56",
            lower="resnet56",
        ),
        Less(
            text="... and the lower test error",
            source="Fig. 6 left and middle",
            value="test_error",
            higher="plain56",
            lower="resnet56",
        ),
        Less(
            text="The deeper residual net has the lower test error",
            source="Table 6: 8.75 and 6.97",
            value="test_error",
            higher="resnet20",
            lower="resnet56",
        ),
    ),
)
