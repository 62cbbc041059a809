"""The solution by construction of Sec. 1: a deeper network that computes what a shallower, trained one does.

The shallower network's layers are copied, and those added are identities. Since it exists, no deeper network needs to
have a higher training error than a shallower one; that plain ones do have it says that solvers do not find it.
"""

import copy
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from reslab.analysis.blocks import PlacedBlock, blocks_of
from reslab.analysis.probes import check_images, left_unchanged
from reslab.errors import DataError, ModelError
from reslab.models.build import build
from reslab.models.features import FeatureNetwork
from reslab.models.residual import ResNet
from reslab.models.spec import NetSpec

__all__ = ["deepened"]

_CLOSED = -40.0  # bias of a gate whose sigmoid is 0, to double precision


@dataclass(frozen=True, eq=False)
class _Statistics:
    """Of each channel over batches of images and their positions, as batch norm takes them in training."""

    mean: Tensor
    variance: Tensor


def deepened(
    model: FeatureNetwork,
    depth: int | None = None,
    *,
    added_blocks: Sequence[int] | None = None,
    calibration: Iterable[Tensor] | None = None,
) -> FeatureNetwork:
    """A deeper network with the same function: its first blocks are the shallower one's, those after them identities.

    Of a plain net an added layer is a convolution that copies (Dirac) with a batch norm that changes nothing, and ReLU
    copies as well, since what a stage gives is not negative. In evaluation mode this is exact but for the rounding
    inside convolutions, of whose sums one term is not 0; measured on a CPU, plain-56 and plain-110 from a trained
    plain-20 gave its logits bit for bit. Of a residual net an added block has a branch F of 0.

    Batch norm in training mode normalises what an added layer is given, which no fixed scale and shift undo for every
    batch. `calibration` sets them to undo it for batches like these; what remains is the difference between batches,
    once for a stage: of a plain-20 on the digits some 2 % of the logits, in batches of 64 that were not calibrated on,
    and no difference in errors. In evaluation mode the logits are then equal to 1e-5.

    Args:
        model: plain or residual, of batch norm or none; left as it is.
        depth: of the network to be, where each stage is to get as many blocks.
        added_blocks: instead of it, how many blocks each stage gets.
        calibration: normalised images, (N, C, H, W) each, in batches as large as training's; None for evaluation mode.

    Returns:
        A network of the deeper description, in evaluation mode. What the identity does not fix, as the first layers of
        a residual net's added branches, is as fresh weights from torch's generator are, which is left as it was.

    Raises:
        ModelError: a depth that is not reached by whole blocks, or a network whose blocks cannot be identities.
        DataError: calibration without images.
    """
    spec = _deeper_spec(model, depth, added_blocks)
    blocks_of(model)  # refuses what is not built of known blocks
    _refuse_what_is_no_identity(model.spec)
    assert isinstance(model, ResNet)
    statistics = _stage_statistics(model, calibration) if calibration is not None else None
    parameter = next(model.parameters())
    with torch.random.fork_rng(devices=[]):
        deeper = build(spec).to(device=parameter.device, dtype=parameter.dtype).eval()
    deeper.global_pool = model.global_pool
    deeper.set_classifier(copy.deepcopy(model.get_classifier()))
    deeper.load_state_dict({**deeper.state_dict(), **model.state_dict()})
    with torch.no_grad():
        for placed in blocks_of(deeper):
            if placed.number >= model.spec.blocks[placed.stage - 1]:
                _make_identity(placed, spec, statistics[placed.stage - 1] if statistics else None)
    return deeper


def _deeper_spec(model: FeatureNetwork, depth: int | None, added_blocks: Sequence[int] | None) -> NetSpec:
    spec = model.spec
    if (depth is None) == (added_blocks is None):
        raise ModelError("give either the depth of the deeper network, or the blocks that each stage gets.")
    if added_blocks is None:
        assert depth is not None
        layers = len(spec.blocks) * spec.layers_per_block
        number, rest = divmod(depth - spec.depth, layers)
        if number < 0 or rest:
            raise ModelError(
                f"a network of {spec.depth} layers gets deeper by {layers} at a time, a block in each stage, and not "
                f"to {depth} layers; give added_blocks for other numbers."
            )
        added_blocks = (number,) * len(spec.blocks)
    if len(added_blocks) != len(spec.blocks) or min(added_blocks) < 0:
        raise ModelError(f"added_blocks={tuple(added_blocks)} must be {len(spec.blocks)} numbers from 0 on.")
    return replace(spec, blocks=tuple(own + new for own, new in zip(spec.blocks, added_blocks, strict=True)))


def _refuse_what_is_no_identity(spec: NetSpec) -> None:
    plain = spec.shortcut == "none"
    if plain and spec.block == "bottleneck":
        raise ModelError("a plain bottleneck narrows what it is given, and cannot be the identity.")
    if plain and spec.squeeze_excitation:
        raise ModelError("squeeze-and-excitation scales a plain net's channels, which is no identity.")
    if spec.activation != "relu" and spec.order in ("post", "norm-after-addition"):
        raise ModelError(
            f"{spec.activation} changes what it has given, so that no added block is the identity; ReLU does not."
        )
    if spec.order == "relu-before-addition" and spec.activation == "sigmoid":
        raise ModelError("a branch that ends with a sigmoid is never 0.")
    if spec.order == "pre" and spec.shortcut == "C":
        raise ModelError("projections of pre-activation blocks start after the activation, and cannot be identities.")
    if spec.norm == "group" and (plain or spec.order == "norm-after-addition" or _norms_projections(spec)):
        raise ModelError(
            "group norm normalises each image by itself in tests too, so that no layer with it is the identity."
        )


def _norms_projections(spec: NetSpec) -> bool:
    return spec.shortcut == "C" and spec.projection_norm


def _stage_statistics(model: ResNet, batches: Iterable[Tensor]) -> list[_Statistics]:
    """Of each stage's output with batch statistics: what all layers added to the stage will see."""
    found: dict[nn.Module, list[tuple[Tensor, ...]]] = {stage: [] for stage in model.stages}

    def hook(stage: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        found[stage].append(torch.var_mean(output.double(), dim=(0, 2, 3), correction=0))

    with ExitStack() as stack, torch.no_grad():
        for stage in found:
            stack.callback(stage.register_forward_hook(hook).remove)
        stack.enter_context(left_unchanged(model, batch_statistics=True))
        for images in batches:
            model(check_images(model, images))
    if not all(found.values()):
        raise DataError("there are no images to calibrate with: give at least one batch, (N, C, H, W).")
    averages = [[torch.stack(moments).mean(dim=0) for moments in zip(*each, strict=True)] for each in found.values()]
    return [_Statistics(mean, variance) for variance, mean in averages]


def _make_identity(placed: PlacedBlock, spec: NetSpec, statistics: _Statistics | None) -> None:
    block = placed.block
    convolutions = [module for name, module in block.named_children() if name.startswith("conv")]
    norms = [module for name, module in block.named_children() if name.startswith("bn")]
    if block.plain:
        for convolution in convolutions:
            _copy_channels(convolution)
        for norm in norms:
            _pass_through(norm, statistics)
        return
    if spec.order in ("pre", "norm-after-addition") or spec.norm == "none":
        _silence(convolutions[-1])
    else:
        _silence(block.last_norm())
    if spec.order == "norm-after-addition":
        _pass_through(norms[-1], statistics)
    if block.gate is not None:
        nn.init.zeros_(block.gate.conv.weight)
        assert block.gate.conv.bias is not None
        nn.init.constant_(block.gate.conv.bias, _CLOSED)
    if isinstance(block.downsample, nn.Sequential):  # option C
        for module in block.downsample:
            if isinstance(module, nn.Conv2d):
                _copy_channels(module)
            else:
                _pass_through(module, statistics)


def _copy_channels(convolution: nn.Module) -> None:
    assert isinstance(convolution, nn.Conv2d)
    nn.init.dirac_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def _silence(module: nn.Module) -> None:
    """Weights of 0, after which nothing comes out."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def _pass_through(norm: nn.Module, statistics: _Statistics | None) -> None:
    """Scale and shift that undo what the norm does with its running statistics."""
    if not isinstance(norm, nn.BatchNorm2d):  # nothing in place of a norm, or of a projection's pooling
        return
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if statistics is None:
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)  # batch norm divides by the root of it and eps: by 1
        nn.init.ones_(norm.weight)
        nn.init.zeros_(norm.bias)
        return
    norm.running_mean.copy_(statistics.mean)
    norm.running_var.copy_(statistics.variance)
    norm.weight.copy_((statistics.variance + norm.eps).sqrt())
    norm.bias.copy_(statistics.mean)
