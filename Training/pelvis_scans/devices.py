"""Metal and plastic in a pelvis, put into bodies at 3 mm (HU, z, y, x): gold seeds, catheter, hip metal."""

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from .packs import BLADDER, LEFT, PROSTATE, RIGHT, SPACING

METAL = 3000.0  # HU, where the engine and most scanners stop


def place_seeds(rng: np.random.Generator, hu: np.ndarray, prostate: np.ndarray) -> None:
    """One to four gold seeds of 1 x 3 to 5 mm along z (in place), their HU spread over a 3 mm voxel."""
    inner = np.argwhere(ndimage.binary_erosion(prostate))
    if not len(inner):
        return
    seeds = np.zeros(hu.shape, np.float32)
    for z, y, x in inner[rng.choice(len(inner), rng.integers(1, 5))]:
        seeds[z:z + rng.integers(1, 3), y, x] = rng.uniform(600, 2500)
    hu += ndimage.gaussian_filter(seeds, 0.5)


def place_catheter(rng: np.random.Generator, hu: np.ndarray, labels: np.ndarray) -> None:
    """A catheter (in place): its tube through the prostate, its balloon of water or air at the bladder's floor."""
    bladder, prostate = np.argwhere(labels == BLADDER), np.argwhere(labels == PROSTATE)
    if len(bladder) < 200 or len(prostate) < 100:
        return
    floor = bladder[bladder[:, 0] <= bladder[:, 0].min() + 3].mean(0)
    apex = prostate[prostate[:, 0] <= prostate[:, 0].min() + 1].mean(0)
    radius = rng.uniform(9, 15) / SPACING
    balloon = floor + [radius * 0.8, 0, 0]
    where = np.indices(hu.shape, np.float32, sparse=True)
    distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(where, balloon)))
    inside = labels == BLADDER
    content = rng.uniform(-950, -800) if rng.random() < 0.15 else rng.uniform(-5, 40)
    hu[inside & (distance < radius)] = content
    hu[inside & (np.abs(distance - radius) < 0.5)] = rng.uniform(40, 120)
    tube = np.zeros(hu.shape, np.float32)
    for part in np.linspace(0, 1, 40):
        z, y, x = np.round(apex + part * (balloon - apex)).astype(int)
        tube[z, y, x] = 1
    share = np.clip(ndimage.gaussian_filter(tube, 0.5) * 2, 0, 1)
    hu += share * (rng.uniform(60, 250) - hu)


def place_hip_metal(rng: np.random.Generator, hu: np.ndarray, labels: np.ndarray, body: np.ndarray) -> None:
    """A hip prosthesis, or a nail and screw in a mended femur, on one side, seldom on both (in place), with streaks."""
    metal = np.zeros(hu.shape, bool)
    sides = (LEFT, RIGHT) if rng.random() < 0.2 else (int(rng.choice([LEFT, RIGHT])),)
    draw = prosthesis if rng.random() < 0.65 else nail
    for code in sides:
        metal |= in_femur(rng, labels == code, draw)
    if not metal.any():
        return
    hu += _streaks(rng, metal, hu, body)
    hu[metal] = METAL


def in_femur(rng: np.random.Generator, femur: np.ndarray, draw) -> np.ndarray:
    """Mask (z, y, x) of what `draw`, `prosthesis` or `nail`, makes for a femur's mask: from the head's centre to the
    shaft at the label's lower end. Nothing where too little of the femur is there."""
    levels = np.flatnonzero(femur.any((1, 2)))
    if len(levels) < 15:
        return np.zeros(femur.shape, bool)
    cap = np.argwhere(femur[levels[-1] - 1:levels[-1] + 1]).mean(0)[1:]
    head = np.array([levels[-1] - 8, *cap])
    shaft = np.array([levels[0], *np.argwhere(femur[levels[0]]).mean(0)])
    return draw(rng, np.stack(np.indices(femur.shape, np.float32)), head, shaft)


def _tube(where: np.ndarray, start: np.ndarray, end: np.ndarray, first: float, last: float) -> np.ndarray:
    """Voxels of a cone from `start` to `end` with these radii (voxels) and round ends."""
    direction, offset = end - start, where - start[:, None, None, None]
    along = np.clip(np.tensordot(direction, offset, 1) / (direction @ direction), 0, 1)
    gap = offset - along * direction[:, None, None, None]
    return (gap**2).sum(0) < (first + along * (last - first)) ** 2


def prosthesis(rng: np.random.Generator, where: np.ndarray, head: np.ndarray, shaft: np.ndarray) -> np.ndarray:
    """Mask of cup, head, neck, stem; `where` (3, z, y, x) has each voxel's place, `head` and `shaft` are voxels."""
    entry = shaft + [rng.uniform(9, 14), 0, 0]  # where the neck leaves the stem
    ball = ((where - head[:, None, None, None]) ** 2).sum(0)
    size = rng.uniform(14, 18) / SPACING
    outer = size + rng.uniform(2.5, 3.5)
    cup = (ball < outer**2) & (ball > (outer - 1.3) ** 2) & (where[0] - head[0] > -2)
    stem = _tube(where, entry, shaft - [rng.uniform(20, 35), 0, 0], 3.2, 1.8)
    return (ball < size**2) | cup | _tube(where, head, entry, 2.2, 3.0) | stem


def nail(rng: np.random.Generator, where: np.ndarray, head: np.ndarray, shaft: np.ndarray) -> np.ndarray:
    """Mask of a nail in the marrow from the greater trochanter's tip downwards and a screw through it into the head;
    as for `prosthesis`."""
    top, end = shaft + [rng.uniform(15, 24), 0, 0], shaft - [rng.uniform(12, 40), 0, 0]
    cross = shaft + [rng.uniform(3, 9), 0, 0]
    screw = head - cross
    rod = _tube(where, top, end, rng.uniform(2.2, 3.0), rng.uniform(1.6, 2.0))
    radius = rng.uniform(1.2, 1.9)
    return rod | _tube(where, cross - 0.3 * screw, cross + rng.uniform(0.85, 1.1) * screw, radius, radius)


def _streaks(rng: np.random.Generator, metal: np.ndarray, hu: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Artefacts (HU) of beam hardening and photon starvation: the error of the projections, backprojected.

    Parallel rays in each slice; the error of a ray grows with the metal on it times all that it crosses, and its
    noise with the exponent of that (De Man et al., IEEE Trans Nucl Sci 46:691, 1999, for the causes).
    """
    levels = np.flatnonzero(metal.any((1, 2)))
    size, angles = max(hu.shape[1:]), 120
    pad = [(size - n) // 2 for n in hu.shape[1:]]
    room = ((0, 0), *[(p, size - n - p) for p, n in zip(pad, hu.shape[1:])])
    density = np.clip(hu[levels] / 1000 + 1, 0, 2) * body[levels]
    images = torch.from_numpy(np.stack([np.pad(a, room) for a in (metal[levels].astype(np.float32),
                                                                   density.astype(np.float32))]))
    axis = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    frequency = torch.fft.rfftfreq(2 * size)
    frequency = frequency * torch.cos(torch.pi * frequency) ** 2  # a soft kernel
    result = torch.zeros(len(levels), size, size)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    starvation = rng.uniform(0.001, 0.006)
    for angle in torch.arange(angles) * (torch.pi / angles):
        c, s = torch.cos(angle), torch.sin(angle)
        turned = F.grid_sample(images, torch.stack([c * x - s * y, s * x + c * y], -1)[None].expand(2, -1, -1, -1),
                               align_corners=True)
        of_metal, of_body = turned.sum(2) * (SPACING / 10)  # cm
        error = -of_metal * (of_metal + 0.15 * of_body)
        noise = torch.randn(error.shape, generator=generator)
        error = error + starvation * noise * torch.exp((0.5 * of_metal + 0.1 * of_body).clamp(max=6.0))
        filtered = torch.fft.irfft(torch.fft.rfft(error, 2 * size) * frequency, 2 * size)[:, :size]
        at = torch.stack([c * x + s * y, torch.zeros_like(x)], -1)[None]
        result += F.grid_sample(filtered[None, :, None], at, align_corners=True)[0]
    field = result[:, pad[0]:pad[0] + hu.shape[1], pad[1]:pad[1] + hu.shape[2]].numpy()
    depth = -np.percentile(field[body[levels] & ~metal[levels]], 2)
    streaks = np.zeros(hu.shape, np.float32)
    streaks[levels] = field * (rng.uniform(60, 250) / max(depth, 1e-6))
    return np.clip(streaks, -900, 900)
