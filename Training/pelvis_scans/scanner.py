"""From a body at 3 mm to what the network sees of its scan: couch, calibration, scanner's grid, noise, limits.

A scan is sampled at 0.9 to 1.4 mm in slices of 2 to 5 mm, and `prepare` (afnet/preprocessing/imaging.py) then blurs
it to the working grid's spacing and interpolates. Both steps are linear and separable, so each axis needs one small
matrix: the noise is drawn on the scanner's own grid and taken through exactly the preparation of a patient's scan, and
the body is blurred by what its 3 mm lack of the same point spread.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, special

from .deformation import smooth_noise
from .packs import AIR, SPACING

TO_SIGMA = 1 / (2 * np.sqrt(2 * np.log(2)))  # of a full width at half maximum

NOISE_HU = (14.0, 0.45)
"""Median of the noise on the scanner's grid (HU, about 1 x 1 x 3 mm) and the spread of its logarithm."""


@dataclass(frozen=True)
class Scan:
    """How a scanner samples: pixel and slice distance (mm), its kernel's width (mm FWHM), noise (HU) and its peak."""

    pixel: float
    slices: float
    kernel: float
    noise: float
    peak: float  # 1/mm; the noise power is f exp(-f²/peak²), a filtered backprojection's
    offset: np.ndarray  # of the first pixel's centre from the window's corner (z, y, x), parts of a pixel


def draw_scan(rng: np.random.Generator, real: bool) -> Scan:
    """A scanner at random. A real scan has noise of its own already and gets less."""
    noise = NOISE_HU[0] * np.exp(rng.normal(0, NOISE_HU[1])) * (rng.uniform(0, 0.8) if real else 1.0)
    slices = float(rng.choice([2.0, 2.5, 3.0, 3.0, 3.0, 4.0, 5.0]))
    return Scan(rng.uniform(0.9, 1.4), slices, rng.uniform(0.8, 2.4), noise, rng.uniform(0.18, 0.5),
                rng.uniform(0, 1, 3))


def preparation(length_mm: float, pitch: float, offset: float, spacing: float) -> np.ndarray:
    """Matrix (working voxels, scanner's voxels) of what `afnet.preprocessing.imaging.prepare` does along one axis.

    The scanner's voxel centres lie at (k + offset) `pitch`, the working ones at (j + 1/2) `spacing`, both within
    `length_mm`. ITK's discrete Gaussian (modified Bessel functions, cut at 1 % error, the last voxel repeated at the
    ends), then linear interpolation; rows further than half a pitch from the scan are zero.
    """
    count, wanted = int((length_mm / pitch) - offset) + 1, int(length_mm / spacing)
    variance = max(spacing**2 - pitch**2, 0.0) * TO_SIGMA**2 / pitch**2  # in voxels
    blur = np.eye(count)
    if variance:
        half = [special.ive(0, variance)]
        while half[0] + 2 * sum(half[1:]) < 0.99 and len(half) < 16:
            half.append(special.ive(len(half), variance))
        kernel = np.array(half[:0:-1] + half)
        blur = ndimage.correlate1d(blur, kernel / kernel.sum(), axis=0, mode="nearest")
    at = (np.arange(wanted) + 0.5) * spacing / pitch - offset
    low = np.clip(np.floor(at).astype(int), 0, count - 2)
    part = np.clip(at - low, 0, 1)
    inside = (at >= -0.5) & (at <= count - 0.5)
    rows = (1 - part)[:, None] * blur[low] + part[:, None] * blur[low + 1]
    return (rows * inside[:, None]).astype(np.float32)


def signal_matrix(count: int, spacing: float, variance: float) -> np.ndarray:
    """Matrix (working voxels, anatomy's voxels): a cubic spline from 3 mm, blurred by `variance` mm²."""
    wanted = int(count * SPACING / spacing)
    at = (np.arange(wanted) + 0.5) * spacing / SPACING - 0.5
    basis = np.eye(count)
    if variance > 0.05:
        basis = ndimage.gaussian_filter1d(basis, np.sqrt(variance) / SPACING, axis=0, mode="nearest")
    spline = np.stack([ndimage.map_coordinates(column, [at], order=3, mode="nearest") for column in np.eye(count)], 1)
    return (spline @ basis).astype(np.float32)


def share_matrix(count: int, spacing: float) -> np.ndarray:
    """Matrix (working voxels, anatomy's voxels) of how much of a working voxel each 3 mm voxel fills."""
    edges = np.arange(int(count * SPACING / spacing) + 1) * spacing
    source = np.arange(count + 1) * SPACING
    overlap = np.minimum(edges[1:, None], source[None, 1:]) - np.maximum(edges[:-1, None], source[None, :-1])
    return (np.clip(overlap, 0, None) / spacing).astype(np.float32)


def along_axes(volume: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
    """Apply one matrix along each of the axes z, y, x."""
    z, y, x = matrices
    volume = volume @ x.T
    volume = np.matmul(y, volume)
    return (z @ volume.reshape(len(volume), -1)).reshape(len(z), len(y), len(x))


def scan_body(rng: np.random.Generator, scan: Scan, hu: np.ndarray, source_variance: float, spacing: float,
              body: np.ndarray) -> np.ndarray:
    """HU (float32) of the body (z, y, x; 3 mm) on the working grid of `spacing` mm, as prepared from its scan.

    `source_variance` (mm²) is that of the point spread which the body's 3 mm voxels have already.
    """
    matrices = []
    for count, pitch, width in zip(hu.shape, (scan.slices, scan.pixel, scan.pixel),
                                   (scan.slices / 3.46 / TO_SIGMA, scan.kernel, scan.kernel)):
        wanted = (width**2 + max(spacing**2 - pitch**2, 0)) * TO_SIGMA**2 + pitch**2 / 6
        matrices.append(signal_matrix(count, spacing, wanted - source_variance))
    result = along_axes(hu - AIR, matrices) + AIR
    deep = along_axes(body.astype(np.float32), [share_matrix(n, spacing) for n in hu.shape])
    return result + _noise(rng, scan, hu.shape, spacing, deep, result)


def _noise(rng: np.random.Generator, scan: Scan, shape, spacing: float, body: np.ndarray, hu) -> np.ndarray:
    """Quantum noise of the scan on the working grid: stronger behind much tissue, streaks from hip to hip."""
    matrices = [preparation(n * SPACING, pitch, float(offset), spacing)
                for n, pitch, offset in zip(shape, (scan.slices, scan.pixel, scan.pixel), scan.offset)]
    noise = along_axes(rng.standard_normal([m.shape[1] for m in matrices], dtype=np.float32), matrices)
    fy = np.fft.fftfreq(noise.shape[1], spacing)[:, None]
    f = np.hypot(fy, np.fft.rfftfreq(noise.shape[2], spacing)[None])
    # Filtered backprojection's noise power of unit variance over that of white noise on the scanner's pixels; what
    # is left at the lowest frequencies is scatter's.
    power = np.maximum(f, 0.015) * np.exp(-((f / scan.peak) ** 2)) / (np.pi**1.5 / 2 * scan.peak**3) / scan.pixel**2
    noise = np.fft.irfft2(np.fft.rfft2(noise) * np.sqrt(power)[None], noise.shape[1:]).astype(np.float32)
    if rng.random() < 0.5:
        streaks = ndimage.gaussian_filter(rng.standard_normal(noise.shape, dtype=np.float32), (0.4, 0.4, 5))
        weight = np.clip((hu > 200).sum((1, 2)) * spacing**2 / 8000, 0, 1) * rng.uniform(0, 0.8)
        noise += weight[:, None, None].astype(np.float32) * streaks * (noise.std() / streaks.std())
    thick = body.sum(1, keepdims=True) / max(1.0, float(body.sum(1).max()))
    return scan.noise * noise * (0.5 + 0.7 * np.clip(thick, 0, 1)).astype(np.float32)


def draw_couch(rng: np.random.Generator, hu: np.ndarray, body: np.ndarray) -> None:
    """A couch under the body (in place): flat or curved shells of carbon or plastic, foam, rods, markers."""
    if not body.any():
        return
    back = np.flatnonzero(body.any((0, 2))).max()
    y, x = np.ogrid[:hu.shape[1], :hu.shape[2]]
    middle = (hu.shape[2] - 1) / 2 + rng.normal(0, 4)
    kind = rng.choice(["flat", "curved", "wedge"])
    gap = back + rng.uniform(0.5, 2) if kind == "flat" else back + rng.uniform(4, 14)
    across = np.abs(x - middle)
    bow = {"flat": 0 * across, "curved": -((across / 60) ** 2) * rng.uniform(4, 14),
           "wedge": -np.clip(across - rng.uniform(8, 20), 0, None) * rng.uniform(0.3, 0.6)}[str(kind)]
    depth = y - (gap + bow)
    width = rng.uniform(60, 95)
    value = np.full(hu.shape[1:], AIR, np.float32)
    thick = rng.uniform(3, 16)
    value[(depth > 0) & (depth < thick) & (across < width)] = rng.uniform(-990, -880)  # foam
    shell = rng.uniform(0.6, 1.6)
    for edge in (0.0, thick):
        value[(np.abs(depth - edge) < shell / 2) & (across < width)] = rng.uniform(-600, 100)
    for _ in range(rng.integers(0, 5)):  # rods and cables
        cy, cx = rng.uniform(back + 3, back + 14), rng.uniform(0, hu.shape[2])
        value[((y - cy) ** 2 + (x - cx) ** 2) < rng.uniform(0.6, 2.0) ** 2] = rng.uniform(-200, 900)
    value = ndimage.gaussian_filter(value, 0.5)
    below = ~body & (np.arange(hu.shape[1]) >= back - 18)[None, :, None] & (value > AIR + 5)[None]
    free = below & (hu < -600)
    hu[free] = np.broadcast_to(value, hu.shape)[free]


def draw_arms(rng: np.random.Generator, hu: np.ndarray, body: np.ndarray) -> None:
    """Hands and forearms beside the hips or on the belly's sides (in place), in air alone: they are no femora."""
    levels = np.flatnonzero(body.any((1, 2)))
    if not levels.size:
        return
    flanks = np.flatnonzero(body[levels[len(levels) // 2]].any(0))
    if not flanks.size:
        return
    z = np.arange(hu.shape[0])[:, None, None]
    y, x = np.arange(hu.shape[1])[None, :, None], np.arange(hu.shape[2])[None, None]
    middle_y = np.flatnonzero(body.any((0, 2))).mean()
    for edge, side in ((flanks[0], -1), (flanks[-1], 1)):
        radius = rng.uniform(9, 14) * (1 + 0.3 * np.clip((z - hu.shape[0] / 2) / hu.shape[0], -0.5, 0.5))
        centre_x = edge + side * (14 + rng.uniform(0, 6)) + rng.normal(0, 0.06) * (z - hu.shape[0] / 2)
        centre_y = middle_y + rng.uniform(-18, 14) + rng.normal(0, 0.15) * (z - hu.shape[0] / 2)
        r = np.sqrt((y - centre_y) ** 2 + (x - centre_x) ** 2) / radius
        long = (z > rng.uniform(-10, hu.shape[0] * 0.6)) & (hu < -600)
        hu[(r < 1) & long] = rng.uniform(-110, -80)
        hu[(r < rng.uniform(0.75, 0.95)) & long] = rng.uniform(35, 60)
        for shift in (-0.35, 0.35):
            bone = np.sqrt((y - centre_y - shift * radius) ** 2 + (x - centre_x - 0.2 * shift * radius) ** 2)
            hu[(bone < 2.4) & long] = rng.uniform(450, 900)
            hu[(bone < 1.2) & long] = rng.uniform(50, 400)


def surround(rng: np.random.Generator, hu: np.ndarray, body: np.ndarray, real: bool) -> np.ndarray:
    """The body (HU, 3 mm) with couch, arms, another calibration and energy, cupping; a copy."""
    hu = hu.copy()
    if rng.random() < 0.12:
        draw_arms(rng, hu, body)
    if rng.random() < (0.6 if real else 0.85):
        front = slice(None, None, -1 if rng.random() < 0.08 else 1)  # prone: LPS stays, the couch lies before him
        draw_couch(rng, hu[:, front], body[:, front])
    soft = np.clip((hu + 400) / 300, 0, 1)  # calibration leaves air alone
    hu += soft * (rng.normal(0, 4) + rng.normal(0, 0.02) * hu)
    if real:  # other energies and another man's bones and fat
        hu += np.clip(hu - 130, 0, None) * rng.uniform(-0.25, 0.35)
        hu += np.clip(-(np.abs(hu + 95) - 60) / 30, 0, 1) * rng.normal(0, 4)
    hu += soft * smooth_noise(rng, hu.shape, 150.0)[0] * rng.uniform(0, 4)  # cupping, scatter
    return hu


def limit_field(rng: np.random.Generator, shape: tuple[int, ...], pelvis_z: float, spacing: float) -> np.ndarray:
    """Voxels (of `spacing` mm) inside the scan (bool): it may end above or below, its circle may cut the flanks."""
    inside = np.ones(shape, bool)
    if rng.random() < 0.2:
        inside[:max(0, int(pelvis_z - rng.uniform(6, 90) / spacing))] = False
    if rng.random() < 0.25:
        inside[max(0, int(pelvis_z + rng.uniform(30, 135) / spacing)):] = False
    if rng.random() < 0.08:
        y, x = np.ogrid[:shape[1], :shape[2]]
        radius = rng.uniform(165, 225) / spacing
        inside &= ((y - shape[1] / 2) ** 2 + (x - shape[2] / 2) ** 2 < radius**2)[None]
    return inside
