"""A sample of the bank as the network and its loss take it, on torch tensors, the same on CPU and GPU.

`hu` is int16 or float32 (z, y, x), `possible` uint8 bits (bit k set where code k may be the truth), `weight` uint8
percent, as pelvis_bank.py writes them.
"""

from __future__ import annotations

import torch

CODES = 7
LEFT, RIGHT = 5, 6


def windowed(hu: torch.Tensor, manifest) -> torch.Tensor:
    """The network's channels (C, z, y, x), float32: what `afnet.normalisation.normalise_channels` makes of `hu`."""
    windows = [channel["window_hu"] for channel in manifest.raw["channels"]]
    return torch.stack([(hu.float().clamp(low, high) - low) / (high - low) for low, high in windows])


def class_masks(possible: torch.Tensor) -> torch.Tensor:
    """Float32 (CODES, z, y, x), 1 for each code that is possible in a voxel."""
    codes = torch.arange(CODES, dtype=torch.uint8, device=possible.device).view(-1, 1, 1, 1)
    return ((possible[None] >> codes) & 1).float()


def as_tensors(hu: torch.Tensor, possible: torch.Tensor, weight: torch.Tensor, manifest):
    """Channels (C, z, y, x), possible codes (CODES, z, y, x; 0 or 1) and weight (1, z, y, x; 0 to 1), float32."""
    return windowed(hu, manifest), class_masks(possible), weight[None].float() / 100


def mirrored(hu: torch.Tensor, possible: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The sample seen in a mirror: x reversed, and with it the left and the right femur."""
    left, right = (possible >> LEFT) & 1, (possible >> RIGHT) & 1
    possible = (possible & ((1 << LEFT) - 1)) | (right << LEFT) | (left << RIGHT)
    return tuple(tensor.flip(2) for tensor in (hu, possible, weight))
