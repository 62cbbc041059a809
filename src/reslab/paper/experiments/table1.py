"""Table 1: the architectures for ImageNet, and the arithmetic of the text; computed, in a second.

    reslab paper run table1

Multiply-adds at 224x224 of convolutions and matrix products, projections included. The paper's 3.8, 7.6 and 11.3
billion are those of bottlenecks with the stride on the first 1x1 (v1); torchvision's have it on the 3x3 (v1.5).
"""

from reslab.paper.catalogue import IMAGENET, Arm, Column, Experiment, Measure
from reslab.paper.claims import Bound, Less, Ratio

_ARMS = (
    Arm(net="plain18"),
    Arm(net="plain34"),
    Arm(net="resnet18[shortcut=A]", name="resnet18"),
    Arm(net="resnet34[shortcut=A]", name="resnet34"),
    Arm(net="resnet50[stride=v1]", name="resnet50"),
    Arm(net="resnet101[stride=v1]", name="resnet101"),
    Arm(net="resnet152[stride=v1]", name="resnet152"),
    Arm(net="vgg16"),
    Arm(net="vgg19"),
)

EXPERIMENT = Experiment(
    name="table1",
    title="Architectures and their arithmetic",
    source="Table 1, Sec. 3.3 and 4.1",
    group="table",
    how="computed",
    arms=_ARMS,
    measures=(Measure(name="complexity"), Measure(name="layer-costs"), Measure(name="arithmetic")),
    columns=(
        Column(value="gmacs", heading="multiply-adds, billions", digits=3, paper="gmacs", tables=("table1",)),
        Column(value="million_parameters", heading="parameters, millions", digits=3),
        Column(value="num_layers", heading="layers", digits=0),
    ),
    figures=("layer-costs",),
    setting=IMAGENET,
    claims=(
        Ratio(
            text="Plain-34 takes 18 % of VGG-19's multiply-adds",
            source="Sec. 3.3",
            value="gmacs",
            over="plain34",
            under="vgg19",
            least=0.175,
            most=0.19,
        ),
        Less(
            text="ResNet-152 still takes less than VGG-16",
            source="Sec. 4.1: 11.3 and 15.3 billion",
            value="gmacs",
            higher="vgg16",
            lower="resnet152",
        ),
        Ratio(
            text="ResNet-34 of option A takes as many multiply-adds as plain-34",
            source="Sec. 3.3",
            value="gmacs",
            over="resnet34",
            under="plain34",
            least=1.0,
            most=1.0,
        ),
        Ratio(
            text="... and as many parameters",
            source="Sec. 3.3",
            value="million_parameters",
            over="resnet34",
            under="plain34",
            least=1.0,
            most=1.0,
        ),
        Ratio(
            text="ResNet-152 is 8 times deeper than VGG-19",
            source="Abstract",
            value="num_layers",
            over="resnet152",
            under="vgg19",
            least=8.0,
            most=8.0,
        ),
        Bound(
            text="Where the map halves and the channels double, a 3x3 layer's cost stays (dearest over cheapest)",
            source="Sec. 3.3",
            value="stage_cost_ratio",
            arm="plain34",
            least=1.0,
            most=1.0,
        ),
        Bound(
            text="A bottleneck of 256-64-64-256 has 69,632 weights, two 3x3 layers of 64 channels 73,728: their ratio",
            source="Sec. 4.1, Fig. 5",
            value="bottleneck_ratio",
            arm="resnet50",
            least=69_632 / 73_728,
            most=69_632 / 73_728,
        ),
        Bound(
            text="A projection as its shortcut would double that (1.94 times)",
            source="Sec. 4.1",
            value="projection_ratio",
            arm="resnet50",
            least=1.9,
            most=2.0,
        ),
    ),
)
