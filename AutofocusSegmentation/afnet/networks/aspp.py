"""Atrous spatial pyramid pooling, the paper's baseline for attention (ASPP-c, ASPP-s): scales joined without choice.

Parallel dilated convolutions with weights of their own; the networks concatenate them or sum their classifiers.
"""

import torch
from torch import nn
from torch.nn import functional as F

from ..autofocus import DilatedLayer, Halo


class DilatedPyramid(nn.Module):
    """One 3×3×3 convolution, batch norm and ReLU for each rate. `halo` as everywhere in autofocus.py."""

    def __init__(self, channels_in: int, channels_branch: int, rates: tuple[int, ...], flavour: str = "paper"):
        super().__init__()
        self.reach = max(rates)
        self.branches = nn.ModuleList(DilatedLayer(channels_in, channels_branch, rate, flavour) for rate in rates)

    def forward(self, x: torch.Tensor, halo: Halo = (0, 0, 0)) -> list[torch.Tensor]:
        """Return one tensor (batch, channels_branch, …) for each rate."""
        return [F.relu(branch(x, halo)) for branch in self.branches]
