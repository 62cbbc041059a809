"""The kinds of shortcuts: A, B, C, average pooling, gates, and none.

    reslab paper run shortcuts --budget 4m
    reslab paper run shortcuts --data cifar10-jpeg/ --budget 3h

A has no parameters; B has projections where dimensions grow, C everywhere; average pooling is KellerJordan's option;
gates are those of highway networks. Error beside parameters, multiply-adds, memory and images a second; these are of
the trainings as they went, with others beside them, and compare nothing unless the machine had nothing else to do.
"""

from reslab.paper.catalogue import Arm, Column, Experiment, Measure
from reslab.paper.claims import Equal, Less
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED

_KINDS = {
    "A": "A",
    "B": "B",
    "C": "C",
    "average-pooled": "avgpool",
    "gated": "gated",
    "none": "none",
}

EXPERIMENT = Experiment(
    name="shortcuts",
    title="Kinds of shortcuts",
    source="Sec. 3.3, Sec. 4.1; Table 3",
    group="text",
    arms=tuple(Arm(net=f"resnet32[shortcut={field}]", name=name) for name, field in _KINDS.items()),
    measures=(*TRAINED, Measure(name="training-cost")),
    columns=(
        *ERROR_COLUMNS[:2],
        Column(value="thousand_parameters", heading="parameters, thousands", digits=1),
        Column(value="million_macs", heading="multiply-adds, millions", digits=2),
        Column(value="training_mib", heading="activations of a training step, MiB", digits=0),
        Column(value="images_per_second", heading="images/s in training", digits=0),
    ),
    figures=("bars",),
    claims=(
        *(
            Less(
                text=f"Option {option} is better than no shortcut",
                source="Table 3",
                value="train_error",
                higher="none",
                lower=option,
            )
            for option in "ABC"
        ),
        Equal(
            text="A and B differ by less than 2 points",
            source="Sec. 4.1: small differences",
            value="test_error",
            first="A",
            second="B",
            margin=2.0,
        ),
        Equal(
            text="... and B and C do",
            source="Sec. 4.1: small differences",
            value="test_error",
            first="B",
            second="C",
            margin=2.0,
        ),
    ),
)
