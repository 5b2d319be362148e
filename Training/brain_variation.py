"""What few patients do not show: paler and stronger tumours, tumours elsewhere, and a modality that came out badly.

A few patients show a network few tumours, which it learns by heart. A brain is (C + 3, z, y, x): z-scored MR channels,
0 outside the brain, then the parts (0…1) of a voxel in whole tumour, core and enhancing tumour. Healthy tissue lies
around 0, for that is what z-scores do.
"""

import torch
from torch.nn import functional as F

from afnet.learning.augmentation import averaged, uniform

REGIONS = 3
CONTRAST = {"t1": (0.35, 1.15), "t1c": (0.6, 1.2), "t2": (0.35, 1.15), "flair": (0.35, 1.15)}
"""By which factor a tumour's contrast to the mean of the brain changes, in the order of the channels. Enhancement
stays visible."""

BORDER = 5
"""Voxels over which a transplanted tumour and its surroundings pass into the other brain."""

SHIFT = 18
"""Voxels (27 to 36 mm) by which a tumour moves at most, along each axis, into another brain."""

THICKEST = 6
"""Voxels (9 to 12 mm) that the slices of a bad modality are thick at most."""


def with_other_contrast(brain: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The brain with a tumour that is paler or stronger in each of its modalities."""
    part = F.avg_pool3d(brain[None, -REGIONS], 3, 1, 1)
    image = [
        channel * (1 + (uniform(generator, *factors) - 1) * part[0])
        for channel, factors in zip(brain[:-REGIONS], CONTRAST.values(), strict=True)
    ]
    return torch.cat([torch.stack(image), brain[-REGIONS:]])


def shifted(centre: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A place (z, y, x) up to SHIFT voxels away on each axis."""
    return centre + torch.tensor([uniform(generator, -SHIFT, SHIFT) for _ in range(3)])


def transplanted(donor: torch.Tensor, host: torch.Tensor) -> torch.Tensor:
    """The host's brain with the donor's tumour where that lies, as far as both have brain; the host keeps its own."""
    tumour = (donor[None, -REGIONS] > 0.3).to(donor.dtype)
    part = F.avg_pool3d(F.max_pool3d(tumour, BORDER, 1, BORDER // 2), BORDER, 1, BORDER // 2)[0]
    part = part * (donor[0] != 0) * (host[0] != 0)
    return torch.lerp(host, donor, part)


def with_bad_modality(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The channels (C, z, y, x) with one of them in thick slices, or nearly without contrast."""
    worst = int(uniform(generator, 0, len(image)))
    channel = image[worst][None]
    if uniform(generator, 0, 1) < 0.6:
        axis = int(uniform(generator, 0, 3))
        channel = averaged(channel, axis, 3 + int(uniform(generator, 0, THICKEST - 2)))
    else:
        channel = channel * uniform(generator, 0.05, 0.5)
    inside = (image[worst] != 0).to(image.dtype)
    return torch.cat([image[:worst], channel * inside, image[worst + 1 :]])


def tumour_voxel(volume: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random voxel (z, y, x) of a random one of the regions that the patient has; the middle if there is none."""
    regions = [region for region in volume[-REGIONS:] if (region > 0.5).any()]
    if not regions:
        return (torch.tensor(volume.shape[1:]) - 1) / 2
    voxels = torch.nonzero(regions[int(uniform(generator, 0, len(regions)))] > 0.5)
    return voxels[int(uniform(generator, 0, len(voxels)))].float().cpu()
