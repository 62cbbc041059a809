"""timm's contract, as a mixin: features, intermediates, the classifier and its exchange, gradient checkpointing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from reslab.errors import ModelError
from reslab.models.spec import NetSpec

__all__ = ["LAST_GROUP", "FeatureNetwork", "pool"]

_POOLS = ("avg", "max", "avgmax", "catavgmax", "")
LAST_GROUP = (99999,)
"""timm's number of a group of parameters after all others."""


def pool(x: Tensor, how: str) -> Tensor:
    """Global pooling by timm's names.

    Args:
        x: (N, C, H, W).
        how: avg; max; avgmax, their mean; catavgmax, one after the other, (N, 2C); empty for none.

    Returns:
        (N, C), or x as it is.
    """
    if how == "":
        return x
    mean, highest = functional.adaptive_avg_pool2d(x, 1), functional.adaptive_max_pool2d(x, 1)
    if how == "avg":
        return torch.flatten(mean, 1)
    if how == "max":
        return torch.flatten(highest, 1)
    if how == "avgmax":
        return torch.flatten(0.5 * (mean + highest), 1)
    return torch.flatten(torch.cat([mean, highest], 1), 1)


class FeatureNetwork(nn.Module):
    """Base of the networks: what timm asks of a model besides `forward`.

    Attributes:
        spec: the network's description.
        num_classes: outputs; 0 without a classifier.
        num_features: channels of `forward_features`.
        head_hidden_size: channels that the classifier sees.
        in_chans: channels of the images.
        feature_info: a dictionary for each intermediate feature map, with `num_chs`, `reduction` and `module`.
    """

    __jit_unused_properties__ = ("recomputes", "stages")  # for torch.jit.script, which compiles the others

    if TYPE_CHECKING:  # TorchScript would compile the types
        spec: NetSpec
        num_classes: int
        num_features: int
        head_hidden_size: int
        in_chans: int
        norm: nn.Module | None
        ends_activated: bool
        feature_info: list[dict[str, Any]]

    def __init__(self) -> None:
        super().__init__()
        self.grad_checkpointing, self.global_pool = False, "avg"  # TorchScript sees no attributes of the class

    # What a network defines

    def feature_steps(self) -> list[Callable[[Tensor], Tensor]]:
        """From the images to the last feature map, in one step for each entry of `feature_info`."""
        raise NotImplementedError

    def finish_features(self, x: Tensor) -> Tensor:
        """What follows the last stage, such as the last norm of a pre-activation net."""
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """From the last feature map to the logits, or with `pre_logits` to what the classifier sees."""
        raise NotImplementedError

    def get_classifier(self) -> nn.Module:
        """The last layer; an identity where there is none."""
        raise NotImplementedError

    def set_classifier(self, classifier: nn.Module) -> None:
        """Puts another last layer in its place."""
        raise NotImplementedError

    def initialize(self) -> None:
        """Draws the weights that are not as torch's own modules draw them."""
        raise NotImplementedError

    def prune_after(self, index: int) -> None:
        """Takes away what comes after an intermediate map."""
        raise NotImplementedError

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Regular expressions that group parameters by depth, for rates that differ from layer to layer."""
        raise NotImplementedError

    # What follows from it

    def reset_parameters(self) -> None:
        """Draws all weights anew, also after construction on the meta device and `to_empty`."""
        for module in self.modules():
            if module is not self and callable(reset := getattr(module, "reset_parameters", None)):
                reset()
        self.initialize()

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) images to the last feature map, (N, num_features, h, w)."""
        for step in self.feature_steps():
            x = step(x)
        return self.finish_features(x)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) images to (N, num_classes) logits."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The last feature map together with intermediate ones.

        Args:
            x: (N, in_channels, H, W) images.
            indices: which entries of `feature_info`; a number for the last so many, None for all.
            norm: put the network's last norm after the last of them, where it has one.
            stop_early: leave out the stages after the last one asked for.
            output_fmt: NCHW is the only one.
            intermediates_only: return nothing else.

        Raises:
            ModelError: an index that is none of `feature_info`'s, or another format.
        """
        if output_fmt != "NCHW":
            raise ModelError(f"output_fmt={output_fmt!r} is not known: feature maps are NCHW.")
        wanted = self._feature_indices(indices)
        steps, intermediates = self.feature_steps(), []
        for index, step in enumerate(steps[: max(wanted) + 1] if stop_early else steps):
            x = step(x)
            if index in wanted:
                last = norm and index == len(steps) - 1
                intermediates.append(self.finish_features(x) if last else x)
        if intermediates_only:
            return intermediates
        return self.finish_features(x), intermediates

    def _feature_indices(self, indices: int | Sequence[int] | None) -> list[int]:
        count = len(self.feature_info)
        if indices is None:
            return list(range(count))
        if isinstance(indices, int):
            if not 0 < indices <= count:
                raise ModelError(f"the network has {count} feature maps, so that the last {indices} cannot be taken.")
            return list(range(count - indices, count))
        wanted = [index + count if index < 0 else index for index in indices]
        if not wanted or any(not 0 <= index < count for index in wanted):
            raise ModelError(f"indices={list(indices)} must name some of the feature maps 0 to {count - 1}.")
        return wanted

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Puts a fresh classifier in place of the last layer.

        Args:
            num_classes: 0 for none: the network then returns features.
            global_pool: `avg`, `max`, `avgmax`, `catavgmax`, or empty for the unpooled map; as it is by default.

        Raises:
            ModelError: a negative number, or an unknown pooling.
        """
        if global_pool is not None and global_pool not in _POOLS:
            raise ModelError(
                f"global_pool={global_pool!r} is not known: choose {', '.join(_POOLS[:-1])} or an empty text."
            )
        self.spec = replace(self.spec, num_classes=num_classes)
        if global_pool is not None:
            self.global_pool = global_pool
        parameter = next(self.parameters())
        fresh: nn.Module = nn.Linear(self.classifier_inputs(), num_classes) if num_classes else nn.Identity()
        self.set_classifier(fresh.to(device=parameter.device, dtype=parameter.dtype).train(self.training))
        self.num_classes = num_classes

    def classifier_inputs(self) -> int:
        """Numbers that the classifier sees of an image."""
        return self.head_hidden_size * (2 if self.global_pool == "catavgmax" else 1)

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] | None = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Takes away what the intermediate maps asked for do not need.

        Args:
            indices: as in `forward_intermediates`.
            prune_norm: take away the network's last norm, too.
            prune_head: take away the classifier and the pooling before it.

        Where the last map is not among them, both go in any case: they were made for its channels.

        Returns:
            The indices, counted from 0.
        """
        wanted = self._feature_indices(indices)
        last, earlier = max(wanted), max(wanted) < len(self.feature_info) - 1
        self.prune_after(last)
        self.feature_info = self.feature_info[: last + 1]
        if prune_norm or earlier:
            self.norm, self.ends_activated = None, False
        if prune_head or earlier:
            self.num_features = self.head_hidden_size = self.feature_info[last]["num_chs"]
            self.prune_head()
        return wanted

    def prune_head(self) -> None:
        """Takes away the classifier and the pooling before it."""
        self.reset_classifier(0, "")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """In training keep only the blocks' inputs and compute the rest again for the gradients."""
        self.grad_checkpointing = enable

    @property
    def recomputes(self) -> bool:
        """Whether gradient checkpointing is on and of use now."""
        return self.grad_checkpointing and self.training and torch.is_grad_enabled()

    def recomputed(self, function: Callable[[Tensor], Tensor], layers: nn.Module, x: Tensor) -> Tensor:
        """`function` of x, with only x kept for the gradients; `layers` are those it goes through."""
        output: Tensor
        if torch.compiler.is_compiling():  # which counts a batch once by itself, and cannot read the contexts
            output = checkpoint(function, x, use_reentrant=False)
        else:
            output = checkpoint(function, x, use_reentrant=False, context_fn=lambda: _contexts(layers))
        return output


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For the first computation of a block, and for its second."""
    return nullcontext(), _kept_statistics(block)


@contextmanager
def _kept_statistics(block: nn.Module) -> Iterator[None]:
    """Batch norms compute with a batch's statistics, as in training, but do not count it a second time."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked
