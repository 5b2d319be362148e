"""Batch renormalisation (Ioffe, NeurIPS 2017): train with batches of one on the function that inference uses.

A batch norm that trains on one volume normalises it by itself, and by the population's statistics afterwards: two
different functions. Here the normalised batch is corrected towards the running statistics by a scale r and a shift d
that carry no gradient, so the values are those of inference while the gradient still flows through the batch.
"""

import types

import torch
from torch import nn
from torch.nn import functional as F

from afnet.learning.training import norms_of

LARGEST_SCALE = 3.0
"""Bounds of r: 1/3…3 (Ioffe, section 4.1: r_max = 3)."""

LARGEST_SHIFT = 5.0
"""Bounds of d (Ioffe, section 4.1: d_max = 5)."""

MOMENTUM = 0.05
"""Part that the newest sample has in the running statistics."""


def renormalise(network: nn.Module) -> None:
    """Let every batch norm of `network` renormalise while it trains; in evaluation nothing changes."""
    for norm in norms_of(network):
        norm.forward = types.MethodType(renormalised_forward, norm)


def renormalised_forward(norm: nn.BatchNorm3d, x: torch.Tensor) -> torch.Tensor:
    """What a renormalised norm computes: itself in evaluation, and while its statistics are re-estimated."""
    if not norm.training or norm.momentum is None:  # None: the statistics are being re-estimated
        return nn.BatchNorm3d.forward(norm, x)
    mean, unbiased = torch.zeros_like(norm.running_mean), torch.zeros_like(norm.running_var)
    # With momentum 1 the norm's own kernel hands the batch's statistics over in float32, whatever x is.
    normalised = F.batch_norm(x, mean, unbiased, training=True, momentum=1.0, eps=norm.eps)
    count = x.numel() / x.shape[1]
    r, d = corrected(norm, mean, unbiased * ((count - 1) / count))
    scale, shift = norm.weight * r, norm.bias + norm.weight * d
    scale, shift = (vector.to(x.dtype).view(1, -1, 1, 1, 1) for vector in (scale, shift))
    return torch.addcmul(shift, normalised, scale)


@torch.no_grad()
def corrected(norm: nn.BatchNorm3d, mean: torch.Tensor, variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return r and d for a batch of this mean and variance (channels), which then join the running statistics."""
    first = norm.num_batches_tracked == 0  # never asked in Python: a GPU would have to be waited for
    norm.running_mean.copy_(torch.where(first, mean, norm.running_mean))
    norm.running_var.copy_(torch.where(first, variance, norm.running_var))
    running = torch.sqrt(norm.running_var + norm.eps)
    r = (torch.sqrt(variance + norm.eps) / running).clamp(1 / LARGEST_SCALE, LARGEST_SCALE)
    d = ((mean - norm.running_mean) / running).clamp(-LARGEST_SHIFT, LARGEST_SHIFT)
    norm.running_mean.lerp_(mean, MOMENTUM)
    norm.running_var.lerp_(variance, MOMENTUM)
    norm.num_batches_tracked += 1
    return r, d
