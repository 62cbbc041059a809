"""How much of the gradient reaches the images through how many blocks (arXiv 1605.06431, Sec. 4.4 and Fig. 6)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammaln, softmax
from torch import Tensor
from torch.nn import functional

from reslab.analysis.blocks import Addition, PlacedBlock, blocks_of, replaced
from reslab.analysis.probes import check_images, check_labels, json_ready, left_unchanged
from reslab.errors import ModelError
from reslab.models.features import FeatureNetwork

__all__ = ["PathLengths", "path_lengths"]


@dataclass(frozen=True)
class PathLengths:
    """Gradients through paths of different lengths.

    Args:
        num_blocks: of the network, each of which a path crosses through its branch or beside it.
        lengths: of paths: numbers of branches that they go through.
        gradient_norms: for each length, norm of an image's gradient through one path; mean over paths and images.
        shares: for each length, the norm times the number of such paths, as a share of the sum over `lengths`: of the
            whole gradient, as if all paths' gradients pointed the same way.
    """

    num_blocks: int
    lengths: tuple[int, ...]
    gradient_norms: tuple[float, ...]
    shares: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, where `inf` and `nan` are texts."""
        table: dict[str, Any] = json_ready(self)
        return table


def path_lengths(
    model: FeatureNetwork,
    images: Tensor,
    labels: Tensor,
    lengths: Sequence[int] | None = None,
    *,
    seed: int = 0,
    samples: int = 1,
) -> PathLengths:
    """Measures the gradients that paths of given lengths bring to the images.

    A network of n residual blocks is the sum of 2^n paths, which cross k blocks through their branches and the others
    by their shortcuts; C(n, k) of them have the length k. On the way back the gradient takes one path: k blocks, drawn
    at random for each image, let it through the branch alone, the others through the shortcut alone. Forward everything
    is as ever, in evaluation mode, so that images do not mix. A gate's own gradient counts with the shortcut.

    Args:
        model: a residual network; left as it is.
        images: (N, C, H, W), normalised.
        labels: (N,) int64.
        lengths: from 0 to the number of blocks; all of them by default.
        seed: of the drawing of paths.
        samples: paths of each length and image.

    Raises:
        ModelError: a network without shortcuts or classifier, or lengths that there are not.
        DataError: images or labels that do not fit the network.
    """
    blocks = blocks_of(model, residual=True)
    images = check_images(model, images).requires_grad_()
    labels = check_labels(model, images, labels)
    lengths = tuple(range(len(blocks) + 1)) if lengths is None else tuple(lengths)
    if not lengths or min(lengths) < 0 or max(lengths) > len(blocks):
        raise ModelError(f"lengths={lengths} must be numbers of blocks, from 0 to the network's {len(blocks)}.")
    if samples < 1:
        raise ModelError(f"samples={samples} must be at least 1.")
    rng = np.random.default_rng(seed)
    with left_unchanged(model), _one_path(blocks) as choose, torch.enable_grad():
        # Summed over images, so that each image's gradient is that of its own loss.
        loss = functional.cross_entropy(model(images), labels, reduction="sum")
        norms = np.zeros(len(lengths))
        for place, length in enumerate(lengths):
            branches = np.arange(len(blocks)) < length
            for _ in range(samples):
                choose(rng.permuted(np.tile(branches, (len(images), 1)), axis=1))
                (gradient,) = torch.autograd.grad(loss, images, retain_graph=True)
                norms[place] += float(gradient.double().flatten(1).norm(dim=1).mean()) / samples
    return PathLengths(len(blocks), lengths, tuple(map(float, norms)), _shares(len(blocks), lengths, norms))


@contextmanager
def _one_path(blocks: Sequence[PlacedBlock]) -> Iterator[Callable[[NDArray[np.bool_]], None]]:
    """Within it gradients go through one path; the function chooses it, (N, blocks): whether through the branch."""
    through: dict[str, Tensor] = {}

    def splitting(name: str, addition: Addition) -> Addition:
        def add(x: Tensor, residual: Tensor) -> Tensor:
            # Tensors of their own: x and its gradient belong to the branch as well.
            beside, branch = x.view_as(x), residual.view_as(residual)
            beside.register_hook(lambda gradient: gradient * ~through[name])  # type: ignore[no-untyped-call]
            branch.register_hook(lambda gradient: gradient * through[name])  # type: ignore[no-untyped-call]
            return addition(beside, branch)

        return add

    def choose(path: NDArray[np.bool_]) -> None:
        for placed, chosen in zip(blocks, path.T, strict=True):
            device = next(placed.block.parameters()).device
            through[placed.name] = torch.from_numpy(chosen.copy()).to(device)[:, None, None, None]

    with ExitStack() as stack:
        for placed in blocks:
            addition = splitting(placed.name, placed.block.add_shortcut)
            stack.enter_context(replaced(placed.block, "add_shortcut", addition))
        yield choose


def _shares(num_blocks: int, lengths: Sequence[int], norms: NDArray[np.float64]) -> tuple[float, ...]:
    """In logarithms, since there are more than 1e30 paths in a net of a hundred blocks."""
    chosen = np.asarray(lengths)
    logarithms = gammaln(num_blocks + 1) - gammaln(chosen + 1) - gammaln(num_blocks - chosen + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return tuple(map(float, softmax(logarithms + np.log(norms))))
