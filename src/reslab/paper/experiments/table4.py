"""Table 4: the best single models, tested densely at several scales.

    reslab paper run table4 --data imagenet/ --nets resnet50=torchvision:V1
    reslab paper run table4 --data photos/ --depths 34,50 --input-size 64 --budget 2h

The networks of Table 3, fully convolutional, with scores averaged over five sizes of the shorter side; at 224 pixels
{224, 256, 384, 480, 640}, and in proportion at others.
"""

from dataclasses import replace

from reslab.paper.catalogue import Column, Experiment, Measure
from reslab.paper.claims import Less
from reslab.paper.experiments import table3
from reslab.paper.experiments.common import TRAINED

_DENSE = Measure(name="protocol", options={"protocol": "dense"})

EXPERIMENT: Experiment = replace(
    table3.EXPERIMENT,
    name="table4",
    title="Single models, dense tests at several scales",
    source="Table 4",
    measures=(*TRAINED, _DENSE),
    columns=(
        Column(value="dense_top1", heading="top-1 error, dense %", paper="top1_error", tables=("table4",)),
        Column(value="dense_top5", heading="top-5 %", paper="top5_error", tables=("table4",)),
        Column(value="test_error", heading="one-crop error %"),
    ),
    quoted=("table4",),
    claims=(
        Less(
            text="ResNet-152 errs less than ResNet-34 (B)",
            source="Table 4: 19.38 and 21.84",
            value="dense_top1",
            higher="resnet34 B",
            lower="resnet152",
        ),
    ),
)
