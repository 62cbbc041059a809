"""Highway networks' gates do not gain from depth.

    reslab paper run gating

"High-way networks have not demonstrated accuracy gains with extremely increased depth (e.g., over 100 layers)"
(Sec. 2). Gates that multiply the shortcut by 1 - g and the branch by g, of 20 and 110 layers, and shortcuts that are
always open.
"""

from reslab.paper.catalogue import Arm, Experiment
from reslab.paper.claims import Less
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED

EXPERIMENT = Experiment(
    name="gating",
    title="Gated shortcuts and depth",
    source="Sec. 2",
    group="text",
    arms=(
        Arm(net="resnet20[shortcut=gated]", name="gated 20"),
        Arm(net="resnet110[shortcut=gated]", name="gated 110"),
        Arm(net="resnet20"),
        Arm(net="resnet110"),
    ),
    measures=TRAINED,
    columns=ERROR_COLUMNS,
    figures=("errors",),
    quoted=("shortcuts",),
    claims=(
        Less(
            text="Gated-110 is no better than gated-20 (by at most a point)",
            source="Sec. 2",
            value="test_error",
            higher="gated 110",
            lower="gated 20",
            margin=-1.0,
        ),
    ),
)
