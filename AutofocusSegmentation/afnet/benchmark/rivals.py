"""What the engine is compared with: the same network as others execute it, and nnU-Net's network.

MONAI and dynamic-network-architectures are no dependencies: where they are missing, a comparison is left out by name.
"""

import itertools
import time

import torch
from torch import nn
from torch.nn import functional as F

MONAI_WINDOW = 96
"""Side of MONAI's windows in voxels, as in its bundles for these organs."""

NNUNET_PATCH = 128
"""Side of nnU-Net's patches in voxels, what it plans for such volumes."""

NNUNET_WIDTHS = (32, 64, 128, 256, 320, 320)
"""Channels of nnU-Net's six stages (31 million weights)."""

OVERLAP = 0.5

MIRRORINGS = 8
"""Passes of nnU-Net's default test-time mirroring along three axes."""


class Missing(Exception):
    """A comparison's package is not installed; the text names it."""


class TimedCalls:
    """Calls `network` and times it, the first `limit` times (None: always); afterwards it answers zeros of that shape.

    All calls cost the same, for they have inputs of one shape: `seconds` is what all of them would have taken.
    """

    def __init__(self, network: nn.Module, limit: int | None):
        self.network, self.limit = network, limit
        self.times: list[float] = []
        self.calls = 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.limit is None or self.calls <= self.limit:
            begin = time.perf_counter()
            self.answer = self.network(x)
            if x.device.type == "cuda":
                torch.cuda.synchronize(x.device)
            self.times.append(time.perf_counter() - begin)
            return self.answer
        return torch.zeros_like(self.answer)

    def __getattr__(self, name: str):
        return getattr(self.network, name)

    @property
    def seconds(self) -> float:
        return sum(self.times) / len(self.times) * self.calls

    def whole(self, elapsed: float) -> float:
        """Return the seconds of the whole pass, of which `elapsed` passed with zeros for answers."""
        return elapsed - sum(self.times) + self.seconds


def with_monai(network, channels: torch.Tensor) -> torch.Tensor:
    """Return logits (R, z, y, x) of channels (C, z, y, x) by MONAI's sliding window, Gaussian weights."""
    try:
        from monai.inferers import sliding_window_inference
    except ImportError:
        raise Missing("monai") from None
    return sliding_window_inference(channels[None], (MONAI_WINDOW,) * 3, 1, network, OVERLAP, "gaussian")[0]


def nnunet(inputs: int, outputs: int) -> nn.Module:
    """Return PlainConvUNet as nnU-Net plans it for 128³ patches, random weights, evaluation mode."""
    try:
        from dynamic_network_architectures.architectures.unet import PlainConvUNet
    except ImportError:
        raise Missing("dynamic-network-architectures") from None
    stages = len(NNUNET_WIDTHS)
    return PlainConvUNet(
        inputs, stages, NNUNET_WIDTHS, nn.Conv3d, 3, [1] + [2] * (stages - 1), 2, outputs, 2, conv_bias=True,
        norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True}, deep_supervision=False,
    ).eval()


def in_patches(network, channels: torch.Tensor, patch: int = NNUNET_PATCH) -> torch.Tensor:
    """Return logits (R, z, y, x) of channels (C, z, y, x) as nnU-Net computes them: patches that overlap by half,
    weighted by a Gaussian of an eighth of their side, the volume padded with zeros to one patch at least."""
    shape = channels.shape[1:]
    padded = F.pad(channels, [n for side in reversed(shape) for n in (0, max(patch - side, 0))])
    weight = _gaussian(patch, channels.device)
    starts = [_starts(side, patch) for side in padded.shape[1:]]
    total = weights = None
    for corner in itertools.product(*starts):
        place = (slice(None), *(slice(start, start + patch) for start in corner))
        logits = network(padded[place][None])[0].float()
        if total is None:
            total = logits.new_zeros((logits.shape[0], *padded.shape[1:]))
            weights = logits.new_zeros((1, *padded.shape[1:]))
        total[place] += logits * weight
        weights[place] += weight
    return (total / weights)[(slice(None), *(slice(side) for side in shape))]


def _starts(side: int, patch: int) -> list[int]:
    """Return where patches begin along an axis: evenly, at most half a patch apart, the last at the end."""
    steps = -(-(side - patch) // int(patch * (1 - OVERLAP)))
    return [round((side - patch) * step / max(steps, 1)) for step in range(steps + 1)]


def _gaussian(patch: int, device: torch.device) -> torch.Tensor:
    x = torch.arange(patch, device=device) - (patch - 1) / 2
    line = torch.exp(-0.5 * (x / (patch / 8)) ** 2)
    return line.view(-1, 1, 1) * line.view(1, -1, 1) * line.view(1, 1, -1) + 1e-6
