"""Run a network over a whole crop, exactly, in slabs along the crop's longest axis, depth first.

Each layer computes a slab as soon as the planes that its kernels reach are there, and of each map only the planes
that are still to be read are kept (28 and a few slabs for rate 14; those that wait for the residual connection). So
memory does not grow with that axis, and no voxel is computed twice. Zeros are read beyond the crop's own end
alone: the result is that of the whole volume at once.

Two words for what lies around a slab. Its `halo` is the planes before and after those that are computed, as many as
the layer's reach: planes of the map, or zeros beyond the crop's end. Across the planes nothing but zeros lies beyond a
slab, for every plane is whole; where explicit padding is faster (convolution.wants_zero_frame), they are kept in
memory around each plane as a `zero_frame`, as wide as the halo, else the convolution pads.
"""

from collections.abc import Callable

import torch

from ..convolution import wants_zero_frame
from ..networks import AutofocusNetwork
from ..widths import AS_THEY_ARE, Widths
from .folding import FoldedHead, FoldedLayer, Placement, fold
from .layout import Layout
from .planes import Planes, Slab, oldest_needed

AttentionSink = Callable[[str, int, torch.Tensor], None]
"""Called with a layer's name, a slab's first plane and its maps (K, z, y, x) in the pass's number type, which have the
crop's size but along its longest axis (the first of equals): there they are the slab's planes."""


class Streaming:
    """One pass of `network`, in evaluation mode, in `dtype` on `device` (default: its own).

    `planes` is the slab's thickness (None: the CPU's); `memory` in bytes decides how much room the buffers have to
    spare; channels are padded as `widths` say. `on_progress` is called with the part of all multiplications that is
    done, after every convolution.
    """

    def __init__(self, network: AutofocusNetwork, planes: int | None = None,
                 on_progress: Callable[[float], None] | None = None, attention: AttentionSink | None = None, *,
                 device: torch.device | None = None, dtype: torch.dtype | None = None, memory: int | None = None,
                 widths: Widths = AS_THEY_ARE):
        if not isinstance(network, AutofocusNetwork) or network.plan.padding != "same":
            raise ValueError("streaming needs a network of one pathway with 'same' padding")
        weight = network.stem[0].weight
        self.network = network
        self.planes = planes
        self.on_progress = on_progress or (lambda fraction: None)
        self.attention = attention
        self.device = device or weight.device
        self.dtype = dtype or weight.dtype
        self.memory = memory
        self.widths = widths
        self.done = self.total = 0.0

    @torch.inference_mode()
    def run(self, channels: torch.Tensor) -> torch.Tensor:
        """Map channels (C, z, y, x) to logits (R, z, y, x) in float32, or float64 for a float64 pass.

        Both lie where the channels are, which need not be the device that computes: slabs travel.
        """
        zero_frame = wants_zero_frame(self.device, self.dtype)
        layout = Layout(self.network, channels.shape[1:], self.planes, self.widths, zero_frame)
        layers = fold(self.network, Placement(self.device, self.dtype, layout.axes, self.widths))
        value = torch.finfo(self.dtype).bits // 8
        buffers = layout.buffers(layout.spare(value, self.memory), self.dtype, self.device)
        self.done, self.total = 0.0, sum(layer.work for layer in layers) * float(channels[0].numel())
        kept = torch.promote_types(self.dtype, torch.float32)
        logits = torch.empty((layers[-1].channels_out, *channels.shape[1:]), dtype=kept, device=channels.device)
        order = (0, *(1 + axis for axis in layout.axes))
        source, target = channels.permute(order), logits.permute(order)
        done = [0] * len(layout.stages)
        for slab in layout.slabs:
            planes = slice(slab.start, slab.stop)
            if slab.stage == 0:
                result = source[None, :, planes].to(self.device, self.dtype)
            else:
                buffers[slab.stage - 1].reach_to(
                    slab.stop + layout.stages[slab.stage].reach, oldest_needed(layout.stages, done, slab.stage - 1)
                )
                result = self._slab(layers[slab.stage - 1], slab, layout, buffers)
            if slab.stage == len(layers):
                target[:, planes] = result[0]
            else:
                buffers[slab.stage].append(result, oldest_needed(layout.stages, done, slab.stage))
            done[slab.stage] = slab.stop
        return logits

    def _slab(self, layer: FoldedLayer | FoldedHead, slab: Slab, layout: Layout, buffers: list[Planes]) -> torch.Tensor:
        stage = layout.stages[slab.stage]
        x = buffers[slab.stage - 1].read(slab.start - stage.reach, slab.stop + stage.reach)
        shortcut = None if stage.shortcut is None else buffers[stage.shortcut].read_within(slab.start, slab.stop)
        sink = None
        if self.attention is not None:
            back = [0, *(1 + layout.axes.index(axis) for axis in range(3))]

            def sink(shares: torch.Tensor) -> None:
                self.attention(layer.name, slab.start, shares[0].permute(back))

        return layer(x, shortcut, self._tick, sink, stage.reach if layout.zero_frame else 0)

    def _tick(self, work: float) -> None:
        self.done += work
        self.on_progress(min(self.done / self.total, 1.0))


def bytes_needed(network: AutofocusNetwork, shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype,
                 planes: int | None = None, widths: Widths = AS_THEY_ARE) -> int:
    """Memory that one pass over a crop of `shape` (z, y, x) takes at least."""
    layout = Layout(network, shape, planes, widths, wants_zero_frame(device, dtype))
    return layout.bytes_needed(torch.finfo(dtype).bits // 8)
