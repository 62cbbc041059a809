"""The residual net converges faster where both end alike.

    reslab paper run convergence
    reslab paper run convergence --data cifar10-jpeg/ --budget 1h

"When the net is 'not overly deep' (18 layers here), the current SGD solver is still able to find good solutions to
the plain net. In this case, the ResNet eases the optimization by providing faster convergence at the early stage"
(Sec. 4.1).
"""

from reslab.paper.catalogue import IMAGENET, Arm, Column, Experiment, Measure
from reslab.paper.claims import Equal, Less
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED

EXPERIMENT = Experiment(
    name="convergence",
    title="Faster convergence at 18 layers",
    source="Sec. 4.1, Fig. 4 right",
    group="text",
    arms=(Arm(net="plain18"), Arm(net="resnet18[shortcut=A]", name="resnet18")),
    measures=(*TRAINED, Measure(name="convergence", options={"train_error": 50.0})),
    columns=(
        Column(value="iterations_to_error", heading="iterations to 50 % training error", digits=0),
        *ERROR_COLUMNS,
    ),
    figures=("errors",),
    seeds=3,
    setting=IMAGENET,
    claims=(
        Less(
            text="ResNet-18 reaches 50 % training error in fewer iterations than plain-18",
            source="Sec. 4.1",
            value="iterations_to_error",
            higher="plain18",
            lower="resnet18",
        ),
        Equal(
            text="Both end alike (test errors within 2 points)",
            source="Table 2: 27.94 and 27.88",
            value="test_error",
            first="plain18",
            second="resnet18",
            margin=2.0,
        ),
    ),
)
