"""Forward signals and gradients, layer by layer, at the start and along the training.

    reslab paper run signals
    reslab paper run signals --depths 20,56,110 --budget 10m

"We also verify that the backward propagated gradients exhibit healthy norms with BN. So neither forward nor backward
signals vanish" (Sec. 4.1). Measured are the standard deviation of each 3x3 layer's output, after batch norm where
there is one, and the norm of the loss's gradient with respect to its convolution's output, in units of that output's
standard deviation. They are taken over a batch of training images with the batch's own statistics, at the start, three
times along the training, and at its end; beside them the norm of each layer's weights. One arm has its gradients
clipped, so that the first steps cannot throw the weights far.
"""

from reslab.paper.catalogue import Arm, Column, Experiment, Measure
from reslab.paper.claims import Bound, Less
from reslab.paper.experiments.common import ERRORS

_ARMS = (
    Arm(net="plain20"),
    Arm(net="plain56"),
    Arm(net="resnet20"),
    Arm(net="resnet56"),
    Arm(net="plain110"),
    Arm(net="resnet110"),
    Arm(net="plain56", name="plain56, clipped", fields={"optimizer.clip_norm": "5"}),
    Arm(net="plain20[norm=none]", name="plain20 without BN"),
    Arm(net="plain20[activation=sigmoid]", name="plain20, sigmoid"),
    Arm(net="plain20[norm=none,activation=sigmoid]", name="plain20, sigmoid, without BN"),
)
_ABOUT = "Sec. 4.1: gradients with BN have healthy norms"

EXPERIMENT = Experiment(
    name="signals",
    title="Do signals vanish? Responses and gradients by layer",
    source="Sec. 4.1",
    group="text",
    arms=_ARMS,
    measures=(ERRORS, Measure(name="signals")),
    columns=(
        Column(value="start_gradient_ratio", heading="gradient, first over last layer, at the start", digits=1),
        Column(value="end_gradient_ratio", heading="the same, trained", digits=1),
        Column(value="start_growth", heading="growth a layer, at the start", digits=3),
        Column(value="least_response", heading="smallest response at the start", digits=3),
        Column(value="weight_growth", heading="largest growth of a layer's weights", digits=1),
        Column(value="train_error", heading="training error %"),
    ),
    figures=("signals",),
    keep_checkpoints=4,
    seeds=3,
    claims=(
        Bound(
            text="With BN the forward signals of a plain net do not vanish: no layer's is below 0.1 at the start",
            source=_ABOUT,
            value="least_response",
            arm="plain56",
            least=0.1,
        ),
        Bound(
            text="With BN a plain net's gradients do not vanish: the first layer's is no less than the last one's",
            source=_ABOUT,
            value="start_gradient_ratio",
            arm="plain56",
            least=1.0,
        ),
        Less(
            text="What the paper does not say: at the start they explode, in the deeper plain net more",
            source="beyond the paper",
            value="start_gradient_ratio",
            higher="plain56",
            lower="plain20",
        ),
        Less(
            text="... and more than in a residual net of the same depth",
            source="beyond the paper",
            value="start_gradient_ratio",
            higher="plain56",
            lower="resnet56",
        ),
        Less(
            text="... which ends in the weights: in plain-56 those of some layer grow more than any in ResNet-56",
            source="beyond the paper",
            value="weight_growth",
            higher="plain56",
            lower="resnet56",
        ),
        Less(
            text="... and is not what makes it train badly: clipped at norm 5, plain-56 is still worse than plain-20",
            source="beyond the paper",
            value="train_error",
            higher="plain56, clipped",
            lower="plain20",
        ),
        Bound(
            text="Without BN and with sigmoids gradients do vanish: a hundredth and less arrives at the first layer",
            source="Sec. 1: the obstacle that normalisation has solved",
            value="start_gradient_ratio",
            arm="plain20, sigmoid, without BN",
            most=0.01,
        ),
    ),
)
