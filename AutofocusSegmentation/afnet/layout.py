"""How a network runs over a crop in slabs: along which axis, how thick, what is kept, how much memory that takes."""

from math import prod

import torch

from .networks import AutofocusNetwork
from .planes import Planes, Stage, capacities, schedule

SLAB_PLANES = 7
"""Planes computed at a time: half the largest rate, so that no plane is kept only because slabs end elsewhere. Never
chosen from the free memory, so that a result can be repeated to the bit."""

CALL_WORK = 2e10
"""Multiplications of the longest convolution call, about 0.3 s on two cores, so that progress and cancel are
prompt: where seven planes are more than that, slabs are thinner."""

SPARE_SLABS = (8, 4, 2, 1, 0)
"""Slabs of room in every buffer beyond what is needed. More room means that planes are moved less often; the result
is the same to the bit, so this follows the memory that may be used."""


class Layout:
    """The pass of `network` over a crop of `shape` (z, y, x) in slabs of at most `thickness` planes.

    `axes` are the crop's axes in the order of memory: the slabs' axis, the longest (the first of equals), then the
    others. Stage 0 is the input, stages 1…8 the hidden layers, stage 9 the head. `channels` are those of every
    stage's map, padded to multiples of `multiple` where the weights are.
    """

    def __init__(self, network: AutofocusNetwork, shape: tuple[int, ...], thickness: int = SLAB_PLANES,
                 multiple: int = 1):
        plan = network.plan
        longest = max(range(3), key=lambda axis: shape[axis])
        self.axes = (longest, *(axis for axis in range(3) if axis != longest))
        self.depth, *plane = (shape[axis] for axis in self.axes)
        self.plane = tuple(plane)
        layers = [*network.stem, *(layer for block in network.blocks for layer in (block.first, block.second))]
        heaviest = max(layer.weight.numel() for layer in layers) * prod(self.plane)
        self.thickness = max(1, min(thickness, int(CALL_WORK / heaviest)))
        shortcuts = {4: 2, 6: 4, 8: 6}
        self.stages = [
            Stage(0), *(Stage(layer.reach, shortcuts.get(n)) for n, layer in enumerate(layers, start=1)),
            Stage(network.head_reach),
        ]  # fmt: skip
        self.slabs = schedule(self.stages, self.depth, self.thickness)
        widths = [width + -width % multiple for width in plan.widths[:8]]
        self.channels = [plan.inputs, *widths, plan.outputs]
        self.widest = max(*self.channels, *plan.extra_widths)
        self.needed = capacities(self.stages, self.depth, self.thickness)

    def buffers(self, spare: int, dtype: torch.dtype, device: torch.device) -> list[Planes]:
        """Return the buffers of all maps but the last, with room for `spare` slabs more than needed."""
        return [
            Planes(channels, capacity, self.plane, self.depth, reader.reach, dtype, device)
            for channels, capacity, reader in zip(self.channels, self._capacities(spare), self.stages[1:])
        ]

    def bytes_needed(self, bytes_per_value: int, spare: int = 0) -> int:
        """Memory of one pass: the buffers, one slab's intermediate results, the channels and twice the logits."""
        planes = sum(channels * count for channels, count in zip(self.channels, self._capacities(spare)))
        planes += 4 * self.widest * self.thickness
        whole = 4 * self.depth * (self.channels[0] + 2 * self.channels[-1])
        return prod(self.plane) * (planes * bytes_per_value + whole)

    def spare(self, bytes_per_value: int, memory: int | None) -> int:
        """Return the most spare slabs with which the pass stays within `memory` bytes (None: no limit)."""
        fitting = (n for n in SPARE_SLABS if memory is None or self.bytes_needed(bytes_per_value, n) <= memory)
        return next(fitting, 0)

    def _capacities(self, spare: int) -> list[int]:
        # No map is longer than the crop and its borders.
        return [
            min(count + spare * self.thickness, self.depth + 2 * reader.reach)
            for count, reader in zip(self.needed, self.stages[1:])
        ]
