import pytest

pytest.importorskip("torch", reason="needs torch, which comes with softcord[train]")
pytest.importorskip("nnunetv2", reason="needs nnU-Net, which comes with softcord[train]")

import numpy as np
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

from softcord import scores
from softcord.train.nnunet.losses import AdaptiveWing, SoftDiceAndEntropy, soft_dice

LOSSES = [SoftDiceAndEntropy(), SoftDiceAndEntropy(entropy=0), SoftDiceAndEntropy(dice=0), AdaptiveWing()]


def logits_of(share: torch.Tensor) -> torch.Tensor:
    """Logits whose softmax is the share of cord."""
    return torch.cat([torch.zeros_like(share), torch.logit(share)], dim=1)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("true", [0.1, 0.4, 0.5, 0.8])
def test_the_loss_is_smallest_at_the_true_share(loss, true):
    target = torch.full((1, 1, 4, 4, 4), true)
    shares = torch.linspace(0.01, 0.99, 99)
    values = [float(loss(logits_of(torch.full_like(target, float(share))), target)) for share in shares]
    assert shares[int(np.argmin(values))] == pytest.approx(true, abs=0.011)


def test_the_usual_dice_is_not():
    """Which is why it is not used."""
    target = torch.full((1, 1, 4, 4, 4), 0.4)
    both = torch.cat([1 - target, target], dim=1)
    usual = MemoryEfficientSoftDiceLoss(do_bg=False, smooth=1e-5, ddp=False)
    shares = torch.linspace(0.01, 0.99, 99)
    values = [
        float(usual(torch.cat([1 - both[:, 1:] * 0 - s, both[:, 1:] * 0 + s], 1), both)) for s in shares
    ]
    assert shares[int(np.argmin(values))] == pytest.approx(0.99)


def test_with_masks_it_is_the_loss_of_nnunet():
    torch.manual_seed(0)
    logits = torch.randn(2, 2, 6, 6, 6)
    mask = (torch.rand(2, 1, 6, 6, 6) > 0.7).float()
    theirs = DC_and_CE_loss(
        {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False},
        {},
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    ours = SoftDiceAndEntropy()
    assert float(ours(logits, mask)) == pytest.approx(float(theirs(logits, mask)), abs=1e-5)


def test_the_dice_is_that_by_which_results_are_scored():
    torch.manual_seed(0)
    share, target = torch.rand(1, 1, 5, 5, 5), torch.rand(1, 1, 5, 5, 5)
    expected = scores.soft_dice(share.numpy()[0, 0].astype(float), target.numpy()[0, 0].astype(float))
    assert float(soft_dice(share, target)) == pytest.approx(expected, abs=1e-5)


def test_the_weight_of_the_foreground_acts():
    """In the original it did not: the map of weights was 1 everywhere."""
    target = torch.zeros(1, 1, 12, 12, 12)
    target[..., 4:8, 4:8, 4:8] = 1
    target[..., 8, 4:8, 4:8] = 0.3
    weights = AdaptiveWing(foreground=3.0).weights(target)
    assert sorted(set(weights.flatten().tolist())) == [1.0, 4.0]
    assert bool((weights[target > 0] == 4).all())

    def pull(foreground: float) -> tuple[float, float]:
        logits = torch.zeros(1, 2, 12, 12, 12, requires_grad=True)
        AdaptiveWing(foreground=foreground)(logits, target).backward()
        grad = logits.grad.abs().sum(1, keepdim=True)
        return float(grad[target == 1].sum()), float(grad[weights == 1].sum())

    (inside, outside), (inside_plain, outside_plain) = pull(3.0), pull(0.0)
    assert inside == pytest.approx(4 * inside_plain, rel=1e-5)
    assert outside == pytest.approx(outside_plain, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("true", [0.0, 1.0])
def test_a_perfect_or_hopeless_prediction_has_a_finite_gradient(loss, true):
    for logit in (-50.0, 50.0):
        logits = torch.tensor([0.0, logit]).reshape(1, 2, 1, 1, 1).repeat(1, 1, 4, 4, 4).requires_grad_()
        loss(logits, torch.full((1, 1, 4, 4, 4), true)).backward()
        assert bool(torch.isfinite(logits.grad).all())
