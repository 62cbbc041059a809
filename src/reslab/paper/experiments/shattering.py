"""Beyond the paper: gradients shatter with depth.

    reslab paper run shattering

In deep plain nets the gradients at neighbouring inputs are as uncorrelated as noise (Balduzzi et al. 2017, arXiv
1702.08591): correlation decays exponentially with depth in plain nets and sublinearly in residual ones; a
looks-linear start has none of it. Fully connected nets of one input, as in that paper, with fresh weights.
"""

from reslab.paper.catalogue import Arm, Column, Experiment, Measure
from reslab.paper.claims import Less

_KINDS = ("plain", "residual", "looks-linear")
_DEPTHS = (2, 10, 24, 50)
_ARMS = tuple(
    Arm(name=f"{kind}, {depth} layers", options={"kind": kind, "depth": depth}) for kind in _KINDS for depth in _DEPTHS
)

EXPERIMENT = Experiment(
    name="shattering",
    title="Shattered gradients",
    source="beyond the paper; arXiv 1702.08591",
    group="beyond",
    how="measured",
    arms=_ARMS,
    measures=(Measure(name="shattering"),),
    columns=(Column(value="correlation", heading="correlation of neighbouring gradients", digits=3),),
    figures=("autocorrelations",),
    seeds=5,
    claims=(
        Less(
            text="At 24 layers a plain net's neighbouring gradients are less correlated than a residual net's",
            source="arXiv 1702.08591",
            value="correlation",
            higher="residual, 24 layers",
            lower="plain, 24 layers",
        ),
        Less(
            text="... and at 50",
            source="arXiv 1702.08591",
            value="correlation",
            higher="residual, 50 layers",
            lower="plain, 50 layers",
        ),
        Less(
            text="A looks-linear start keeps them: at 50 layers more than a residual net",
            source="arXiv 1702.08591",
            value="correlation",
            higher="looks-linear, 50 layers",
            lower="residual, 50 layers",
        ),
    ),
)
