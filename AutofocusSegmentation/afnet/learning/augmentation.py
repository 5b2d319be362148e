"""Random variation of training samples, on torch tensors, the same on CPU and GPU.

Channels are (C, z, y, x) with 0 outside the patient, and stay 0 there; truth is (R, z, y, x). Random numbers come
from a torch generator on the CPU, so that a resumed training repeats them; it seeds the noise that is drawn elsewhere.
"""

import math

import torch
from torch.nn import functional as F

ELASTIC_KNOTS = 6
"""Knots along each axis between which tissue is bent: on a brain's 150 mm one in 30 mm."""


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """One random number from [low, high)."""
    return low + (high - low) * torch.rand(1, generator=generator).item()


def random_affine(
    generator: torch.Generator, degrees: float | tuple[float, float, float], scale: float
) -> torch.Tensor:
    """A 3×3 matrix: rotation up to `degrees` about each axis (z, y, x), each axis scaled by up to 1 ± `scale`."""
    matrix = torch.eye(3)
    for axis in range(3):
        most = degrees[axis] if isinstance(degrees, tuple) else degrees
        angle = math.radians(uniform(generator, -most, most))
        turn = torch.eye(3)
        i, j = [a for a in range(3) if a != axis]
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[i, j], turn[j, i] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    return matrix @ torch.diag(torch.tensor([uniform(generator, 1 - scale, 1 + scale) for _ in range(3)]))


def white_noise(generator: torch.Generator, shape, device: torch.device) -> torch.Tensor:
    """Normal random numbers, drawn where they are needed: a volume of them is slow on a CPU, and slow to bring over."""
    if device.type == "cpu":
        return torch.randn(shape, generator=generator)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return torch.randn(shape, generator=torch.Generator(device).manual_seed(seed), device=device)


def resample(volume: torch.Tensor, matrix: torch.Tensor, centre: torch.Tensor, shape,
             displacement: torch.Tensor | None = None) -> torch.Tensor:
    """Sample `volume` (C, z, y, x) on a patch of `shape` around `centre` (voxels, z y x), turned by `matrix`.

    `displacement` (3, z, y, x; voxels, z y x) moves the points of the patch further. Linear interpolation; 0 beyond
    the volume.
    """
    axes = [torch.arange(n, dtype=torch.float32, device=volume.device) - (n - 1) / 2 for n in shape]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    points = offsets @ matrix.T.to(volume.device) + centre.to(volume.device)
    if displacement is not None:
        points = points + displacement.movedim(0, -1)
    sizes = torch.tensor(volume.shape[1:], dtype=torch.float32, device=volume.device)
    grid = (2 * points / (sizes - 1) - 1).flip(-1)  # grid_sample wants x, y, z in −1…1
    return F.grid_sample(volume[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=True)[0]


def smooth_field(generator: torch.Generator, shape, strength: float, knots: int = 4, components: int = 1,
                 device: torch.device | str = "cpu") -> torch.Tensor:
    """A smooth random field (components, z, y, x) of about ± `strength`, as a receive coil's bias or tissue's shift."""
    coarse = (torch.randn((1, components, knots, knots, knots), generator=generator) * strength).to(device)
    return F.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)[0]


def vary_mr(channels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Vary z-scored MR channels: gain, offset, gamma, bias field, blur, coarse slices, noise; 0 outside stays 0."""
    inside = (channels != 0).to(channels.dtype)
    varied = []
    for channel in channels:
        x = channel[None]
        if uniform(generator, 0, 1) < 0.3:
            x = torch.sign(x) * x.abs() ** uniform(generator, 0.8, 1.25)
        x = x * uniform(generator, 0.8, 1.25) + uniform(generator, -0.2, 0.2)
        if uniform(generator, 0, 1) < 0.3:
            x = x + smooth_field(generator, x.shape[1:], 0.2, device=x.device)
        if uniform(generator, 0, 1) < 0.2:
            x = coarser(x, generator)
        if uniform(generator, 0, 1) < 0.3:
            x = x + white_noise(generator, x.shape, x.device) * uniform(generator, 0, 0.25)
        varied.append(x)
    return torch.cat(varied) * inside


def vary_ct(channels: torch.Tensor, windows: list[tuple[float, float]], generator: torch.Generator) -> torch.Tensor:
    """Vary windowed CT channels of one scan: offset, noise (HU), coarse slices; what a window cuts off stays so.

    `windows`: lower and upper HU that became 0 and 1 in each channel.
    """
    offset = uniform(generator, -15, 15)
    noise = white_noise(generator, channels.shape[1:], channels.device) * uniform(generator, 0, 20)
    if uniform(generator, 0, 1) < 0.2:
        channels = coarser(channels, generator)
    varied = []
    for x, (low, high) in zip(channels, windows):
        inside = (x > 0) & (x < 1)
        varied.append(torch.where(inside, (x + (offset + noise) / (high - low)).clamp(0, 1), x))
    return torch.stack(varied)


def random_patch(volume: torch.Tensor, centre: torch.Tensor, shape, generator: torch.Generator,
                 mirror: bool = True, zoom: float = 1.0, elastic: float = 0.0) -> torch.Tensor:
    """Turn, scale (15°, 12 %) and, if `mirror`, flip left and right at random; cut a patch of `shape` at `centre`.

    `volume` (C, z, y, x) may hold image and truth, which then travel together. A voxel of the patch is `zoom` voxels
    of the volume wide. Half of the patches are bent by about ± `elastic` voxels of the volume.
    """
    matrix = random_affine(generator, 15, 0.12) * zoom
    if mirror and uniform(generator, 0, 1) < 0.5:
        matrix = matrix @ torch.diag(torch.tensor([1.0, 1.0, -1.0]))
    displacement = None
    if elastic and uniform(generator, 0, 1) < 0.5:
        displacement = smooth_field(generator, shape, elastic, ELASTIC_KNOTS, 3, volume.device)
    return resample(volume, matrix, centre, shape, displacement)


def coarser(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Lose resolution along one axis, as thick slices do, by averaging 2 or 3 voxels there."""
    axis = int(uniform(generator, 0, 3))
    return averaged(x, axis, 2 + int(uniform(generator, 0, 2)))


def averaged(x: torch.Tensor, axis: int, factor: int) -> torch.Tensor:
    """Average `factor` voxels of `x` (C, z, y, x) along `axis` (0: z) and interpolate between the means."""
    size = list(x.shape[1:])
    coarse = list(size)
    coarse[axis] = max(size[axis] // factor, 1)
    small = F.interpolate(x[None], size=coarse, mode="area")
    return F.interpolate(small, size=size, mode="trilinear", align_corners=False)[0]
