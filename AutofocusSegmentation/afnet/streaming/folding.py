"""A network made ready for inference: batch norms folded into the convolutions, both flavours in one form.

A norm multiplies by s and adds c. In the released flavour it stands before the attention weight, so branch k
becomes a convolution with s_k·W and s_k·b_k + c_k. In the paper's it stands after the fusion, and because the
attention sums to 1, s·Σ_k Λ^k (W ∗_k x) + s·b + c = Σ_k Λ^k ((s·W) ∗_k x + s·b + c). Either way a layer is

    relu(Σ_k Λ^k conv_k(x) + skip(shortcut))

Folded in float64, then rounded to the number type of the run; widths are padded where that is faster (widths.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ..autofocus import AutofocusLayer, DilatedLayer, crop
from ..convolution import convolve
from ..networks import AutofocusNetwork
from ..widths import Widths

Tick = Callable[[float], None]
"""Called after every convolution with the multiplications it took."""

Axes = tuple[int, int, int]
"""Spatial axes (0 z, 1 y, 2 x) in the order in which the planes lie in memory; the first is the slabs' axis."""


@dataclass(frozen=True)
class Placement:
    """Where and how folded weights are kept: device, number type, order of the axes, padding of the widths."""

    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.float32
    axes: Axes = (0, 1, 2)
    widths: Widths = Widths()

    def convolution(self, weight, bias, rate: int, channels_in: int, channels_out: int) -> "Convolution":
        """Take a weight (O, I, z, y, x) and a bias (O), float64 on the CPU, and the channels to pad them to."""
        more_out, more_in = channels_out - weight.shape[0], channels_in - weight.shape[1]
        weight = nn.functional.pad(weight.permute(0, 1, *(2 + axis for axis in self.axes)),
                                   (0, 0, 0, 0, 0, 0, 0, more_in, 0, more_out))
        bias = nn.functional.pad(bias, (0, more_out))
        return Convolution(
            weight.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last_3d),
            bias.to(self.device, self.dtype), rate,
        )


@dataclass(frozen=True)
class Convolution:
    """A 3×3×3 convolution of a rate, or a 1×1×1 one, of a slab with a halo."""

    weight: torch.Tensor
    bias: torch.Tensor
    rate: int

    @property
    def reach(self) -> int:
        return self.rate if self.weight.shape[2] == 3 else 0

    @property
    def work(self) -> int:
        """Multiplications per voxel."""
        return self.weight.numel()

    def __call__(self, x: torch.Tensor, halo: int, tick: Tick, frame: int = 0) -> torch.Tensor:
        """Convolve the slab `x` with its `halo`, a number of planes, and its zero frame of `frame` voxels, both not
        narrower than the reach; without a frame the zeros beside the planes are the convolution's padding."""
        reach = self.reach
        x = crop(x, (halo - reach, 0, 0))
        padding = 0 if frame else reach
        y = convolve(x, self.weight, self.bias, (0, padding, padding), self.rate)
        if frame:
            y = crop(y, (0, frame - reach, frame - reach))
        tick(float(self.work) * y[0, 0].numel())
        return y


@dataclass
class FoldedLayer:
    """relu(Σ_k Λ^k conv_k(x) + skip(shortcut)); without attention one convolution, without skip no shortcut.

    `skip` is True where the shortcut is added as it is.
    """

    name: str
    branches: list[Convolution]
    attention: tuple[Convolution, Convolution] | None = None
    skip: Convolution | bool = False

    @property
    def reach(self) -> int:
        return max(branch.reach for branch in self.branches)

    @property
    def work(self) -> int:
        skip = [self.skip] if isinstance(self.skip, Convolution) else []
        return sum(convolution.work for convolution in (*self.branches, *(self.attention or ()), *skip))

    def __call__(self, x: torch.Tensor, shortcut: torch.Tensor | None, tick: Tick, sink=None,
                 frame: int = 0) -> torch.Tensor:
        """Compute a slab; `x` has a halo of `reach` planes, `shortcut` none. `sink(maps)` sees Λ.

        `frame`: the width of the zero frame of `x`, 0 (none) or `reach`.
        """
        if self.attention is None:
            total = self.branches[0](x, self.reach, tick, frame)
        else:
            hidden, scores = self.attention
            maps = torch.softmax(scores(hidden(x, self.reach, tick, frame).relu_(), 0, tick), dim=1)
            if sink is not None:
                sink(maps)
            total = None
            for k, branch in enumerate(self.branches):
                part, share = branch(x, self.reach, tick, frame), maps[:, k : k + 1]
                total = part.mul_(share) if total is None else total.addcmul_(part, share)
        if self.skip is not False:
            total += shortcut if self.skip is True else self.skip(shortcut, 0, tick)
        return total.relu_()


@dataclass
class FoldedHead:
    """Logits: Σ classifier_i(relu(conv_i(x))) for ASPP, classifier(x) for the others. ASPP-c has
    one bias, which is the first classifier's."""

    branches: list[Convolution]
    classifiers: list[Convolution]
    name: str = "head"

    @property
    def reach(self) -> int:
        return max((branch.reach for branch in self.branches), default=0)

    @property
    def work(self) -> int:
        return sum(convolution.work for convolution in (*self.branches, *self.classifiers))

    @property
    def channels_out(self) -> int:
        return self.classifiers[0].weight.shape[0]

    def __call__(self, x: torch.Tensor, shortcut: None, tick: Tick, sink=None, frame: int = 0) -> torch.Tensor:
        """As a layer's."""
        if not self.branches:
            return self.classifiers[0](x, 0, tick)
        total = None
        for branch, classifier in zip(self.branches, self.classifiers):
            part = classifier(branch(x, self.reach, tick, frame).relu_(), 0, tick)
            total = part if total is None else total.add_(part)
        return total


def fold(network: AutofocusNetwork, placement: Placement) -> list[FoldedLayer | FoldedHead]:
    """Return the hidden layers in order and the head, in evaluation mode whatever mode `network` is in.

    The second layer of each residual block has a skip; its shortcut is the input of the block's first.
    """
    layers = [_layer("layer1", network.stem[0], placement, network.plan.inputs)]
    layers.append(_layer("layer2", network.stem[1], placement))
    for block in network.blocks:
        for layer in (block.first, block.second):
            layers.append(_layer(f"layer{len(layers) + 1}", layer, placement))
        layers[-1].skip = True
        if block.skip is not None:
            scale, offset = _affine(block.skip[1])
            weight, bias = _exact(block.skip[0].weight), _exact(block.skip[0].bias)
            layers[-1].skip = _between_maps(placement, _scaled(weight, scale), bias * scale + offset, 1)
    return [*layers, _head(network, placement)]


def _between_maps(placement: Placement, weight, bias, rate: int, channels_in: int | None = None) -> Convolution:
    widths = placement.widths
    channels_in = widths.map(weight.shape[1]) if channels_in is None else channels_in
    return placement.convolution(weight, bias, rate, channels_in, widths.map(weight.shape[0]))


def _layer(name: str, layer: DilatedLayer | AutofocusLayer, placement: Placement,
           channels_in: int | None = None) -> FoldedLayer:
    """Fold one layer; its input has the channels of a map, or `channels_in`."""
    weight, bias = _exact(layer.weight), _exact(layer.bias)
    if isinstance(layer, DilatedLayer):
        scale, offset = _affine(layer.norm)
        return FoldedLayer(name, [
            _between_maps(placement, _scaled(weight, scale), bias * scale + offset, layer.rate, channels_in)
        ])
    branches = []
    for k, rate in enumerate(layer.rates):
        released = layer.flavour == "released"
        scale, offset = _affine(layer.norms[k if released else 0])
        added = bias if k == 0 or not released else torch.zeros_like(bias)
        branches.append(_between_maps(placement, _scaled(weight, scale), added * scale + offset, rate, channels_in))
    return FoldedLayer(name, branches, _attention(layer, placement, branches[0].weight.shape[1]))


def _attention(layer: AutofocusLayer, placement: Placement, channels_in: int) -> tuple[Convolution, Convolution]:
    weight, scores = _exact(layer.attention_weight), layer.attention_scores
    hidden = placement.widths.hidden(weight.shape[0])
    return (
        placement.convolution(weight, _exact(layer.attention_bias), 1, channels_in, hidden),
        placement.convolution(_exact(scores.weight), _exact(scores.bias), 1, hidden, len(layer.rates)),
    )


def _head(network: AutofocusNetwork, placement: Placement) -> FoldedHead:
    if network.pyramid is None:
        parts = [(_exact(network.classifier.weight), _exact(network.classifier.bias))]
        branches = []
    else:
        branches = [_layer("", branch, placement).branches[0] for branch in network.pyramid.branches]
        parts = _parts(network.classifier, len(branches))
    return FoldedHead(branches, [
        placement.convolution(weight, bias, 1, placement.widths.map(weight.shape[1]), weight.shape[0])
        for weight, bias in parts
    ])


def _parts(classifier: nn.Module, branches: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return weight and bias of the classifier of every branch of a pyramid."""
    if isinstance(classifier, nn.ModuleList):
        return [(_exact(part.weight), _exact(part.bias)) for part in classifier]
    # One classifier on the concatenated branches is the sum of one on each.
    weights, bias = _exact(classifier.weight).chunk(branches, dim=1), _exact(classifier.bias)
    return [(weight, bias if k == 0 else torch.zeros_like(bias)) for k, weight in enumerate(weights)]


def _affine(norm: nn.BatchNorm3d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scale and offset of a batch norm in evaluation mode, float64."""
    scale = _exact(norm.weight) / torch.sqrt(_exact(norm.running_var) + norm.eps)
    return scale, _exact(norm.bias) - _exact(norm.running_mean) * scale


def _scaled(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return weight * scale.view(-1, 1, 1, 1, 1)


def _exact(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().double()
