"""From a description to a network."""

from reslab.models.features import FeatureNetwork
from reslab.models.residual import ResNet
from reslab.models.spec import NetSpec
from reslab.models.vgg import VGG

__all__ = ["build"]


def build(spec: NetSpec) -> FeatureNetwork:
    """The network that a description stands for, with fresh weights from torch's global generator."""
    return VGG(spec) if spec.family == "vgg" else ResNet(spec)
