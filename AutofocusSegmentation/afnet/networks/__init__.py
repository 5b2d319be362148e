"""The paper's networks: the shared pathway and what turns its features into logits.

Basic and AFNet-1…6: a 1×1×1 classifier. ASPP-c and ASPP-s: four parallel dilated convolutions before it.
DeepMedic joins two pathways (deepmedic.py).
"""

import torch
from torch import nn

from ..autofocus import Halo, crop
from .aspp import DilatedPyramid
from .deepmedic import DeepMedic
from .pathway import PAPER_WIDTHS, NetworkPlan, Pathway, ResidualBlock, start_as_released

__all__ = [
    "PAPER_WIDTHS", "AutofocusNetwork", "DeepMedic", "NetworkPlan", "ResidualBlock", "build_network",
    "count_parameters",
]


class AutofocusNetwork(Pathway):
    """A network of the family; `forward` maps (batch, inputs, …) to logits (batch, outputs, …).

    With valid padding the output is 14 voxels shorter on each side (75³ gives 47³).
    """

    def __init__(self, plan: NetworkPlan):
        if plan.name == "Dm":
            raise ValueError("Dm has two pathways: build_network makes it")
        super().__init__(plan)
        self.pyramid = None
        if plan.name in ("ASPP-c", "ASPP-s"):
            self.pyramid = DilatedPyramid(plan.widths[7], plan.extra_widths[0], plan.rates, plan.flavour)
        if plan.name == "ASPP-s":
            self.classifier = nn.ModuleList(nn.Conv3d(plan.extra_widths[0], plan.outputs, 1) for _ in plan.rates)
        else:
            channels = plan.widths[7] if self.pyramid is None else plan.extra_widths[0] * len(plan.rates)
            self.classifier = nn.Conv3d(channels, plan.outputs, 1)
        start_as_released(self)

    @property
    def head_reach(self) -> int:
        """How many voxels the head looks to each side: 0 for a classifier alone."""
        return 0 if self.pyramid is None else self.pyramid.reach

    def head(self, x: torch.Tensor, halo: Halo = (0, 0, 0)) -> torch.Tensor:
        """Return the logits from the last hidden layer's output `x`; they are `x` less `halo` on every side.

        In the released code the branches of ASPP are padded by their rate, also where all else is valid.
        """
        if self.pyramid is None:
            return self.classifier(crop(x, halo))
        branches = self.pyramid(x, halo)
        if self.plan.name == "ASPP-s":
            return sum(classifier(branch) for classifier, branch in zip(self.classifier, branches))
        return self.classifier(torch.cat(branches, dim=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))


def build_network(plan: NetworkPlan) -> nn.Module:
    """Return the network of a plan, of whichever class."""
    return DeepMedic(plan) if plan.name == "Dm" else AutofocusNetwork(plan)


def count_parameters(network: nn.Module) -> int:
    """Number of learnable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
