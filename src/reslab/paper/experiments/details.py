"""What the paper leaves open, one factor at a time.

    reslab paper run details
    reslab paper run details --data cifar10-jpeg/ --budget 8h --seeds 3

Weight decay on batch norm and biases or on weights only, Nesterov's momentum, He's start by fan-in or fan-out, batch
norm over the batch or over half of it (the paper's two GPUs), what comes into view at the borders, the mean of every
pixel or mean and std of the channels, batch norm's averages measured after the training, where option A puts its zero
channels, zero-initialised branches, stochastic depth, pre-activation. Each differs from the base in one thing; a
difference inside the noise is called that.
"""

from reslab.paper.catalogue import Arm, Experiment
from reslab.paper.claims import Equal
from reslab.paper.experiments.common import ERROR_COLUMNS, TRAINED

BASE = "as in the recipe"
_GHOST = "regularization.ghost_batch"
_HALVES = "batch norm over halves"
_FACTORS: dict[str, tuple[str, dict[str, str]]] = {
    BASE: ("resnet20", {}),
    "decay on weights only": ("resnet20", {"optimizer.decay": "weights"}),
    "Nesterov's momentum": ("resnet20", {"optimizer.nesterov": "true"}),
    "He's start by fan-in": ("resnet20[init=fan_in]", {}),
    _HALVES: ("resnet20", {_GHOST: "64"}),
    "zero channels on both sides": ("resnet20[shortcut_padding=split]", {}),
    "black borders": ("resnet20", {"data.images.pad_with": "black"}),
    "mean and std of channels": ("resnet20", {"data.normalization": "per-channel"}),
    "precise batch norm": ("resnet20", {"monitoring.precise_bn_images": "1000"}),
    "zero-initialised branches": ("resnet20[zero_init_residual=true]", {}),
    "stochastic depth 0.1": ("resnet20[stochastic_depth=0.1]", {}),
    "full pre-activation": ("resnet20[order=pre]", {}),
}

EXPERIMENT = Experiment(
    name="details",
    title="What the paper leaves open, factor by factor",
    source="Sec. 3.4, 4.2",
    group="text",
    arms=tuple(
        Arm(net=net, name=name, fields=fields, digits={_GHOST: "16"} if name == _HALVES else {})
        for name, (net, fields) in _FACTORS.items()
    ),
    measures=TRAINED,
    columns=ERROR_COLUMNS,
    figures=("bars",),
    seeds=5,
    claims=tuple(
        Equal(
            text=f"{name[0].upper()}{name[1:]}: the test error stays within a point of the base's",
            source="open in the paper",
            value="test_error",
            first=BASE,
            second=name,
            margin=1.0,
        )
        for name in _FACTORS
        if name != BASE
    ),
)
