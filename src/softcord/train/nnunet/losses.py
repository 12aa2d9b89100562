"""Losses for soft labels: each is smallest where the predicted share of cord is the true one.

The Dice loss that nnU-Net and most others use is not: with a true share of 0.4 it is smallest at 0 or 1, so
that a network trained on it rounds.
"""

import torch
from torch import nn
from torch.nn import functional


def soft_dice(share: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Dice of shares, the overlap of a voxel being the smaller one: 1 if, and only if, they are equal.

    The same as `softcord.scores.soft_dice`, and as nnU-Net's Dice for targets of 0 and 1. As a loss: Wang et
    al., Dice semimetric losses, MICCAI 2023.

    Parameters
    ----------
    share, target : (B, 1, I, J, K) tensor in [0, 1]
        Predicted and true shares.

    Returns
    -------
    dice : (B,) tensor
        1 for a sample in which both are empty.
    """
    share, target = share.float().flatten(1), target.float().flatten(1)
    sizes = share.sum(1) + target.sum(1)
    apart = (share - target).abs().sum(1)
    return (sizes - apart + 1e-5) / (sizes + 1e-5)


class SoftDiceAndEntropy(nn.Module):
    """Soft Dice plus cross-entropy of probabilities.

    Parameters
    ----------
    dice, entropy : float
        Their weights.
    """

    def __init__(self, dice: float = 1.0, entropy: float = 1.0) -> None:
        super().__init__()
        self.dice, self.entropy = dice, entropy

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Of logits (B, 2, I, J, K) and true shares (B, 1, I, J, K)."""
        logits = logits.float()
        log_share = functional.log_softmax(logits, dim=1)
        entropy = -(target * log_share[:, 1:] + (1 - target) * log_share[:, :1]).mean()
        dice = soft_dice(log_share[:, 1:].exp(), target).mean()
        return self.entropy * entropy - self.dice * dice


class AdaptiveWing(nn.Module):
    """Adaptive wing loss of the predicted share (Wang, Bo and Fuxin, ICCV 2019).

    Errors in and next to the cord count `1 + foreground` times.

    Parameters
    ----------
    omega, theta, epsilon, alpha : float
        Of the loss. Defaults: those of the original contrast-agnostic model.
    foreground : float
        Extra weight of voxels whose neighbourhood holds a share of cord of at least 0.2.
    """

    def __init__(
        self,
        omega: float = 8.0,
        theta: float = 0.5,
        epsilon: float = 1.0,
        alpha: float = 2.1,
        foreground: float = 8.0,
    ) -> None:
        super().__init__()
        self.omega, self.theta, self.epsilon, self.alpha = omega, theta, epsilon, alpha
        self.foreground = foreground

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Of logits (B, 2, I, J, K) and true shares (B, 1, I, J, K)."""
        share = functional.softmax(logits.float(), dim=1)[:, 1:]
        error = (share - target).abs()
        power = self.alpha - target
        ratio = self.theta / self.epsilon
        slope = self.omega / (1 + ratio**power) * power * ratio ** (power - 1) / self.epsilon
        shift = self.theta * slope - self.omega * torch.log1p(ratio**power)
        # the root of an error of 0 has no gradient
        near = self.omega * torch.log1p((error.clamp_min(1e-6) / self.epsilon) ** power)
        loss = torch.where(error < self.theta, near, slope * error - shift)
        return (loss * self.weights(target)).mean()

    def weights(self, target: torch.Tensor) -> torch.Tensor:
        """Weight of each voxel: `1 + foreground` in and next to the cord, 1 elsewhere."""
        near = functional.max_pool3d(target, 3, stride=1, padding=1) >= 0.2
        return 1 + self.foreground * near
