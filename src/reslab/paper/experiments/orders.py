"""The order of batch norm, ReLU and the addition.

    reslab paper run orders

The follow-up, "Identity Mappings in Deep Residual Networks" (arXiv 1603.05027, Table 2), on ResNet-110 and CIFAR-10:
original 6.61 %, BN after the addition 8.17, ReLU before it 7.84, ReLU-only pre-activation 6.71, full pre-activation
6.37.
"""

from reslab.paper.catalogue import Arm, Column, Experiment
from reslab.paper.claims import Less
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED

_ORDERS = {
    "original": "post",
    "BN after addition": "norm-after-addition",
    "ReLU before addition": "relu-before-addition",
    "ReLU-only pre-activation": "relu-only",
    "full pre-activation": "pre",
}

EXPERIMENT = Experiment(
    name="orders",
    title="Orders of batch norm, ReLU and the addition",
    source="arXiv 1603.05027, Table 2",
    group="beyond",
    arms=tuple(
        Arm(net="resnet56" if order == "post" else f"resnet56[order={order}]", name=name, quoted=name)
        for name, order in _ORDERS.items()
    ),
    measures=TRAINED,
    columns=(
        Column(value="test_error", heading="test error %", paper="test_error", tables=("orders",)),
        *ERROR_COLUMNS[1:],
    ),
    quoted=("orders", "pre-activation"),
    figures=("errors",),
    claims=(
        Less(
            text="BN after the addition is worse than the original",
            source="arXiv 1603.05027: 8.17 and 6.61 %",
            value="test_error",
            higher="BN after addition",
            lower="original",
        ),
        Less(
            text="ReLU before the addition is worse than the original",
            source="arXiv 1603.05027: 7.84 and 6.61 %",
            value="test_error",
            higher="ReLU before addition",
            lower="original",
        ),
        Less(
            text="Full pre-activation is better than the original",
            source="arXiv 1603.05027: 6.37 and 6.61 %",
            value="test_error",
            higher="original",
            lower="full pre-activation",
        ),
    ),
)
