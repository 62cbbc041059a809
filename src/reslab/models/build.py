"""From a description to a network."""

import torch

from reslab.errors import ModelError
from reslab.models.features import FeatureNetwork
from reslab.models.residual import ResNet
from reslab.models.spec import NetSpec
from reslab.models.vgg import VGG
from reslab.models.zoo import spell

__all__ = ["build", "skeleton"]


def build(spec: NetSpec) -> FeatureNetwork:
    """The network that a description stands for, with fresh weights from torch's global generator.

    Raises:
        ModelError: this machine has not the memory for it.
    """
    try:
        return VGG(spec) if spec.family == "vgg" else ResNet(spec)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):  # torch's word for it
            raise
        raise ModelError(
            f"{spell(spec)} has more than {spec.least_weights:,} weights, for which there is no memory here."
        ) from None


def skeleton(spec: NetSpec) -> FeatureNetwork:
    """The same network without values, which takes no memory: to compare shapes with."""
    with torch.device("meta"):
        return build(spec)
