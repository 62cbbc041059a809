"""Blocks of one, two and three layers, at equal depth.

    reslab paper run blocks

"The form of the residual function F is flexible. Experiments in this paper involve a function F that has two or three
layers (Fig. 5), while more layers are possible. But if F has only a single layer, Eqn. (1) is similar to a linear layer
[...], for which we have not observed advantages" (Sec. 3.2). 20 layers are 18 single blocks, 9 of two or 6 of three.
"""

from reslab.paper.catalogue import Arm, Experiment
from reslab.paper.claims import Less
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED

EXPERIMENT = Experiment(
    name="blocks",
    title="Blocks of one, two and three layers",
    source="Sec. 3.2",
    group="text",
    arms=(
        Arm(net="resnet20[block=single,blocks=6-6-6]", name="one layer"),
        Arm(net="resnet20", name="two layers"),
        Arm(net="resnet20[block=triple,blocks=2-2-2]", name="three layers"),
        Arm(net="plain20", name="plain"),
    ),
    measures=TRAINED,
    columns=ERROR_COLUMNS,
    figures=("errors",),
    seeds=3,
    claims=(
        Less(
            text="Blocks of two layers are better than those of one",
            source="Sec. 3.2: no advantages observed",
            value="test_error",
            higher="one layer",
            lower="two layers",
        ),
    ),
)
