"""Cross-entropy plus soft Dice, for overlapping regions (sigmoid) and for exclusive classes (softmax), and the
distance from another network's answer.

Tensors are (batch, channels, z, y, x); `weight` (batch, 1 or channels, z, y, x) is 0 where nothing is known of a voxel.
Every loss is a ratio of sums over the whole batch. `total` turns a sum over this process's part of the batch into
the sum over the batch; without one, the batch is here.
"""

from collections.abc import Callable

import torch
from torch.nn import functional as F

DICE_SMOOTHING = 1.0
"""Voxels added above and below the ratio, so that a region absent from truth and result costs nothing."""

Total = Callable[[torch.Tensor], torch.Tensor]


def _here(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def soft_dice_loss(
    probabilities: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor, total: Total = _here
) -> torch.Tensor:
    """1 − 2Σpt / (Σp + Σt), per channel over the whole batch, then averaged (Milletari et al. 2016, unsquared)."""
    axes = (0, 2, 3, 4)
    sums = torch.stack([(weight * probabilities * truth).sum(axes), (weight * (probabilities + truth)).sum(axes)])
    overlap, both = total(sums)
    return (1 - (2 * overlap + DICE_SMOOTHING) / (both + DICE_SMOOTHING)).mean()


def region_loss(
    logits: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor, total: Total = _here
) -> torch.Tensor:
    """Loss of independent, overlapping regions: binary cross-entropy plus soft Dice of every channel.

    `truth` (batch, regions, …) is the part of a voxel that belongs to each region, in [0, 1].
    """
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    entropy = _mean(entropy, weight.expand_as(logits), total)
    return entropy + soft_dice_loss(torch.sigmoid(logits), truth, weight, total)


def class_loss(
    logits: torch.Tensor, possible: torch.Tensor, weight: torch.Tensor, total: Total = _here,
    known: torch.Tensor | None = None,
) -> torch.Tensor:
    """Loss of exclusive classes, channel 0 the background: cross-entropy plus soft Dice of the others.

    `possible` (batch, classes, …) is 1 for each class that a voxel may belong to, one-hot where the truth is known.
    A voxel's entropy is −log Σ_possible p (marginal likelihood), so a class that nobody drew but that may be there is
    not pushed away; Dice is taken over the voxels whose class is known, or where `known` (batch, classes − 1, …) says
    that a voxel's membership of each class is.
    """
    precise = torch.promote_types(logits.dtype, torch.float32)  # of bfloat16 logits too
    logarithms = F.log_softmax(logits, dim=1, dtype=precise)
    entropy = -torch.logsumexp(logarithms.masked_fill(possible < 0.5, -torch.inf), dim=1, keepdim=True)
    entropy = _mean(entropy, weight, total)
    if known is None:
        known = (possible.sum(1, keepdim=True) < 1.5).to(weight.dtype)
    return entropy + soft_dice_loss(logarithms.exp()[:, 1:], possible[:, 1:], weight * known, total)


def likely_classes(share: torch.Tensor) -> torch.Tensor:
    """Classes that a voxel belongs to by its shares (classes, z, y, x): what fills most of it, else the largest.

    Returns 0 or 1, float32, of the same shape; shares may add up to more than 1 where outlines overlap.
    """
    largest = F.one_hot(share.argmax(0), share.shape[0]).movedim(-1, 0)
    return ((share > 0.5) | (largest > 0)).to(torch.float32)


def region_distance(
    logits: torch.Tensor, other: torch.Tensor, weight: torch.Tensor, total: Total = _here
) -> torch.Tensor:
    """Kullback-Leibler divergence of independent regions from another network's probabilities `other`; 0 if equal.

    Hinton et al., Distilling the knowledge in a neural network, 2015, at temperature 1. `weight` chooses the channels
    and voxels that are held.
    """
    other = other.clamp(0, 1)  # interpolated, it may be past 1 by rounding, whose logarithm is no number
    distance = F.binary_cross_entropy_with_logits(logits, other, reduction="none")
    distance = distance + torch.xlogy(other, other) + torch.xlogy(1 - other, 1 - other)
    return _mean(distance, weight.expand_as(logits), total)


def class_distance(
    logits: torch.Tensor, other: torch.Tensor, held: torch.Tensor, total: Total = _here
) -> torch.Tensor:
    """As `region_distance` for exclusive classes: how the classes that are `held` in a voxel share it.

    `held` (batch, classes, …) is 1 for the classes between which the other network's opinion counts. Both answers are
    renormalised over them, so that what is known of the others says nothing here; voxels with
    fewer than two do not count.
    """
    weight = (held.sum(1, keepdim=True) > 1.5).to(logits.dtype)
    mask = (held > 0.5) | (weight < 0.5)  # a softmax over nothing would be NaN, also in the gradient
    mine = F.log_softmax(logits.masked_fill(~mask, -1e4), dim=1)
    other = other.clamp(0, 1) * mask
    other = other / other.sum(1, keepdim=True).clamp(min=1e-6)
    distance = (torch.xlogy(other, other) - other * mine.masked_fill(~mask, 0.0)).sum(1, keepdim=True)
    return _mean(distance, weight, total)


def _mean(values: torch.Tensor, weight: torch.Tensor, total: Total) -> torch.Tensor:
    value, count = total(torch.stack([(weight * values).sum(), weight.sum()]))
    return value / count.clamp(min=1)
