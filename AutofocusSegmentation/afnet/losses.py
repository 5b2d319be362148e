"""Cross-entropy plus soft Dice, for overlapping regions (sigmoid) and for exclusive classes (softmax).

Tensors are (batch, channels, z, y, x); `weight` (batch, 1, z, y, x) is 0 where nothing is known of a voxel.
"""

import torch
from torch.nn import functional as F

DICE_SMOOTHING = 1.0
"""Voxels added above and below the ratio, so that a region absent from truth and result costs nothing."""


def soft_dice_loss(probabilities: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """1 − 2Σpt / (Σp + Σt), per channel over the whole batch, then averaged (Milletari et al. 2016, unsquared)."""
    axes = (0, 2, 3, 4)
    overlap = (weight * probabilities * truth).sum(axes)
    total = (weight * (probabilities + truth)).sum(axes)
    return (1 - (2 * overlap + DICE_SMOOTHING) / (total + DICE_SMOOTHING)).mean()


def region_loss(logits: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Loss of independent, overlapping regions: binary cross-entropy plus soft Dice of every channel.

    `truth` (batch, regions, …) is the part of a voxel that belongs to each region, in [0, 1].
    """
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    entropy = (weight * entropy).sum() / (weight.sum() * logits.shape[1]).clamp(min=1)
    return entropy + soft_dice_loss(torch.sigmoid(logits), truth, weight)


def class_loss(logits: torch.Tensor, possible: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Loss of exclusive classes, channel 0 the background: cross-entropy plus soft Dice of the others.

    `possible` (batch, classes, …) is 1 for each class that a voxel may belong to, one-hot where the truth is known.
    A voxel's entropy is −log Σ_possible p (marginal likelihood), so a class that nobody drew but that may be there is
    not pushed away; Dice is taken over the voxels whose class is known.
    """
    logarithms = F.log_softmax(logits, dim=1)
    entropy = -torch.logsumexp(logarithms.masked_fill(possible < 0.5, -torch.inf), dim=1, keepdim=True)
    entropy = (weight * entropy).sum() / weight.sum().clamp(min=1)
    known = weight * (possible.sum(1, keepdim=True) < 1.5)
    return entropy + soft_dice_loss(logarithms.exp()[:, 1:], possible[:, 1:], known)
