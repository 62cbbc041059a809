"""Which places of an image speak for a class: class activation maps of the last stage.

A network that ends in global average pooling and one linear layer computes the logit of class c as the mean, over the
places (x, y) of its last feature maps A, of

    M_c(x, y) = sum over k of w_ck A_k(x, y),

plus a bias. M_c is the class activation map of Zhou et al. 2016 (arXiv 1512.04150). Grad-CAM (Selvaraju et al. 2017,
arXiv 1610.02391) weighs A_k by the mean over the places of the logit's gradient, which is w_ck / (h w) here: the same
map but for a factor, so that no backward pass is needed. Of other heads, such as VGG's hidden layers, the gradient is
taken through the head alone, and multiplied by h w likewise.

Whether an image has one label or several makes no difference: each map is of one output.
"""

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reslab.data.batches import to_channels_last
from reslab.data.dataset import Images
from reslab.models.features import FeatureNetwork
from reslab.trained import Trained

__all__ = ["Maps", "activation_maps", "class_activation"]

Maps: TypeAlias = NDArray[np.float32]
"""(..., h, w): how much each place speaks for something, or with a negative number against it."""


def class_activation(
    trained: Trained, images: Images, classes: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float32], Maps]:
    """Logits of images and their class activation maps.

    Args:
        trained: the network, whose normalisation must be known.
        images: (N, H, W, C) uint8 as the network sees them.
        classes: (N, K) outputs to explain of each image; by default the highest one of each, K = 1.

    Returns:
        (N, num_classes) logits, and (N, K, h, w) maps; the mean of a map is the logit less its bias where the network
        ends in average pooling and a linear layer.

    Raises:
        WeightsError: nobody knows the normalisation.
    """
    model = trained.model
    device = next(model.parameters()).device
    inputs = to_channels_last(trained.normalization(images)).to(device)
    with torch.no_grad():
        features = model.forward_features(inputs)
        logits = model.forward_head(features)
    chosen = logits.argmax(dim=1, keepdim=True) if classes is None else torch.from_numpy(classes).to(device)
    maps = activation_maps(model, features, chosen)
    return logits.float().cpu().numpy(), maps.float().cpu().numpy()


def activation_maps(model: FeatureNetwork, features: Tensor, classes: Tensor) -> Tensor:
    """The maps of some classes.

    Args:
        model: in evaluation mode.
        features: (N, channels, h, w), what its `forward_features` gives.
        classes: (N, K) int64 outputs of each image.

    Returns:
        (N, K, h, w).
    """
    return torch.einsum("nkc,nchw->nkhw", _weights(model, features.detach(), classes), features.detach())


def _weights(model: FeatureNetwork, features: Tensor, classes: Tensor) -> Tensor:
    """(N, K, channels): what a feature map counts for a class."""
    classifier = model.get_classifier()
    if (
        isinstance(classifier, nn.Linear)
        and model.global_pool == "avg"
        and model.head_hidden_size == model.num_features
    ):
        return classifier.weight.detach()[classes]
    found = []
    with torch.enable_grad():
        features = features.requires_grad_()
        logits = model.forward_head(features)
        for column in classes.unbind(dim=1):
            score = logits.gather(1, column[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, features, retain_graph=True)
            found.append(gradient.sum(dim=(2, 3)))
    return torch.stack(found, dim=1)
