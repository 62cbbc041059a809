"""Three times the iterations do not cure plain nets.

    reslab paper run longer

"We conjecture that the deep plain nets may have exponentially low convergence rates" (Sec. 4.1); a footnote: "We have
experimented with more training iterations (3x) and still observed the degradation problem."
"""

from reslab.paper.catalogue import Arm, Experiment
from reslab.paper.claims import Less
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED

EXPERIMENT = Experiment(
    name="longer",
    title="Three times the iterations",
    source="Sec. 4.1, footnote",
    group="text",
    arms=(
        Arm(net="plain20"),
        Arm(net="plain56"),
        Arm(net="plain20", name="plain20, 3x", length=3.0),
        Arm(net="plain56", name="plain56, 3x", length=3.0),
    ),
    measures=TRAINED,
    columns=ERROR_COLUMNS,
    figures=("errors",),
    claims=(
        Less(
            text="After three times the iterations the deeper plain net still has the higher training error",
            source="Sec. 4.1, footnote 3",
            value="train_error",
            higher="plain56, 3x",
            lower="plain20, 3x",
        ),
        Less(
            text="... also than the shallower one after the usual number",
            source="Sec. 4.1, footnote 3",
            value="train_error",
            higher="plain56, 3x",
            lower="plain20",
        ),
    ),
)
