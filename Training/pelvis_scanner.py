"""What a scanner and a scan's planning add to a body: couch, noise, slice thickness, limits of the field of view."""

from __future__ import annotations

import numpy as np
from pelvis_deformation import smooth_noise
from scipy import ndimage

AIR = -1000.0


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


def add_noise(rng: np.random.Generator, hu: np.ndarray, body: np.ndarray, typical: float = 6.0) -> np.ndarray:
    """Quantum noise: log-normal around `typical` HU at 3 mm, correlated like a kernel's, stronger deep inside,
    and streaks from hip to hip where photons are few."""
    level = typical * np.exp(rng.normal(0, 0.6))
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    width = rng.uniform(0.25, 0.75)
    noise = ndimage.gaussian_filter(noise, (width * rng.uniform(0.2, 1), width, width))
    noise /= noise.std()
    if rng.random() < 0.5:
        streaks = ndimage.gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), (0.5, 0.4, 6))
        weight = np.clip((hu > 200).sum((1, 2)) / 900, 0, 1) * rng.uniform(0, 1)
        noise += (weight[:, None, None] * streaks / streaks.std()).astype(np.float32)
    thick = body.sum(1, keepdims=True) / max(1.0, float(body.sum(1).max()))
    return hu + level * noise * (0.5 + 0.7 * np.clip(thick, 0, 1)).astype(np.float32)


def acquire(rng: np.random.Generator, hu: np.ndarray, body: np.ndarray, real: bool) -> np.ndarray:
    """The scan of a body: calibration, couch, blur and slices up to 6 mm, noise. Real scans get less of each."""
    hu = hu.copy()
    if rng.random() < (0.5 if real else 0.8):
        draw_couch(rng, hu, body)
    soft = np.clip((hu + 400) / 300, 0, 1)  # calibration leaves air alone
    hu += soft * (rng.normal(0, 4) + rng.normal(0, 0.02) * hu)
    if real:  # other energies and another man's bones and fat
        hu += np.clip(hu - 130, 0, None) * rng.uniform(-0.25, 0.35)
        hu += np.clip(-(np.abs(hu + 95) - 60) / 30, 0, 1) * rng.normal(0, 4)
    hu += soft * smooth_noise(rng, hu.shape, 150.0)[0] * rng.uniform(0, 4)  # cupping, scatter
    if rng.random() < 0.5:
        hu = ndimage.gaussian_filter1d(hu, rng.uniform(0.3, 0.9), axis=0)
    if rng.random() < 0.3:
        hu = ndimage.gaussian_filter(hu, (0, *[rng.uniform(0.2, 0.6)] * 2))
    return add_noise(rng, hu, body, 4.0 if real else 6.0)


def limit_field(rng: np.random.Generator, shape: tuple[int, ...], pelvis_z: float) -> np.ndarray:
    """Voxels inside the scan (bool): it may end above or below, and its circle may cut the flanks."""
    inside = np.ones(shape, bool)
    if rng.random() < 0.2:
        inside[:max(0, int(pelvis_z - rng.uniform(2, 30)))] = False
    if rng.random() < 0.25:
        inside[max(0, int(pelvis_z + rng.uniform(10, 45))):] = False
    if rng.random() < 0.06:
        y, x = np.ogrid[:shape[1], :shape[2]]
        radius = rng.uniform(55, 75)
        inside &= ((y - shape[1] / 2) ** 2 + (x - shape[2] / 2) ** 2 < radius**2)[None]
    return inside
