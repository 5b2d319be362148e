"""A sample of the bank as the network and its loss take it, on torch tensors, the same on CPU and GPU.

`hu` is int16 or float32 (z, y, x), `possible` uint8 bits (bit k set where code k may be the truth), `weight` uint8
percent, as pelvis_bank.py writes them.
"""

import math
from collections.abc import Sequence

import torch
from pelvis_scans.packs import AIR, LEFT, RIGHT
from torch.nn import functional as F

from afnet.learning.augmentation import uniform

CODES = 7
Scan = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""hu, possible and weight of one sample."""


def windowed(hu: torch.Tensor, manifest) -> torch.Tensor:
    """The network's channels (C, z, y, x), float32: what `afnet.preprocessing` makes of `hu`."""
    windows = [channel["window_hu"] for channel in manifest.channels]
    return torch.stack([(hu.float().clamp(low, high) - low) / (high - low) for low, high in windows])


def softened(hu: torch.Tensor, factor: float) -> torch.Tensor:
    """`hu` (float32) blurred so that a grid coarser by `factor` (1.5 or 2) shows of it what it shows of the scan.

    `afnet.preprocessing` blurs to a Gaussian as wide at half maximum as the grid's spacing and interpolates: from one
    voxel to `factor` f of them the variance grows by (f² − 1) / (8 ln 2). The interpolation between two voxels that
    `hu_on_coarser_grid` does afterwards has a (1 − a) of it, a the place between them: ½ for 2, ¼ or ¾ for 1.5.
    """
    place = (factor - 1) / 2
    variance = (factor**2 - 1) / (8 * math.log(2)) - place * (1 - place)  # voxels²
    kernel = torch.tensor([variance / 2, 1 - variance, variance / 2], device=hu.device)
    volume = hu.float()[None, None]
    for axis in range(3):
        sides, form = [0] * 6, [1, 1, 1, 1, 1]
        sides[4 - 2 * axis] = sides[5 - 2 * axis] = 1
        form[2 + axis] = 3
        volume = F.conv3d(F.pad(volume, sides, mode="replicate"), kernel.view(form))
    return volume[0, 0]


def ends_of_scan(hu: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """First and last slice (z) of a window's scan; beyond them there is air alone."""
    held = (hu > AIR).flatten(1).any(1).byte()
    return held.argmax(), len(held) - 1 - held.flip(0).argmax()


def near_scan(scan: Scan, margin: int) -> Scan:
    """The slices of a sample from `margin` below its scan to `margin` above it.

    It begins at an even one and ends at an odd one, so that a grid twice as coarse joins the pairs that it joins in
    the whole sample.
    """
    low, high = (int(end) for end in ends_of_scan(scan[0]))
    low, high = max(low - margin, 0) // 2 * 2, (high + margin) // 2 * 2 + 2
    return tuple(part[low:high] for part in scan)


def without_ends(part: torch.Tensor, ends: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """`part` of a sample (z first) with the scan's first and last slice repeated beyond its `ends`.

    `afnet.preprocessing` shows a scan's ends so: the air beyond them is not blurred or interpolated into the scan.
    """
    return part[torch.arange(len(part), device=part.device).clamp(*ends)]


def hu_on_coarser_grid(hu: torch.Tensor, factor: float) -> torch.Tensor:
    """HU (float32) of a scan in voxels that are larger by `factor` (1.5 or 2), as many as fit; air beyond the scan's
    ends."""
    ends = ends_of_scan(hu)
    seen = _interpolated(softened(without_ends(hu, ends), factor)[None], factor)[0]
    seen[_beyond(ends, len(seen), factor)] = AIR
    return seen


def on_coarser_grid(scan: Scan, factor: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What `hu_on_coarser_grid` shows of a sample, the share of each code (CODES, z, y, x) there, and weight
    (1, z, y, x), float32."""
    hu, possible, weight = scan
    ends = ends_of_scan(hu)
    masks = _interpolated(class_masks(without_ends(possible, ends)), factor)
    weight = _interpolated(without_ends(weight, ends)[None].float(), factor)
    beyond = _beyond(ends, masks.shape[1], factor)
    masks[:, beyond], weight[:, beyond] = 0, 100
    masks[0, beyond] = 1
    return hu_on_coarser_grid(hu, factor), masks, weight


def _interpolated(parts: torch.Tensor, factor: float) -> torch.Tensor:
    """`parts` (C, z, y, x) between two voxels of each axis: their mean where `factor` is 2."""
    return F.interpolate(parts[None], scale_factor=1 / factor, mode="trilinear", recompute_scale_factor=False)[0]


def _beyond(ends: tuple[torch.Tensor, torch.Tensor], count: int, factor: float) -> torch.Tensor:
    """Which of `count` slices of the coarser grid have their middle beyond the scan's `ends`."""
    middles = (torch.arange(count, device=ends[0].device) + 0.5) * factor - 0.5
    return (middles < ends[0]) | (middles > ends[1])


def class_masks(possible: torch.Tensor) -> torch.Tensor:
    """Float32 (CODES, z, y, x), 1 for each code that is possible in a voxel."""
    codes = torch.arange(CODES, dtype=torch.uint8, device=possible.device).view(-1, 1, 1, 1)
    return ((possible[None] >> codes) & 1).float()


def as_tensors(hu: torch.Tensor, possible: torch.Tensor, weight: torch.Tensor, manifest):
    """Channels (C, z, y, x), possible codes (CODES, z, y, x; 0 or 1) and weight (1, z, y, x; 0 to 1), float32."""
    return windowed(hu, manifest), class_masks(possible), weight[None].float() / 100


def mirrored(hu: torch.Tensor, possible: torch.Tensor, weight: torch.Tensor) -> Scan:
    """The sample seen in a mirror: x reversed, and with it the left and the right femur."""
    left, right = (possible >> LEFT) & 1, (possible >> RIGHT) & 1
    possible = (possible & ((1 << LEFT) - 1)) | (right << LEFT) | (left << RIGHT)
    return tuple(tensor.flip(2) for tensor in (hu, possible, weight))


def part_around_organ(scan: Scan, size: Sequence[int], chance: float, generator: torch.Generator) -> Scan:
    """A box of `size` voxels (z, y, x) of the sample, inside it: with that `chance` a random voxel of one of its organs
    is in the middle, as far as the box fits there; otherwise the box lies anywhere. Shorter sides stay as they are."""
    possible = scan[1]
    centre = [uniform(generator, 0, side) for side in possible.shape]
    if uniform(generator, 0, 1) < chance:
        organs = [code for code in range(1, CODES) if (possible == 1 << code).any()]
        if organs:
            voxels = torch.nonzero(possible == 1 << organs[int(uniform(generator, 0, len(organs)))])
            centre = voxels[int(uniform(generator, 0, len(voxels)))].tolist()
    box = []
    for middle, wanted, side in zip(centre, size, possible.shape, strict=True):
        first = min(max(int(middle - wanted / 2), 0), max(side - wanted, 0))
        box.append(slice(first, first + wanted))
    return tuple(part[tuple(box)] for part in scan)
