"""Beyond the paper: how fast gradients grow from layer to layer in plain nets with batch norm, at the start.

    reslab paper run explosion

Theory for deep nets with batch norm and ReLU, of infinite width, gives growth of the gradient's norm by
sqrt(pi / (pi - 1)) = 1.211 a layer towards the input (Yang et al. 2019, arXiv 1902.08129). Measured are plain nets of
20, 56 and 110 layers and their residual counterparts with fresh weights, on the training images of the data.
"""

from math import pi, sqrt

from reslab.paper.catalogue import Column, Experiment, Measure
from reslab.paper.claims import Bound
from reslab.paper.experiments.common import of_depths

THEORY = sqrt(pi / (pi - 1))
"""The gradient norm's growth a layer, of infinitely wide plain nets with batch norm and ReLU."""

EXPERIMENT = Experiment(
    name="explosion",
    title="Plain nets' gradients explode at the start",
    source="beyond the paper; arXiv 1902.08129",
    group="beyond",
    how="measured",
    arms=(*of_depths("plain", (20, 56, 110)), *of_depths("resnet", (20, 56, 110))),
    measures=(Measure(name="growth"),),
    columns=(
        Column(value="growth", heading="growth a layer", digits=3),
        Column(value="gradient_ratio", heading="gradient, first over last layer", digits=1),
    ),
    figures=("growth",),
    seeds=10,
    claims=tuple(
        Bound(
            text=f"Plain-{depth}'s gradient norm grows by sqrt(pi / (pi - 1)) = 1.211 a layer, within 5 %",
            source="Yang et al. 2019, for infinite width",
            value="growth",
            arm=f"plain{depth}",
            least=0.95 * THEORY,
            most=1.05 * THEORY,
        )
        for depth in (20, 56, 110)
    ),
)
