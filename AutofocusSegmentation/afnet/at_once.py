"""A DeepMedic over a whole crop, each of its pathways at once: it is not streamed, and tiles are the authors'."""

from collections.abc import Callable

import torch

from .networks.deepmedic import FACTOR, DeepMedic, coarse, fine

JOINED_PLANES = 15
"""Planes of a crop that are joined at a time: the joint layers' maps would be the largest."""


class AtOnce:
    """One pass of a DeepMedic over a whole crop, each pathway at once; takes and gives what `Streaming` does."""

    def __init__(self, network: DeepMedic, on_progress: Callable[[float], None] | None = None):
        self.network = network
        self.on_progress = on_progress or (lambda fraction: None)

    @torch.inference_mode()
    def run(self, channels: torch.Tensor) -> torch.Tensor:
        """Map channels (C, z, y, x) to logits (R, z, y, x) in float32."""
        x = channels[None]
        normal = self.network.normal.features(x)
        self.on_progress(0.7)
        low = self.network.low.features(coarse(x))
        self.on_progress(0.8)
        depth, parts = normal.shape[2], []
        for start in range(0, depth, JOINED_PLANES):
            stop = min(start + JOINED_PLANES, depth)
            blocks = low[:, :, start // FACTOR : -(-stop // FACTOR)]
            near = fine(blocks, (stop - start, *normal.shape[3:]))
            parts.append(self.network.join(normal[:, :, start:stop], near).float())
            self.on_progress(0.8 + 0.2 * stop / depth)
        return torch.cat(parts, dim=2)[0]


def at_once_bytes(network: DeepMedic, shape: tuple[int, int, int]) -> int:
    """Memory for one `AtOnce` pass in float32 over a crop of `shape` (z, y, x): four maps and a few joined planes."""
    plan = network.plan
    plane = shape[1] * shape[2]
    joined = JOINED_PLANES * plane * 4 * sum(plan.extra_widths)
    return 4 * (4 * max(plan.widths[:8]) * shape[0] * plane + joined)
