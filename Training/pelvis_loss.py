"""Loss for label maps in which some voxels have a set of possible codes instead of one."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from afnet.losses import soft_dice_loss


def marginal_loss(logits: torch.Tensor, possible: torch.Tensor, trust: torch.Tensor | None = None) -> torch.Tensor:
    """Marginal cross-entropy, -log of the summed probability of the possible codes, plus soft Dice where one is left.

    `logits` (batch, codes, z, y, x), channel 0 the background; `possible` uint8 (batch, z, y, x), bit k set where
    code k may be the truth; `trust` (batch,) weighs each sample. A voxel where a code is possible does not
    push its logit down; where it is excluded it does. (Marginal loss: Shi et al., Med Image Anal 70:101979, 2021.)
    """
    codes = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1, 1)
    allowed = (possible.long().unsqueeze(1) >> codes) & 1 > 0
    logarithms = F.log_softmax(logits, dim=1)
    entropy = -torch.logsumexp(logarithms.masked_fill(~allowed, -torch.inf), dim=1, keepdim=True)
    weight = torch.ones_like(entropy)
    if trust is not None:
        weight = weight * trust.view(-1, 1, 1, 1, 1)
    single = weight * (allowed.sum(1, keepdim=True) == 1)
    dice = soft_dice_loss(logarithms.exp()[:, 1:], allowed[:, 1:].to(logits.dtype), single)
    return (weight * entropy).sum() / weight.sum().clamp(min=1e-6) + dice
