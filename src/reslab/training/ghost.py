"""Batch norm whose statistics are those of parts of a batch (arXiv 1705.08741)."""

import torch
from torch import Tensor, nn

__all__ = ["GhostBatchNorm2d", "use_ghost_batches"]


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over so many images at a time; the same as any other once it is in inference mode.

    Moving averages take up one part after the other. State dicts are those of `nn.BatchNorm2d`.
    """

    num_images = 0

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        if not self.training or len(input) <= self.num_images:
            return super().forward(input)
        return torch.cat([super(GhostBatchNorm2d, self).forward(part) for part in torch.split(input, self.num_images)])


def use_ghost_batches(model: nn.Module, num_images: int) -> None:
    """Makes every batch norm of a model take its statistics over so many images.

    Args:
        model: changed in place; its parameters and buffers stay the same tensors.
        num_images: of each part; the last one may have fewer.
    """
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                ghost = GhostBatchNorm2d(child.num_features, child.eps, child.momentum, child.affine)
                ghost.num_images = num_images
                ghost._parameters, ghost._buffers = child._parameters, child._buffers
                ghost.train(child.training)
                setattr(module, name, ghost)
