"""Figure 7: the standard deviations of layer responses.

    reslab paper run fig7
    reslab paper run fig7 --nets 'resnet20[shortcut_padding=split]=resnet20.th'    # from the weights alone
    reslab paper run fig7 --nets runs/a runs/b --data cifar10

The response of a 3x3 layer is its output after batch norm, before ReLU or the addition. ResNets' are generally
smaller than their plain counterparts', and smaller still with more layers: each block changes the signal less. They
are measured on test images, and estimated from batch norm's scale and shift alone, sqrt(mean gamma^2 + var beta), as
if the normalised values were normal and independent of the channel.
"""

from reslab.paper.catalogue import Column, Experiment, Measure
from reslab.paper.claims import Less
from reslab.paper.experiments.common import ERRORS, arms

EXPERIMENT = Experiment(
    name="fig7",
    title="Standard deviations of layer responses",
    source="Fig. 7",
    group="figure",
    arms=arms("plain20", "plain56", "resnet20", "resnet56", "resnet110"),
    measures=(ERRORS, Measure(name="responses")),
    columns=(
        Column(value="mean_response", heading="mean response", digits=3),
        Column(value="estimated_response", heading="mean response, from batch norm alone", digits=3),
        Column(value="median_response", heading="median", digits=3),
        Column(value="train_error", heading="training error %"),
    ),
    figures=("responses",),
    seeds=3,
    claims=(
        Less(
            text="ResNet-20's responses are smaller than plain-20's",
            source="Fig. 7",
            value="mean_response",
            higher="plain20",
            lower="resnet20",
        ),
        Less(
            text="ResNet-56's responses are smaller than plain-56's",
            source="Fig. 7",
            value="mean_response",
            higher="plain56",
            lower="resnet56",
        ),
        Less(
            text="Responses are smaller in the deeper ResNet: 56 layers against 20",
            source="Fig. 7",
            value="mean_response",
            higher="resnet20",
            lower="resnet56",
        ),
        Less(
            text="... and 110 against 56",
            source="Fig. 7",
            value="mean_response",
            higher="resnet56",
            lower="resnet110",
        ),
    ),
)
