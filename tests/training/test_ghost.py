"""Batch norm over parts of a batch."""

import torch
from torch import nn

from reslab.models import create_model
from reslab.training.ghost import GhostBatchNorm2d, use_ghost_batches


def test_each_part_is_normalised_by_its_own_statistics():
    plain, ghost = nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4))
    use_ghost_batches(ghost, 3)
    images = torch.randn(8, 4, 5, 5) * torch.arange(1, 9)[:, None, None, None]
    expected = torch.cat([plain(part) for part in (images[:3], images[3:6], images[6:])])
    torch.testing.assert_close(ghost(images), expected)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ghost.state_dict()[f"0.{name}"], value)


def test_a_network_keeps_its_tensors_names_and_predictions():
    model = create_model("resnet20")
    before, names = list(model.parameters()), list(model.state_dict())
    images = torch.randn(4, 3, 32, 32)
    expected = model.eval()(images)
    use_ghost_batches(model, 2)
    assert all(mine is other for mine, other in zip(model.parameters(), before, strict=True))
    assert list(model.state_dict()) == names
    assert sum(isinstance(module, GhostBatchNorm2d) for module in model.modules()) == 19
    assert torch.equal(model(images), expected)
    model.train()
    assert not torch.allclose(model(images), create_model("resnet20").train()(images))


def test_layout_in_memory_stays():
    norm = nn.Sequential(nn.BatchNorm2d(4))
    use_ghost_batches(norm, 2)
    images = torch.randn(6, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    assert norm(images).is_contiguous(memory_format=torch.channels_last)
