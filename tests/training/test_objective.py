"""Losses and mixing, held to timm's and to the text."""

import pytest
import torch
from torch.nn import functional

from reslab.tasks import Classification
from reslab.training.objective import make_mixing
from reslab.training.recipe import BinaryCrossEntropy, RegularizationRecipe

TASK = Classification()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_is_timms(smoothing):
    timm_loss = pytest.importorskip("timm.loss")
    logits, labels = torch.randn(6, 5), torch.tensor([0, 1, 4, 2, 2, 3])
    ours = TASK.make_loss(RegularizationRecipe(loss=BinaryCrossEntropy(), label_smoothing=smoothing), 5)
    torch.testing.assert_close(ours(logits, labels), timm_loss.BinaryCrossEntropy(smoothing=smoothing)(logits, labels))


def test_shares_of_classes_weigh_the_losses_of_the_classes():
    logits, shares = torch.randn(4, 3), torch.softmax(torch.randn(4, 3), dim=1)
    cross = TASK.make_loss(RegularizationRecipe(), 3)(logits, shares)
    torch.testing.assert_close(cross, -(shares * logits.log_softmax(dim=1)).sum(dim=1).mean())
    binary = TASK.make_loss(RegularizationRecipe(loss=BinaryCrossEntropy()), 3)(logits, shares)
    expected = -(shares * functional.logsigmoid(logits) + (1 - shares) * functional.logsigmoid(-logits)).mean()
    torch.testing.assert_close(binary, expected)


def test_classes_of_a_mixed_image_may_count_as_present():
    logits = torch.randn(2, 4)
    recipe = RegularizationRecipe(loss=BinaryCrossEntropy(target_threshold=0.2), label_smoothing=0.2)
    found = TASK.make_loss(recipe, 4)(logits, torch.tensor([[0.6, 0.4, 0, 0], [0, 0.1, 0.9, 0]]))
    targets = torch.tensor([[0.85, 0.85, 0.05, 0.05], [0.05, 0.05, 0.85, 0.05]])
    torch.testing.assert_close(found, functional.binary_cross_entropy_with_logits(logits, targets))


def mixed(seed: int = 0, **fields: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mixing = make_mixing(RegularizationRecipe(**fields), 7)
    assert mixing is not None
    torch.manual_seed(1)
    images = torch.randn(7, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    torch.manual_seed(seed)
    return (images, *mixing(images, torch.arange(7)))


def test_mixup_adds_pairs_by_the_shares_of_their_labels():
    for seed in range(5):
        images, result, shares = mixed(seed, mixup=1.0)
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(7))
        expected = torch.einsum("nk,kchw->nchw", shares, images)  # image k is the one of class k
        torch.testing.assert_close(result, expected)
        assert result.is_contiguous(memory_format=torch.channels_last)


def test_cutmix_pastes_as_large_a_part_as_the_share_says():
    for seed in range(5):
        images, result, shares = mixed(seed, cutmix=1.0)
        for number in range(7):
            other = int((shares[number] * (torch.arange(7) != number)).argmax())
            own = (result[number] == images[number]).all(dim=0)
            pasted = (result[number] == images[other]).all(dim=0)
            assert (own | pasted).all()
            assert shares[number, number].item() == pytest.approx(own.float().mean().item(), abs=1e-6)


def test_both_take_turns_at_random():
    kinds = set()
    for seed in range(20):
        images, result, _ = mixed(seed, mixup=1.0, cutmix=1.0)
        kinds.add(bool((result[0] == images[0]).all(dim=0).any()))
    assert kinds == {True, False}
    assert make_mixing(RegularizationRecipe(), 7) is None


def test_a_mixed_image_counts_by_its_greatest_share():
    logits = torch.tensor([[3.0, 0, 0], [0, 3, 0], [0, 0, 3]])
    assert TASK.count_wrong(logits, torch.tensor([0, 1, 1])) == 1
    assert TASK.count_wrong(logits, torch.tensor([[0.6, 0.4, 0], [0.6, 0.4, 0], [0, 0, 1.0]])) == 1
