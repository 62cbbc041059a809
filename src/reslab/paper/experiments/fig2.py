"""Figures 2, 3 and 5: a residual block, the architectures side by side, and the bottleneck, drawn from the networks.

    reslab paper run fig3

Each picture is made of the module objects that `reslab.create_model` builds, so that it shows what is trained.
"""

from reslab.paper.catalogue import IMAGENET, Arm, Column, Experiment, Measure

_COMPLEXITY = Measure(name="complexity")
_COLUMNS = (
    Column(value="gmacs", heading="multiply-adds, billions", digits=3),
    Column(value="million_parameters", heading="parameters, millions", digits=3),
)

FIG2 = Experiment(
    name="fig2",
    title="A building block of residual learning",
    source="Fig. 2",
    group="figure",
    how="computed",
    arms=(Arm(net="resnet34[blocks=1,widths=64,shortcut=A]", name="basic block"),),
    measures=(_COMPLEXITY,),
    columns=_COLUMNS,
    figures=("architectures",),
    setting=IMAGENET,
)

FIG3 = Experiment(
    name="fig3",
    title="VGG-19, plain-34 and ResNet-34",
    source="Fig. 3",
    group="figure",
    how="computed",
    arms=(Arm(net="vgg19"), Arm(net="plain34"), Arm(net="resnet34[shortcut=A]", name="resnet34")),
    measures=(_COMPLEXITY,),
    columns=_COLUMNS,
    figures=("architectures",),
    setting=IMAGENET,
)

FIG5 = Experiment(
    name="fig5",
    title="A basic block and a bottleneck",
    source="Fig. 5",
    group="figure",
    how="computed",
    arms=(
        Arm(net="resnet34[blocks=2,widths=64,shortcut=A]", name="basic blocks"),
        Arm(net="resnet50[blocks=2,widths=64,stride=v1]", name="bottlenecks"),
    ),
    measures=(_COMPLEXITY,),
    columns=_COLUMNS,
    figures=("architectures",),
    setting=IMAGENET,
)
EXPERIMENTS = (FIG2, FIG3, FIG5)
