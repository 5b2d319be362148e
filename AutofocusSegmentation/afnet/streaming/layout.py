"""How a network runs over a crop in slabs: along which axis, how thick, what is kept, how much memory that takes."""

from math import prod

import torch

from ..networks import AutofocusNetwork
from ..widths import AS_THEY_ARE, Widths
from .planes import Planes, Stage, capacities, schedule

SLAB_PLANES = 4
"""Planes computed at a time on a CPU. Thicker ones were not faster (40 → 40 channels of 140 × 140, ms a plane: 38 in
slabs of one plane, 32 of two, 26 of four, 25 of seven, 27 of fourteen), and each thickness keeps as many planes more.
Never chosen from the free memory, so that a result can be repeated to the bit."""

CALL_WORK = 2e10
"""Multiplications of the longest convolution call, about 0.3 s on two cores, so that progress and cancel are
prompt: where the planes of a slab are more than that, there are fewer."""

SPARE_SLABS = (8, 4, 2, 1, 0)
"""Slabs of room in every buffer beyond what is needed. More room means that planes are moved less often; the result
is the same to the bit, so this follows the memory that may be used."""


class Layout:
    """The pass of `network` over a crop of `shape` (z, y, x) in slabs of `thickness` planes (None: the CPU's).

    `axes` are the crop's axes in the order of memory: the slabs' axis, the longest (the first of equals), then the
    others. Stage 0 is the input, stages 1…8 the hidden layers, stage 9 the head. `channels` are those of every
    stage's map, padded as `widths` say. With `zero_frame` the planes lie in memory with the zeros around them that the
    next stage reads.
    """

    def __init__(self, network: AutofocusNetwork, shape: tuple[int, ...], thickness: int | None = None,
                 widths: Widths = AS_THEY_ARE, zero_frame: bool = False):
        plan = network.plan
        longest = max(range(3), key=lambda axis: shape[axis])
        self.axes = (longest, *(axis for axis in range(3) if axis != longest))
        self.depth, *plane = (shape[axis] for axis in self.axes)
        self.plane = tuple(plane)
        layers = [*network.stem, *(layer for block in network.blocks for layer in (block.first, block.second))]
        heaviest = max(layer.weight.numel() for layer in layers) * prod(self.plane)
        self.thickness = thickness or max(1, min(SLAB_PLANES, int(CALL_WORK / heaviest)))
        shortcuts = {4: 2, 6: 4, 8: 6}
        self.stages = [
            Stage(0), *(Stage(layer.reach, shortcuts.get(n)) for n, layer in enumerate(layers, start=1)),
            Stage(network.head_reach),
        ]
        self.slabs = schedule(self.stages, self.depth, self.thickness)
        self.channels = [plan.inputs, *map(widths.map, plan.widths[:8]), plan.outputs]
        self.widest = max(*self.channels, *map(widths.map, plan.extra_widths))
        self.zero_frame = zero_frame
        self.needed = capacities(self.stages, self.depth, self.thickness)

    def buffers(self, spare: int, dtype: torch.dtype, device: torch.device) -> list[Planes]:
        """Return the buffers of all maps but the last, with room for `spare` slabs more than needed."""
        return [
            Planes(channels, capacity, self.plane, reader.reach, dtype, device, self.zero_frame)
            for channels, capacity, reader in zip(self.channels, self._capacities(spare), self.stages[1:])
        ]

    def bytes_needed(self, bytes_per_value: int, spare: int = 0) -> int:
        """Memory of one pass: the buffers, one slab's intermediate results, the channels and the logits."""
        values = sum(
            channels * count * self._voxels(reader)
            for channels, count, reader in zip(self.channels, self._capacities(spare), self.stages[1:])
        )
        values += 4 * self.widest * self.thickness * max(map(self._voxels, self.stages))
        whole = 4 * self.depth * (self.channels[0] + self.channels[-1]) * prod(self.plane)
        return values * bytes_per_value + whole

    def _voxels(self, reader: Stage) -> int:
        """Of a plane that the stage `reader` reads, with its frame."""
        return prod(side + (2 * reader.reach if self.zero_frame else 0) for side in self.plane)

    def spare(self, bytes_per_value: int, memory: int | None) -> int:
        """Return the most spare slabs with which the pass stays within `memory` bytes (None: no limit)."""
        fitting = (n for n in SPARE_SLABS if memory is None or self.bytes_needed(bytes_per_value, n) <= memory)
        return next(fitting, 0)

    def _capacities(self, spare: int) -> list[int]:
        # No map is longer than the crop and its halo.
        return [
            min(count + spare * self.thickness, self.depth + 2 * reader.reach)
            for count, reader in zip(self.needed, self.stages[1:])
        ]
