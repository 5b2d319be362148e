"""DeepMedic (Dm; Kamnitsas et al., MedIA 2017), the paper's two-pathway baseline, with residual connections.

A normal pathway sees the image, a low one the image averaged by 3 around the same centre; both have the paper's
widths. The low pathway's features are repeated three times along each axis and joined with the normal ones by two
1×1×1 layers. Coarse voxel j is the mean of the voxels 3j, 3j + 1, 3j + 2 and is repeated to the same three, so
both pathways have one centre everywhere.
"""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F

from ..autofocus import AutofocusLayer, crop
from .pathway import NetworkPlan, Pathway, start_as_released

FACTOR = 3
"""Voxels averaged along each axis for the low pathway."""

PATHWAY_REACH = 8
"""Eight 3×3×3 layers of rate 1."""


class DeepMedic(nn.Module):
    """`forward` maps (batch, inputs, …) to logits (batch, outputs, …).

    With valid padding the input's sides must be multiples of 3, and the output is 24 voxels shorter on each side:
    the low pathway loses eight coarse voxels (57³ gives 9³, 75³ gives 27³).
    """

    def __init__(self, plan: NetworkPlan):
        super().__init__()
        self.plan = plan
        self.normal = Pathway(plan)
        self.low = Pathway(plan)
        first, second = plan.extra_widths
        self.joint = nn.Sequential(
            nn.Conv3d(2 * plan.widths[7], first, 1), nn.BatchNorm3d(first), nn.ReLU(),
            nn.Conv3d(first, second, 1), nn.BatchNorm3d(second), nn.ReLU(),
        )
        self.classifier = nn.Conv3d(second, plan.outputs, 1)
        start_as_released(self)

    def named_autofocus_layers(self) -> Iterator[tuple[str, AutofocusLayer]]:
        """Yield nothing: Dm has none."""
        yield from ()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.plan.padding == "valid":
            if any(side % FACTOR for side in x.shape[2:]):
                raise ValueError("a valid DeepMedic needs sides that are multiples of 3")
            normal = self.normal.features(crop(x, (self.plan.lost - PATHWAY_REACH,) * 3))
        else:
            normal = self.normal.features(x)
        return self.join(normal, fine(self.low.features(coarse(x)), normal.shape[2:]))

    def join(self, normal: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
        """Return the logits from both pathways' features in one place."""
        return self.classifier(self.joint(torch.cat([normal, low], dim=1)))


def coarse(x: torch.Tensor) -> torch.Tensor:
    """Average blocks of 3³ voxels of (batch, channels, …); beyond the end lie zeros."""
    missing = [-side % FACTOR for side in x.shape[2:]]
    return F.avg_pool3d(F.pad(x, [0, missing[2], 0, missing[1], 0, missing[0]]), FACTOR)


def fine(x: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Repeat every voxel of (batch, channels, …) three times along each axis, cut to `shape`."""
    repeated = F.interpolate(x, scale_factor=FACTOR, mode="nearest")
    return repeated[:, :, : shape[0], : shape[1], : shape[2]]
