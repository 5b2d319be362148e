"""An ordinary U-Net as nnU-Net makes it, trained with the same script and minutes: what an AFNet is measured against.

Needs `pip install dynamic-network-architectures`.
"""

import torch
from torch import nn
from torch.nn import functional as F

DIVISOR = 16
"""Sides are a multiple of this, for four of the stages halve them."""


class AnySize(nn.Module):
    """A U-Net for volumes of any size: zeros beyond the far ends, which are cut off again."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ends = [number for side in reversed(x.shape[2:]) for number in (0, -side % DIVISOR)]
        return self.network(F.pad(x, ends))[..., : x.shape[2], : x.shape[3], : x.shape[4]]


def plain_unet(inputs: int, outputs: int) -> nn.Module:
    """nnU-Net's PlainConvUNet for patches of 80×96×80 voxels: five stages, two convolutions each."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    network = PlainConvUNet(
        inputs, 5, (32, 64, 128, 256, 320), nn.Conv3d, 3, (1, 2, 2, 2, 2), (2,) * 5, outputs, (2,) * 4,
        conv_bias=True, norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
    )
    return AnySize(network)
