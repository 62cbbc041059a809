"""Residual functions are generally closer to zero than to anything else: |F| / |x|, block by block.

    reslab paper run zero

"If an identity mapping were optimal, it would be easier to push the residual to zero than to fit an identity mapping
by a stack of nonlinear layers" (Sec. 1). Measured are |F| / |x|, the cosine of H = F + x and x, and the error of
the net without one block's F, by position and depth.
"""

from reslab.paper.catalogue import Column, Experiment, Measure
from reslab.paper.claims import Bound, Less
from reslab.paper.experiments.common import ERRORS, of_depths

EXPERIMENT = Experiment(
    name="zero",
    title="How small are the residual functions?",
    source="Sec. 1, Sec. 4.2",
    group="text",
    arms=of_depths("resnet", (20, 32, 56)),
    measures=(ERRORS, Measure(name="branches")),
    columns=(
        Column(value="mean_ratio", heading="mean |F| / |x|", digits=3),
        Column(value="mean_cosine", heading="mean cosine of H and x", digits=3),
        Column(value="test_error", heading="test error %"),
        Column(value="mean_lesion_error", heading="mean error with one F = 0 %"),
    ),
    figures=("branches",),
    seeds=3,
    claims=(
        Less(
            text="The deeper the net, the smaller its residual functions: |F| / |x| at 56 layers is below that at 20",
            source="Sec. 4.2, Fig. 7",
            value="mean_ratio",
            higher="resnet20",
            lower="resnet56",
        ),
        Bound(
            text="At 56 layers most of a block's output is its input: the mean cosine of H and x is above 0.7",
            source="Sec. 1, in numbers of our own",
            value="mean_cosine",
            arm="resnet56",
            least=0.7,
        ),
        Less(
            text="A block of the deeper net is missed less: the mean rise of the error with one F = 0",
            source="beyond the paper; arXiv 1605.06431",
            value="mean_lesion_rise",
            higher="resnet20",
            lower="resnet56",
        ),
    ),
)
