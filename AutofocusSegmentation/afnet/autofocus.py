"""The autofocus convolution (Qin et al., MICCAI 2018, section 2.2).

K dilated 3×3×3 convolutions share one weight tensor; a small attention network on the same input gives
K maps Λ that sum to 1 in every voxel, and the output is Σ_k Λ^k · conv_{rate r_k}(x).

Tensors are (batch, channels, depth, height, width). Every convolution here takes a `halo`: how many voxels
the input reaches beyond the output on both sides of each spatial axis. (0, 0, 0) is a 'same' convolution,
(rate, rate, rate) a 'valid' one, (29, 0, 0) one on a slab that brings its neighbouring planes along. What a
dilated kernel reads beyond the halo is zero, as in the authors' code, which pads a branch of rate r by r − 2
to the output size of rate 2.

A layer's `reach` is how many voxels away it reads at most: its largest rate, the halo with which no zero is read.
Its `valid_reach` is the halo of the authors' valid layers, the smallest rate: a 'valid' AFNet loses no more
voxels than one of that rate alone, and its further branches read zeros.
"""

import torch
from torch import nn
from torch.nn import functional as F

from .convolution import convolve

Halo = tuple[int, int, int]

RATES = (2, 6, 10, 14)
"""Dilation rates of the paper (K = 4)."""

FLAVOURS = ("paper", "released")
"""'paper': one batch norm after the fusion, as in the equation, and a gradient through the attention's input.
'released': a batch norm per rate before the fusion, the bias on the first rate only, and the attention's
input detached, as in the authors' code."""


def dilated_conv3d(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, rate: int, halo: Halo):
    """Convolve with a dilated 3×3×3 kernel; the output is `x` less `halo` on every side."""
    padding = tuple(max(rate - reach, 0) for reach in halo)
    unread = tuple(max(reach - rate, 0) for reach in halo)
    return convolve(crop(x, unread), weight, bias, padding, rate)


def crop(x: torch.Tensor, halo: Halo) -> torch.Tensor:
    """Drop `halo` voxels on both sides of the three spatial axes (a view)."""
    for axis, width in enumerate(halo, start=2):
        if width:
            x = x.narrow(axis, width, x.shape[axis] - 2 * width)
    return x


def _kernel(channels_out: int, channels_in: int, flavour: str) -> nn.Parameter:
    weight = torch.empty(channels_out, channels_in, 3, 3, 3)
    if flavour == "released":
        nn.init.normal_(weight, 0.0, 0.01)
    else:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
    return nn.Parameter(weight)


class DilatedLayer(nn.Module):
    """One 3×3×3 convolution of a fixed rate, and its batch norm."""

    def __init__(self, channels_in: int, channels_out: int, rate: int = 1, flavour: str = "paper"):
        super().__init__()
        self.rate = rate
        self.reach = rate
        self.valid_reach = rate
        self.weight = _kernel(channels_out, channels_in, flavour)
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.norm = nn.BatchNorm3d(channels_out)

    def forward(self, x: torch.Tensor, halo: Halo = (0, 0, 0)) -> torch.Tensor:
        return self.norm(dilated_conv3d(x, self.weight, self.bias, self.rate, halo))


class AutofocusLayer(nn.Module):
    """The autofocus convolution with its batch norm (or norms, in the released flavour).

    `attention` gives the maps alone. The number of convolution weights does not depend on the number of rates.
    """

    def __init__(self, channels_in: int, channels_out: int, rates=RATES, flavour: str = "paper"):
        super().__init__()
        if flavour not in FLAVOURS:
            raise ValueError(f"flavour must be one of {FLAVOURS}")
        self.rates = tuple(rates)
        self.reach = max(self.rates)
        self.valid_reach = self.rates[0]
        self.flavour = flavour
        self.weight = _kernel(channels_out, channels_in, flavour)
        self.bias = nn.Parameter(torch.zeros(channels_out))
        hidden = channels_in // 2
        self.attention_weight = _kernel(hidden, channels_in, flavour)
        self.attention_bias = nn.Parameter(torch.zeros(hidden))
        self.attention_scores = nn.Conv3d(hidden, len(self.rates), 1)
        norms = 1 if flavour == "paper" else len(self.rates)
        self.norms = nn.ModuleList(nn.BatchNorm3d(channels_out) for _ in range(norms))

    def attention(self, x: torch.Tensor, halo: Halo = (0, 0, 0)) -> torch.Tensor:
        """Return Λ, (batch, K, …), which sums to 1 over K."""
        if self.flavour == "released":
            x = x.detach()
        hidden = F.relu(dilated_conv3d(x, self.attention_weight, self.attention_bias, 1, halo))
        return torch.softmax(self.attention_scores(hidden), dim=1)

    def forward(self, x: torch.Tensor, halo: Halo = (0, 0, 0), attention: torch.Tensor | None = None) -> torch.Tensor:
        """Fuse the rates; `attention` may be handed in where it is wanted besides the output."""
        if attention is None:
            attention = self.attention(x, halo)
        total = None
        for k, rate in enumerate(self.rates):
            # One bias for the sum: in the paper's flavour Σ_k Λ^k·b = b, in the released one it is the first rate's.
            bias = self.bias if self.flavour == "released" and k == 0 else None
            branch = dilated_conv3d(x, self.weight, bias, rate, halo)
            if self.flavour == "released":
                branch = self.norms[k](branch)
            branch = branch * attention[:, k : k + 1]
            total = branch if total is None else total + branch
        if self.flavour == "released":
            return total
        return self.norms[0](total + self.bias.view(1, -1, 1, 1, 1))
