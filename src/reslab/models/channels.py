"""Weights for other channels than the network's: grey for RGB and the other way round."""

from collections.abc import Mapping

import torch
from torch import Tensor

from reslab.errors import ReslabWarning

__all__ = ["ChannelsAdaptedWarning", "adapt_channels"]


class ChannelsAdaptedWarning(ReslabWarning):
    """The weights' first convolution was for another number of channels, and was fitted to the model's."""


def adapt_channels(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Weights whose first convolution takes as many channels as the network's, as timm makes them.

    For one channel the filters' channels are summed: a grey image gives what it gave as RGB of three equal channels, if
    it is normalised alike. For more they are repeated in turn, and scaled so that equal channels give the same sum.

    Args:
        own: the network's tensors, in its order.
        given: the file's, by the same names.

    Returns:
        The tensors, and a sentence on what was done, without its full stop; empty where nothing was.
    """
    name = next((key for key, tensor in own.items() if tensor.ndim == 4), "")
    ours, theirs = own.get(name), given.get(name)
    if ours is None or theirs is None or theirs.ndim != 4 or not theirs.shape[1] or not _has_fractions(theirs):
        return dict(given), ""
    channels, had = ours.shape[1], theirs.shape[1]
    alike = (ours.shape[0], *ours.shape[2:]) == (theirs.shape[0], *theirs.shape[2:])
    if not alike or channels == had or not (channels == 1 or had in (1, 3)):
        return dict(given), ""
    if channels == 1:
        adapted, how = theirs.sum(dim=1, keepdim=True), "summed"
    else:
        adapted = theirs.repeat(1, -(-channels // had), 1, 1)[:, :channels] * (had / channels)
        how = "repeated and scaled"
    sentence = f"the filters of {name} are {how}: {had} channels in the file, {channels} in the model"
    return {**given, name: adapted.contiguous()}, sentence


def _has_fractions(tensor: Tensor) -> bool:
    """Whether it is one of the tensors that can be added up; others are refused where all values are looked at."""
    return tensor.is_floating_point() and tensor.layout == torch.strided and not tensor.is_quantized
