"""The authors' execution of their networks: tiles of 75³ voxels that each give 47³.

Valid convolutions in float32, every branch a convolution of its own; zeros around the crop. The tiles stand at
the crop's first voxel and every 47 voxels on, as the authors' code places them on the brain's bounding box; the
last ones reach beyond its end and are cut. Far branches read zeros at a tile's border, so the result of an AFNet
belongs to this placement and is not that of the whole volume.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace

import torch

from .autofocus import AutofocusLayer
from .networks import AutofocusNetwork, DeepMedic, build_network
from .streaming import AttentionSink

TILE = 75
"""Voxels along each side of a tile in the authors' code."""


class Tiling:
    """One pass of `network` over a crop in tiles; takes and gives what `Streaming` does."""

    def __init__(self, network: AutofocusNetwork | DeepMedic, on_progress: Callable[[float], None] | None = None,
                 attention: AttentionSink | None = None):
        self.network = build_network(replace(network.plan, padding="valid"))
        self.network.load_state_dict(network.state_dict())
        self.network.eval()
        self.lost = self.network.plan.lost
        self.inner = TILE - 2 * self.lost
        self.on_progress = on_progress or (lambda fraction: None)
        self.attention = attention
        self.maps: dict[str, torch.Tensor] = {}
        if attention is not None:
            for name, layer in self.network.named_autofocus_layers():
                self._record(name, layer)

    def _record(self, name: str, layer: AutofocusLayer) -> None:
        """Keep the maps of each tile besides using them."""
        compute = layer.attention

        def attention(*arguments):
            self.maps[name] = compute(*arguments)
            return self.maps[name]

        layer.attention = attention

    @torch.inference_mode()
    def run(self, channels: torch.Tensor) -> torch.Tensor:
        """Map channels (C, z, y, x) to logits (R, z, y, x) in float32, on the device of `channels`."""
        channels = channels.float()
        self.network.to(channels.device)
        shape = channels.shape[1:]
        logits = channels.new_empty((self.network.plan.outputs, *shape))
        corners = list(itertools.product(*(range(0, side, self.inner) for side in shape)))
        row = {}
        for number, corner in enumerate(corners, start=1):
            inside = [slice(start, min(start + self.inner, side)) for start, side in zip(corner, shape)]
            cut = tuple(slice(0, part.stop - part.start) for part in inside)
            tile = self._tile(channels, corner)
            logits[(slice(None), *inside)] = self.network(tile[None])[0][(slice(None), *cut)]
            for name, maps in self.maps.items():
                self._keep(row, name, maps[0], inside, cut, shape)
            if row and (number == len(corners) or corners[number][0] != corner[0]):
                self._send(row, corner[0])
            self.on_progress(number / len(corners))
        return logits

    def _tile(self, channels: torch.Tensor, corner: tuple[int, ...]) -> torch.Tensor:
        """Return the 75³ voxels around the inner tile that starts at `corner`; zeros beyond the crop."""
        tile = channels.new_zeros((channels.shape[0], TILE, TILE, TILE))
        starts = [start - self.lost for start in corner]
        source = [slice(max(start, 0), min(start + TILE, side)) for start, side in zip(starts, channels.shape[1:])]
        target = [slice(part.start - start, part.stop - start) for part, start in zip(source, starts)]
        tile[(slice(None), *target)] = channels[(slice(None), *source)]
        return tile

    def _keep(self, row: dict, name: str, maps: torch.Tensor, inside: list[slice], cut, shape) -> None:
        """Put one tile's maps (K, …), larger than the inner tile in the early layers, into the row of tiles."""
        halo = (maps.shape[1] - self.inner) // 2
        planes = inside[0].stop - inside[0].start
        if name not in row:
            row[name] = maps.new_empty((maps.shape[0], planes, *shape[1:]))
        part = maps[(slice(None), *(slice(halo, halo + side.stop) for side in cut))]
        row[name][(slice(None), slice(None), *inside[1:])] = part

    def _send(self, row: dict, start: int) -> None:
        for name, maps in row.items():
            self.attention(name, start, maps)
        row.clear()


def tile_bytes(network: AutofocusNetwork | DeepMedic, shape: tuple[int, int, int]) -> int:
    """Memory for one pass over a crop of `shape` (z, y, x): a tile's feature maps, the channels and the logits."""
    plan = network.plan
    width = max(*plan.widths, *(len(plan.rates) * extra for extra in plan.extra_widths))
    voxels = shape[0] * shape[1] * shape[2]
    return 4 * (6 * width * TILE**3 + (plan.inputs + 3 * plan.outputs) * voxels)
