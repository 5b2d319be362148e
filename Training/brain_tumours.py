"""Tumours that were not there: the same ones paler or stronger, and those of one patient in another's brain.

A few patients show a network few tumours, which it learns by heart. A brain is (C + 3, z, y, x): z-scored MR channels,
0 outside the brain, then the parts (0…1) of a voxel in whole tumour, core and enhancing tumour. Healthy
tissue lies around 0, for that is what z-scores do.
"""

import torch
from torch.nn import functional as F

from afnet.augmentation import uniform

REGIONS = 3
CONTRAST = {"t1": (0.35, 1.15), "t1c": (0.6, 1.2), "t2": (0.35, 1.15), "flair": (0.35, 1.15)}
"""By which factor a tumour's contrast to the mean of the brain changes. Enhancement stays visible."""

BORDER = 5
"""Voxels over which a transplanted tumour and its surroundings pass into the other brain."""


def with_other_contrast(brain: torch.Tensor, modalities: tuple[str, ...], generator: torch.Generator) -> torch.Tensor:
    """The brain with a tumour that is paler or stronger in each of its modalities."""
    part = F.avg_pool3d(brain[None, -REGIONS], 3, 1, 1)
    image = [
        channel * (1 + (uniform(generator, *CONTRAST[name]) - 1) * part[0])
        for channel, name in zip(brain[:-REGIONS], modalities)
    ]
    return torch.cat([torch.stack(image), brain[-REGIONS:]])


def transplanted(donor: torch.Tensor, host: torch.Tensor) -> torch.Tensor:
    """The host's brain with the donor's tumour at its own place, where both have brain; the host keeps its own."""
    tumour = (donor[None, -REGIONS] > 0.3).to(donor.dtype)
    part = F.avg_pool3d(F.max_pool3d(tumour, BORDER, 1, BORDER // 2), BORDER, 1, BORDER // 2)[0]
    part = part * (donor[0] != 0) * (host[0] != 0)
    return torch.lerp(host, donor, part)
