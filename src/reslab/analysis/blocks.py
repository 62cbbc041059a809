"""What the blocks do: how strong their branches are, and what a network is without some of them or in another order.

After Veit et al. 2016 (arXiv 1605.06431). Whoever measures errors of the changed networks does it within the contexts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor, nn

from reslab.analysis.probes import check_images, json_ready, left_unchanged
from reslab.errors import DataError, ModelError, suggestion
from reslab.models.blocks import Block
from reslab.models.features import FeatureNetwork
from reslab.models.residual import ResNet

__all__ = [
    "BlockReport",
    "Order",
    "PlacedBlock",
    "blocks_of",
    "branch_report",
    "replaced",
    "shuffled",
    "without_branches",
]

Addition = Callable[[Tensor, Tensor], Tensor]
"""Adds a block's shortcut, computed from its input x, to what its branch gives: (x, residual) to x + F(x)."""


@dataclass(frozen=True, eq=False)
class PlacedBlock:
    """A block of a network.

    Args:
        name: path in the network.
        stage: number of its stage, from 1.
        number: its place in the stage, from 0.
        block: the module.
    """

    name: str
    stage: int
    number: int
    block: Block

    @property
    def keeps_shape(self) -> bool:
        """Whether its output has the shape of its input."""
        convolutions = [module for name, module in self.block.named_children() if name.startswith("conv")]
        first, last = convolutions[0], convolutions[-1]
        assert isinstance(first, nn.Conv2d)
        assert isinstance(last, nn.Conv2d)
        return self.block.stride == 1 and first.in_channels == last.out_channels


def blocks_of(model: nn.Module, *, residual: bool = False) -> tuple[PlacedBlock, ...]:
    """The blocks of a residual or plain network, in order.

    Args:
        model: a network of `reslab.models`.
        residual: refuse plain nets.

    Raises:
        ModelError: it has no blocks, blocks of another library, or no shortcuts where they are needed.
    """
    if not isinstance(model, ResNet):
        raise ModelError(f"{type(model).__name__} has no blocks; build a residual or plain net with create_model.")
    found = []
    for stage, (name, blocks) in enumerate(model.named_stages(), 1):
        for number, block in enumerate(blocks):
            path = f"{name}.{number}"
            if not isinstance(block, Block):
                raise ModelError(f"{path} is a {type(block).__name__}, whose branch and shortcut are not known.")
            if vars(block).get("forward", _pass_on) is not _pass_on:
                raise ModelError(
                    f"{path} computes in another way than its class, as where kernels for training are in use; load "
                    "the weights into a network fresh from create_model."
                )
            found.append(PlacedBlock(path, stage, number, block))
    if residual and model.spec.shortcut == "none":
        raise ModelError("a plain net's blocks have no shortcut beside their branch; choose a residual net.")
    return tuple(found)


@contextmanager
def replaced(module: nn.Module, method: str, function: Callable[..., Any]) -> Iterator[None]:
    """Lets one module have another function in place of a method, and gives the method back."""
    before = vars(module).get(method)
    object.__setattr__(module, method, function)
    try:
        yield
    finally:
        object.__delattr__(module, method)
        if before is not None:
            object.__setattr__(module, method, before)


def _pass_on(x: Tensor) -> Tensor:
    return x


def _without_branch(addition: Addition) -> Addition:
    """The shortcut's term of the addition alone, whatever the shortcut is."""
    return lambda x, residual: addition(x, torch.zeros_like(residual))


# How strong branches are


@dataclass(frozen=True)
class BlockReport:
    """A residual block's branch F and shortcut x, as they are added to H = F + x.

    Args:
        name: path of the block in the network.
        stage: number of its stage, from 1.
        block: its place in the stage, from 0.
        grows: whether its output has another shape than its input.
        branch_to_shortcut: |F| / |x|, mean over images.
        cosine: of the angle between H and x, mean over images; 1 where the block is the identity.
    """

    name: str
    stage: int
    block: int
    grows: bool
    branch_to_shortcut: float
    cosine: float

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, where `inf` and `nan` are texts."""
        table: dict[str, Any] = json_ready(self)
        return table


def branch_report(model: FeatureNetwork, batches: Iterable[Tensor]) -> tuple[BlockReport, ...]:
    """Measures how much residual blocks add to what they are given, in evaluation mode.

    The paper's conjecture (Sec. 3.1, 4.2) is that F is small: blocks then change little, and H points where x does.

    Args:
        model: a residual network of any shortcuts and order; left as it is.
        batches: normalised images, (N, C, H, W) each.

    Returns:
        A report for each block, in order.

    Raises:
        ModelError: the network has no shortcuts, or no blocks.
        DataError: there are no images, or none that the network takes.
    """
    blocks = blocks_of(model, residual=True)
    sums = {placed.name: np.zeros(2) for placed in blocks}
    count = 0

    def measuring(name: str, addition: Addition) -> Addition:
        def add(x: Tensor, residual: Tensor) -> Tensor:
            total = addition(x, residual)
            shortcut = _without_branch(addition)(x, residual).double().flatten(1)  # (N, C, H, W) -> (N, C * H * W)
            output = total.double().flatten(1)
            length, branch = shortcut.norm(dim=1), (output - shortcut).norm(dim=1)
            cosine = (output * shortcut).sum(dim=1) / (output.norm(dim=1) * length)
            sums[name] += float((branch / length).sum()), float(cosine.sum())
            return total

        return add

    with ExitStack() as stack, torch.no_grad():
        stack.enter_context(left_unchanged(model))
        for placed in blocks:
            addition = measuring(placed.name, placed.block.add_shortcut)
            stack.enter_context(replaced(placed.block, "add_shortcut", addition))
        for batch in batches:
            images = check_images(model, batch)
            model(images)
            count += len(images)
    if not count:
        raise DataError("there are no images to measure branches on: give at least one batch, (N, C, H, W).")
    return tuple(
        BlockReport(
            placed.name, placed.stage, placed.number, not placed.keeps_shape, *map(float, sums[placed.name] / count)
        )
        for placed in blocks
    )


# Networks without branches, and in another order


@contextmanager
def without_branches(model: FeatureNetwork, names: Iterable[str]) -> Iterator[None]:
    """Within it the named blocks' F is 0, so that the shortcut remains of them; of a plain net's block, the identity.

    A lesion of the trained network, which does not learn from it (arXiv 1605.06431, Sec. 4.1 and 4.2). What follows
    the addition stays, as the paper's ReLU.

    Args:
        model: changed within, and as before afterwards.
        names: of blocks, as `layer1.0`.

    Raises:
        ModelError: there is no such block, or a plain net's changes the shape, so that nothing could stand for it.
    """
    blocks = {placed.name: placed for placed in blocks_of(model)}
    with ExitStack() as stack:
        for name in dict.fromkeys(names):
            if name not in blocks:
                span = f"; they are {next(iter(blocks))} to {next(reversed(blocks))}."
                raise ModelError(f"there is no block {name!r}{suggestion(name, blocks, span)}")
            placed = blocks[name]
            if not placed.block.plain:
                without = _without_branch(placed.block.add_shortcut)
                stack.enter_context(replaced(placed.block, "add_shortcut", without))
            elif placed.keeps_shape:
                stack.enter_context(replaced(placed.block, "forward", _pass_on))
            else:
                raise ModelError(
                    f"{name} of a plain net changes the shape of the maps, so that the net cannot do without it; "
                    "leave out another block."
                )
        yield


@dataclass(frozen=True)
class Order:
    """In which order a network's blocks stand.

    Args:
        stages: for each stage the blocks' own numbers in the order in which they compute now.
        kendall_tau: rank correlation with their own order, of all blocks of the network: 1 for the same.
    """

    stages: tuple[tuple[int, ...], ...]
    kendall_tau: float

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        table: dict[str, Any] = json_ready(self)
        return table


@contextmanager
def shuffled(model: FeatureNetwork, seed: int, num_swaps: int) -> Iterator[Order]:
    """Within it, pairs of blocks that are built alike have changed places (arXiv 1605.06431, Sec. 4.3).

    Each swap is of a random pair, all pairs being as likely; only blocks of the same stage with the same shapes change
    places. The names change with the places.

    Args:
        model: residual or plain; changed within, and as before afterwards.
        seed: of the choice.
        num_swaps: one after the other; a pair may be drawn twice, and is then as it was.

    Raises:
        ModelError: a negative number, or no two blocks of any stage that are built alike.
    """
    blocks = blocks_of(model)
    if num_swaps < 0:
        raise ModelError(f"num_swaps must be 0 or more, not {num_swaps}.")
    alike: dict[Any, list[PlacedBlock]] = defaultdict(list)
    for placed in blocks:
        alike[placed.stage, _build(placed.block)].append(placed)
    pairs = [pair for group in alike.values() for pair in combinations(group, 2)]
    if num_swaps and not pairs:
        raise ModelError("no two blocks of a stage have the same shape, so that none can change places; take more.")
    assert isinstance(model, ResNet)
    stages = [stage for _, stage in model.named_stages()]
    orders = [list(range(len(stage))) for stage in stages]
    for choice in np.random.default_rng(seed).integers(len(pairs), size=num_swaps) if pairs else ():
        one, two = pairs[choice]
        order = orders[one.stage - 1]
        order[one.number], order[two.number] = order[two.number], order[one.number]
    own = [list(stage) for stage in stages]
    try:
        for stage, modules, order in zip(stages, own, orders, strict=True):
            _put(stage, [modules[number] for number in order])
        yield Order(tuple(map(tuple, orders)), _rank_correlation(orders))
    finally:
        for stage, modules in zip(stages, own, strict=True):
            _put(stage, modules)


def _build(block: Block) -> tuple[Any, ...]:
    """What blocks that can stand for each other have in common."""
    shapes = tuple((name, tuple(tensor.shape)) for name, tensor in block.state_dict().items())
    settings = tuple((module.stride, module.dilation) for module in block.modules() if isinstance(module, nn.Conv2d))
    shares = block.order == "pre" and block.shares_activation  # which says nothing of other orders
    return type(block), block.stride, shares, block.downsample is None, shapes, settings


def _put(stage: nn.Sequential, modules: Sequence[nn.Module]) -> None:
    for number, module in enumerate(modules):
        stage[number] = module


def _rank_correlation(orders: Sequence[Sequence[int]]) -> float:
    firsts = np.cumsum([0, *map(len, orders)])
    places = [first + number for first, order in zip(firsts, orders, strict=False) for number in order]
    return float(kendalltau(np.arange(len(places)), places).statistic) if len(places) > 1 else 1.0
