"""Random variation of the bank's samples while training, on the device where they lie.

So every sample serves several times: the generator makes about ten a second on a machine whose GPU trains on more.
Random scalars and coarse knots come from a generator on the CPU, volumes of noise are drawn on the device. Tensors are
those of pelvis_tensors.py, (z, y, x).
"""

import torch
from pelvis_scans.packs import AIR
from pelvis_tensors import Scan, ends_of_scan, mirrored, without_ends
from torch.nn import functional as F

from afnet.learning.augmentation import averaged, random_affine, smooth_field, uniform, white_noise

METAL = 3000.0  # HU, where the engine stops, as below at AIR
TURN = (10.0, 0.0, 0.0)
"""Largest rotation about z, y and x, degrees. Axial planes stay axial planes, for in one of them scans end, and the
femora's labels; men who lie tilted come from the generator."""

SCALE = 0.1
BENDING_MM = (0.0, 3.0, 3.0)
"""Spread of the displacement along z, y and x at the knots of the smooth deformation."""

KNOTS = 7
"""Along each axis of a window of 288×288×384 mm: one in 50 to 60 mm."""

NOISE_HU = 10.0
"""Largest standard deviation of the noise added to a sample, which has its scanner's already: urine is 20 HU darker
than the prostate."""


def vary_shape(scan: Scan, generator: torch.Generator, spacing: float) -> Scan:
    """Half of the samples seen in a mirror, half turned, scaled and bent; `spacing` in mm."""
    if uniform(generator, 0, 1) < 0.5:
        scan = mirrored(*scan)
    if uniform(generator, 0, 1) < 0.5:
        scan = deformed(scan, random_affine(generator, TURN, SCALE), generator, spacing)
    return scan


def deformed(scan: Scan, matrix: torch.Tensor, generator: torch.Generator, spacing: float,
             bending_mm: tuple[float, float, float] = BENDING_MM) -> Scan:
    """The sample where `matrix` (3×3; voxels z, y, x from the window's middle) and a smooth displacement point to.

    HU trilinear and float32, the others nearest. Beyond the window's sides their last voxel goes on; a slice whose
    middle lies beyond the scan's ends is air in the whole, so that a scan ends in a plane.
    """
    hu, possible, weight = scan
    ends = ends_of_scan(hu)
    hu = without_ends(hu, ends)
    half = (torch.tensor(hu.shape) - 1) / 2
    turn = (matrix * half[None] / half[:, None]).flip(0, 1)  # grid_sample wants x, y, z in −1…1
    places = F.affine_grid(F.pad(turn, (0, 1))[None].to(hu.device), (1, 1, *hu.shape), align_corners=True)
    level = places[0, :, :, :, 2].mean((1, 2))
    shift = smooth_field(generator, hu.shape, 1.0, KNOTS, 3, hu.device).movedim(0, -1)
    places = places + (shift * (torch.tensor(bending_mm) / spacing / half).to(hu.device)).flip(-1)
    codes = torch.stack([possible, weight])[None].float()
    codes = F.grid_sample(codes, places, "nearest", "border", align_corners=True)[0].round().to(torch.uint8)
    hu = F.grid_sample(hu[None, None].float(), places, "bilinear", "border", align_corners=True)[0, 0]
    level = (level + 1) * half[0]
    inside = ((level >= ends[0] - 0.5) & (level <= ends[1] + 0.5))[:, None, None]
    return torch.where(inside, hu, AIR), torch.where(inside, codes[0], 1), torch.where(inside, codes[1], 100)


def vary_hu(hu: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Another calibration, sometimes thick slices, a softer kernel, noise (float32); outside the scan stays outside."""
    outside = hu <= AIR
    hu = without_ends(hu, ends_of_scan(hu)).float()
    gain, shift = uniform(generator, -0.02, 0.02), uniform(generator, -5, 5)
    hu = hu + (hu > -400) * (gain * hu + shift)
    if uniform(generator, 0, 1) < 0.15:
        hu = averaged(hu[None], 0, 2)[0]
    if uniform(generator, 0, 1) < 0.2:
        soft = F.avg_pool3d(hu[None], 3, 1, 1, count_include_pad=False)[0]
        hu = torch.lerp(hu, soft, uniform(generator, 0, 0.6))
    if uniform(generator, 0, 1) < 0.4:
        noise = white_noise(generator, hu.shape, hu.device)
        if uniform(generator, 0, 1) < 0.5:  # the mean of nine voxels has a third of their spread
            noise = 3 * F.avg_pool3d(noise[None], (1, 3, 3), 1, (0, 1, 1))[0]
        hu = hu + noise * uniform(generator, 0, NOISE_HU)
    return torch.where(outside, AIR, hu.clamp(AIR, METAL))
