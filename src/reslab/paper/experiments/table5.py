"""Table 5: ensembles.

    reslab paper run table5 --budget 4m
    reslab paper run table5 --data imagenet/ --nets resnet50=torchvision:V1 resnet152=torchvision:V1

Six models of different depths, two of them of 152 layers, with averaged scores: 3.57 % top-5 error. A single
ResNet-152 already beats all earlier ensembles (4.49 % in Table 4). Here nets of 20 to 56 layers are trained and
tested together.
"""

from reslab.paper.catalogue import Column, Ensemble, Experiment
from reslab.paper.claims import Less
from reslab.paper.experiments.common import TRAINED, of_depths

_NAMES = ("resnet20", "resnet32", "resnet44", "resnet56")

EXPERIMENT = Experiment(
    name="table5",
    title="Ensembles of nets of different depths",
    source="Table 5",
    group="table",
    arms=of_depths("resnet", (20, 32, 44, 56)),
    measures=TRAINED,
    ensembles=(Ensemble(name="all four together", arms=_NAMES),),
    columns=(Column(value="test_error", heading="test error %"),),
    quoted=("table5", "winners"),
    claims=tuple(
        Less(
            text=f"The ensemble errs less than its member {name}",
            source="Table 5 and Table 4: 3.57 and 4.49",
            value="test_error",
            higher=name,
            lower="all four together",
        )
        for name in _NAMES
    ),
)
