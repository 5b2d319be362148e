"""Run a network over a whole crop, layer by layer in slabs, exactly.

Every layer is computed once per voxel. A slab brings the planes along that its kernels reach into; zeros are
read only beyond the crop's own border, so the result is that of the whole volume at once, whatever the
slab's thickness. Three feature maps of the crop are held at a time, and one slab's intermediate results.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from .autofocus import AutofocusLayer, DilatedLayer
from .networks import AutofocusNetwork

SLAB_PLANES = 16
"""Planes computed at a time. Fixed, not chosen from the free memory, so that a result can be repeated to the bit."""

AttentionSink = Callable[[str, AutofocusLayer, int, torch.Tensor], None]
"""Called with a layer's name, the layer, a slab's first plane and its maps (K, planes, y, x)."""


class Streaming:
    """One pass of `network` over `channels`; counts its work for a true progress."""

    def __init__(self, network: AutofocusNetwork, planes: int = SLAB_PLANES,
                 on_progress: Callable[[float], None] | None = None, attention: AttentionSink | None = None):
        if network.plan.padding != "same" or not isinstance(network, AutofocusNetwork):
            raise ValueError("streaming needs a network of one pathway with 'same' padding")
        self.network = network
        self.planes = planes
        self.on_progress = on_progress or (lambda fraction: None)
        self.attention = attention
        self.names = {layer: name for name, layer in network.named_autofocus_layers()}
        self.done = 0.0
        self.total = float(sum(_work(module) for module in network.modules()))

    @torch.inference_mode()
    def run(self, channels: torch.Tensor) -> torch.Tensor:
        """Map channels (C, z, y, x) to logits (R, z, y, x) in float32, both where the network is."""
        x = channels[None].contiguous(memory_format=torch.channels_last_3d)
        for layer in self.network.stem:
            x = self._layer(layer, x)
        for block in self.network.blocks:
            hidden = self._layer(block.first, x)
            x = self._layer(block.second, hidden, lambda y, planes, x=x, block=block: block.join(y, x[:, :, planes]))
        head, reach = self.network.head, self.network.head_reach
        return self._slabs(
            x, lambda planes: head(_with_neighbours(x, planes, reach), (reach, 0, 0)).float(), self.network.pyramid
        )[0]

    def _layer(self, layer: nn.Module, x: torch.Tensor, finish: Callable | None = None) -> torch.Tensor:
        finish = finish or (lambda y, planes: F.relu(y))

        def compute(planes: slice) -> torch.Tensor:
            slab, halo = _with_neighbours(x, planes, layer.reach), (layer.reach, 0, 0)
            if layer in self.names and self.attention is not None:
                maps = layer.attention(slab, halo)
                self.attention(self.names[layer], layer, planes.start, maps[0].float())
                return finish(layer(slab, halo, maps), planes)
            return finish(layer(slab, halo), planes)

        return self._slabs(x, compute, layer)

    def _slabs(self, x: torch.Tensor, compute: Callable[[slice], torch.Tensor], layer: nn.Module | None):
        depth = x.shape[2]
        work = sum(_work(module) for module in layer.modules()) if layer else 0.0
        result = None
        for start in range(0, depth, self.planes):
            planes = slice(start, min(start + self.planes, depth))
            slab = compute(planes)
            if result is None:
                shape = (1, slab.shape[1], *x.shape[2:])
                result = torch.empty(shape, dtype=slab.dtype, device=slab.device, memory_format=torch.channels_last_3d)
            result[:, :, planes] = slab
            self.done += work * (planes.stop - planes.start) / depth
            self.on_progress(min(self.done / self.total, 1.0))
        return result


def _with_neighbours(x: torch.Tensor, planes: slice, reach: int) -> torch.Tensor:
    """Return planes start − reach … stop + reach of `x`, zeros where the crop ends."""
    low, high = planes.start - reach, planes.stop + reach
    inside = x[:, :, max(low, 0) : min(high, x.shape[2])]
    missing = (0, 0, 0, 0, max(-low, 0), max(high - x.shape[2], 0))
    return F.pad(inside, missing) if any(missing) else inside


def _work(module: nn.Module) -> float:
    """Multiplications per voxel of a layer's convolutions; 0 for containers."""
    if isinstance(module, AutofocusLayer):
        return module.weight.numel() * len(module.rates) + module.attention_weight.numel()
    if isinstance(module, DilatedLayer):
        return module.weight.numel()
    return 0.0


def bytes_needed(network: AutofocusNetwork, shape: tuple[int, int, int], bytes_per_value: int) -> int:
    """Memory for one pass over a crop of `shape` (z, y, x): three feature maps and a slab's intermediate results."""
    plan = network.plan
    width = max(plan.widths)
    plane = shape[1] * shape[2] * width * bytes_per_value
    reach = max(plan.rates)
    slab = (4 * SLAB_PLANES + 3 * reach) * plane
    if plan.extra_widths:
        slab += SLAB_PLANES * shape[1] * shape[2] * plan.extra_widths[0] * (len(plan.rates) + 1) * bytes_per_value
    return 3 * shape[0] * plane + 2 * slab
