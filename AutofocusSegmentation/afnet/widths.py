"""To how many channels feature maps are padded with zeros, where the processor's convolutions are faster then.

Zero weights and zero biases give zeros, so the result is the same.
"""

from dataclasses import dataclass
from math import inf

import torch


@dataclass(frozen=True)
class Widths:
    """Pads to multiples of `multiple`; maps between layers only where that makes them at most `most` times as wide."""

    multiple: int = 1
    most: float = inf

    def map(self, width: int) -> int:
        """Return the channels of a map between two layers, whose padding costs in both."""
        padded = self.hidden(width)
        return padded if padded <= self.most * width else width

    def hidden(self, width: int) -> int:
        """Return the channels between an attention network's two convolutions; its second one is small."""
        return width + -width % self.multiple


AS_THEY_ARE = Widths()

AVX512 = Widths(16)
"""oneDNN is two to four times slower on widths of 30, 40, 50 than on 32, 48, 64 there."""

BFLOAT16 = Widths(32)
"""oneDNN's kernel for bfloat16 wants multiples of 32 channels to read. Measured with PyTorch 2.13 on a processor with
AMX, in GFLOP/s at rates 1, 2, 6, 14: 48 → 48 channels 1850, 970, 240, 50; 64 → 48 2060, 2050, 1620, 1530; 64 → 64 and
32 → 32 about as the latter."""

AVX2 = Widths(8, 1.1)
"""Measured with PyTorch 2.13 on a processor with AVX2, in ms for one slab: 30 → 30 channels 19.4, 32 → 32 18.0;
50 → 50 49.9, 56 → 56 56.7; 24 → 24 9.9, 32 → 32 18.0; an attention network's 24 → 12 8.9, 24 → 16 6.1;
40 → 20 17.2, 40 → 24 15.1, 40 → 32 22.6."""


def best_widths(device: torch.device, dtype: torch.dtype) -> Widths:
    """Return how widths are padded for computing in `dtype` on `device`."""
    if device.type == "cpu" and dtype == torch.bfloat16:
        return BFLOAT16
    capability = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else ""
    return AVX512 if capability.startswith("AVX512") else AVX2 if capability == "AVX2" else AS_THEY_ARE
