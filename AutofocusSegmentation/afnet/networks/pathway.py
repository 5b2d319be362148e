"""The eight hidden layers that all networks of the paper share, and the plan that fixes a network.

Layers 1 and 2 are plain; layers 3–8 form three residual blocks of two layers and are dilated with rate 2 in
Basic; in AFNet-n the last n of them are autofocus layers. No downsampling.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ..architectures import AUTOFOCUS_LAYERS, EXTRA_WIDTHS, HIDDEN_LAYERS, NETWORKS, widths_fit
from ..autofocus import FLAVOURS, RATES, AutofocusLayer, DilatedLayer, Halo, crop

PAPER_WIDTHS = (30, 30, 40, 40, 40, 40, 50, 50)
"""Channels after each hidden layer in the paper."""

BASIC_RATE = 2
"""Dilation of layers 3–8 where they are not autofocus layers."""

RELEASED_WEIGHT_SD = 0.01
"""Convolution weights of the released code start at N(0, 0.01²)."""


@dataclass(frozen=True)
class NetworkPlan:
    """Everything that fixes a network's layers. `padding`: 'same' (zeros beyond the crop) or 'valid'.

    `widths` are the channels after each of the eight hidden layers; ASPP adds that of a branch, Dm those of its
    two 1×1×1 layers (left out: the paper's).
    """

    name: str
    inputs: int
    outputs: int
    widths: tuple[int, ...] = PAPER_WIDTHS
    rates: tuple[int, ...] = RATES
    flavour: str = "paper"
    padding: str = "same"

    def __post_init__(self):
        if self.name not in NETWORKS:
            raise ValueError(f"network must be one of {NETWORKS}")
        if self.flavour not in FLAVOURS or self.padding not in ("same", "valid"):
            raise ValueError("unknown flavour or padding")
        if not widths_fit(self.name, len(self.widths)):
            raise ValueError("a network has eight hidden layers, so eight widths; ASPP has one more, Dm two")

    @property
    def extra_widths(self) -> tuple[int, ...]:
        """Channels of what follows the eight hidden layers; empty for Basic and AFN-n."""
        return self.widths[HIDDEN_LAYERS:] or EXTRA_WIDTHS.get(self.name, ())

    @property
    def autofocus_layers(self) -> int:
        return AUTOFOCUS_LAYERS[self.name]

    @property
    def reach(self) -> int:
        """How many voxels the output looks to each side: 2 + 2(6 − n) + 14 n for AFN-n with the paper's rates.

        ASPP adds its largest rate to Basic's 14. Dm: 3·8 and the rest of a coarse voxel, of which a fine voxel at
        its edge sees two (26), one in its middle one (25).
        """
        if self.name == "Dm":
            return 3 * 8 + 2
        n = self.autofocus_layers
        return 2 + BASIC_RATE * (6 - n) + max(self.rates) * n + (max(self.rates) if self.name in EXTRA_WIDTHS else 0)

    @property
    def lost(self) -> int:
        """Voxels that valid padding takes from each side: 14 (75³ gives 47³) with the paper's rates; 24 for Dm."""
        if self.name == "Dm":
            return 3 * 8
        n = self.autofocus_layers
        return 2 + BASIC_RATE * (6 - n) + self.rates[0] * n


class ResidualBlock(nn.Module):
    """Two layers and a skip, which is a 1×1×1 convolution with batch norm where the width changes."""

    def __init__(self, first: nn.Module, second: nn.Module, channels_in: int, channels_out: int):
        super().__init__()
        self.first = first
        self.second = second
        self.skip = None
        if channels_in != channels_out:
            self.skip = nn.Sequential(nn.Conv3d(channels_in, channels_out, 1), nn.BatchNorm3d(channels_out))

    def forward(self, x: torch.Tensor, halos: tuple[Halo, Halo]) -> torch.Tensor:
        y = self.second(F.relu(self.first(x, halos[0])), halos[1])
        return self.join(y, crop(x, tuple(a + b for a, b in zip(*halos))))

    def join(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Add the skip of `x` to the second layer's output and rectify."""
        return F.relu(y + (x if self.skip is None else self.skip(x)))


class Pathway(nn.Module):
    """The eight hidden layers: a stem of two and three residual blocks."""

    def __init__(self, plan: NetworkPlan):
        super().__init__()
        self.plan = plan
        widths = (plan.inputs, *plan.widths[:HIDDEN_LAYERS])
        layers = [self._layer(n, widths[n - 1], widths[n]) for n in range(1, HIDDEN_LAYERS + 1)]
        self.stem = nn.ModuleList(layers[:2])
        self.blocks = nn.ModuleList(
            ResidualBlock(layers[i], layers[i + 1], widths[i], widths[i + 2]) for i in (2, 4, 6)
        )

    def _layer(self, number: int, channels_in: int, channels_out: int) -> nn.Module:
        if number <= 2 or self.plan.name == "Dm":
            return DilatedLayer(channels_in, channels_out, 1, self.plan.flavour)
        if number > HIDDEN_LAYERS - self.plan.autofocus_layers:
            return AutofocusLayer(channels_in, channels_out, self.plan.rates, self.plan.flavour)
        return DilatedLayer(channels_in, channels_out, BASIC_RATE, self.plan.flavour)

    def named_autofocus_layers(self) -> Iterator[tuple[str, AutofocusLayer]]:
        """Yield ('layer6', layer) … in the order of the network; numbers are those of the paper, 1…8."""
        layers = [*self.stem, *(layer for block in self.blocks for layer in (block.first, block.second))]
        for number, layer in enumerate(layers, start=1):
            if isinstance(layer, AutofocusLayer):
                yield f"layer{number}", layer

    def _halo(self, layer: nn.Module) -> Halo:
        return (layer.valid_reach,) * 3 if self.plan.padding == "valid" else (0, 0, 0)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output of the last hidden layer."""
        for layer in self.stem:
            x = F.relu(layer(x, self._halo(layer)))
        for block in self.blocks:
            x = block(x, (self._halo(block.first), self._halo(block.second)))
        return x


def start_as_released(network: nn.Module) -> None:
    """Give the 1×1×1 convolutions of a network of the released flavour their starting weights, as the others have."""
    if network.plan.flavour == "released":
        for module in network.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.normal_(module.weight, 0.0, RELEASED_WEIGHT_SD)
