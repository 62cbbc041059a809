"""The solution by construction: a deeper plain net that is exactly as good, which training does not find.

    reslab paper run construction

"There exists a solution by construction to the deeper model: the added layers are identity mapping, and the other
layers are copied from the learned shallower model" (Sec. 1). A trained plain-20 is deepened to 56 layers so; its
outputs stay the same. Plain-56 trained from a random start has a higher training error.
"""

from reslab.paper.catalogue import Column, Experiment, Measure
from reslab.paper.claims import Bound, Less
from reslab.paper.experiments.common import TRAINED, arms

EXPERIMENT = Experiment(
    name="construction",
    title="The deeper net that exists and is not found",
    source="Sec. 1",
    group="text",
    arms=arms("plain20", "plain56"),
    measures=(*TRAINED, Measure(name="construction", options={"depth": 56})),
    columns=(
        Column(value="train_error_clean", heading="training error, eval mode %"),
        Column(value="constructed_error", heading="the same, deepened to 56 layers %"),
        Column(value="largest_difference", heading="largest difference of a logit", digits=7),
        Column(value="test_error", heading="test error %"),
    ),
    figures=("errors",),
    seeds=3,
    claims=(
        Bound(
            text="Plain-20 deepened to 56 layers by identities computes the same: for less than 0.5 % of the "
            "images logits differ by 0.001 or more",
            source="Sec. 1",
            value="differing_outputs",
            arm="plain20",
            most=0.5,
        ),
        Bound(
            text="... and so has the same training error: its answer is another one for less than 0.5 % of the images",
            source="Sec. 1",
            value="changed_answers",
            arm="plain20",
            most=0.5,
        ),
        Less(
            text="Plain-56 from a random start ends with a higher training error than the net that was constructed",
            source="Sec. 1, Fig. 1",
            value="error_at_depth",
            higher="plain56",
            lower="plain20",
        ),
    ),
)
