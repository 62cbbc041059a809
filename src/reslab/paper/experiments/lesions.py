"""Beyond the paper: what a trained net loses with a block, with several, and with blocks in another order.

    reslab paper run lesions

Residual nets are much like ensembles of shallow ones (Veit et al. 2016, arXiv 1605.06431): without any one block but
the first of a stage they go on working, several blocks can be missed or swapped with a smooth loss, and most of the
gradient comes through paths that are short. A plain net without one of its blocks is at chance.
"""

from reslab.paper.catalogue import Column, Experiment, Measure
from reslab.paper.claims import Bound, Less
from reslab.paper.experiments.common import ERRORS, arms

EXPERIMENT = Experiment(
    name="lesions",
    title="Nets without a block, and with blocks in another order",
    source="beyond the paper; arXiv 1605.06431",
    group="beyond",
    arms=arms("resnet20", "resnet56", "plain20"),
    measures=(ERRORS, Measure(name="lesions")),
    columns=(
        Column(value="test_error", heading="test error %"),
        Column(value="one_lesion_error", heading="without one block %"),
        Column(value="five_lesions_error", heading="without five %"),
        Column(value="shuffled_error", heading="two blocks swapped %"),
        Column(value="mean_path_length", heading="mean length of the gradient's paths", digits=1),
    ),
    figures=("lesions",),
    seeds=3,
    claims=(
        Less(
            text="Without one block a plain net loses more than a residual one",
            source="arXiv 1605.06431",
            value="lesion_rise",
            higher="plain20",
            lower="resnet20",
        ),
        Less(
            text="... and a shallow residual net more than a deep one",
            source="arXiv 1605.06431",
            value="lesion_rise",
            higher="resnet20",
            lower="resnet56",
        ),
        Bound(
            text="The gradient comes through paths shorter than half of ResNet-56's 27 blocks",
            source="arXiv 1605.06431: 10 to 34 layers of 110",
            value="mean_path_length",
            arm="resnet56",
            most=13.5,
        ),
    ),
)
