"""Table 6: classification error on the CIFAR-10 test set.

    reslab paper run table6 --data cifar10
    reslab paper run table6 --data cifar10-jpeg/ --depths 20,32,44,56 --budget 8h

The trainings are those of Fig. 6. ResNet-110 is trained five times, and the paper gives its best and its mean +/-
std; all others once. 1202 layers take the rate 0.01 in the beginning here, too, as 110 do.
"""

from dataclasses import replace

from reslab.paper.catalogue import Arm, Column, Experiment
from reslab.paper.experiments import fig6
from reslab.paper.experiments.common import of_depths

_ARMS = (*of_depths("resnet", (20, 32, 44, 56)), Arm(net="resnet110", seeds=5), Arm(net="resnet1202"))

EXPERIMENT: Experiment = replace(
    fig6.EXPERIMENT,
    name="table6",
    title="Classification error on CIFAR-10",
    source="Table 6",
    group="table",
    arms=_ARMS,
    columns=(
        Column(value="test_error", heading="test error %", paper="mean_test_error", tables=("table6",)),
        Column(
            value="test_error", heading="best %", paper="test_error", tables=("table6",), others="test_error", best=True
        ),
        *fig6.EXPERIMENT.columns[1:],
    ),
    figures=("depths",),
    quoted=("table6", "others-cifar"),
    claims=tuple(claim for claim in fig6.EXPERIMENT.claims if all(name.startswith("resnet") for name in claim.arms)),
    note="",
)
