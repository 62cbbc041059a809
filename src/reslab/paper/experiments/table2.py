"""Table 2: top-1 error of ten crops, plain and residual nets of 18 and 34 layers.

    reslab paper run table2 --data photos/ --input-size 64 --budget 1h

The trainings are those of Fig. 4. Of small images, which one view shows whole, nine shifted views stand for ten
crops.
"""

from dataclasses import replace

from reslab.paper.catalogue import Column, Experiment, Measure
from reslab.paper.experiments import fig4
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED

CROPS = Measure(name="protocol", options={"protocol": "crops"})

EXPERIMENT: Experiment = replace(
    fig4.EXPERIMENT,
    name="table2",
    title="Plain and residual nets, ten crops",
    source="Table 2",
    group="table",
    measures=(*TRAINED, CROPS),
    columns=(
        Column(value="crops_top1", heading="top-1 error of several crops %", paper="top1_error", tables=("table2",)),
        *ERROR_COLUMNS,
    ),
    claims=tuple(
        replace(claim, value="crops_top1") if claim.value == "test_error" else claim for claim in fig4.EXPERIMENT.claims
    ),
)
