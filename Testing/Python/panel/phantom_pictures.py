"""Drawn patients for pictures: a male pelvis on CT and a glioma on T1 with contrast. No real anatomy is in them.

Arrays are indexed [k, j, i]; positions are RAS in mm (right, front and head are positive).
"""

from dataclasses import dataclass

import numpy as np

NOISE_SEED = 5


@dataclass(frozen=True)
class Phantom:
    """image: int16 voxels. codes: label map of the model. ijk_to_ras: 4x4, of both."""

    image: np.ndarray
    codes: np.ndarray
    ijk_to_ras: np.ndarray


def pelvis(spacing=(2.0, 2.0, 2.5)) -> Phantom:
    """A pelvis in HU with the codes of pelvis-ct: 1 prostate, 2 seminal vesicles, 3 bladder, 4 rectum, 5/6 femora."""
    grid, (x, y, z) = _grid((-185, -125, -105), (185, 125, 105), spacing)
    side = np.abs(x)
    hu = np.full(x.shape, -1000.0)
    body = (side / 172) ** 2.6 + (np.abs(y) / 112) ** 2.6
    hu[body < 1] = 30  # skin
    hu[body < 0.94] = -95
    hu[(side / 146) ** 2.4 + (np.abs(y + 4) / 86) ** 2.4 < 1] = 55
    hu[_capsule(side, y, z, (60, -66, -20), (112, -30, 40), 7)] = -85  # fat between the muscles
    hu[_capsule(side, y, z, (58, 62, -60), (112, 44, -10), 8)] = -85
    hu[_ellipsoid(x, y, z, (0, 4, 25), (58, 62, 80))] = -90  # and around the organs
    hu[_capsule(side, y, z, (46, -8, -30), (54, 0, 50), 9)] = 50  # obturator internus
    hu[_ellipsoid(side, y, z, (42, -92, -10), (52, 17, 95))] = 55  # gluteus maximus
    for shape in (
        (_ellipsoid, (0, -80, 45), (42, 17, 62)), (_capsule, (7, 62, -12), (62, 34, 6), 9),
        (_capsule, (10, 56, -20), (62, -22, -44), 9), (_capsule, (62, -25, -42), (76, -12, 2), 15),
        (_ellipsoid, (78, -6, 66), (15, 36, 48)), (_capsule, (70, -24, 50), (46, -66, 66), 14),
    ):
        _bone(hu, _shape(side, y, z, *shape), _shape(side, y, z, *shape, wall=4))
    cup = _ellipsoid(side, y, z, (85, 4, 14), (34, 34, 34)) & (side < 93)
    _bone(hu, cup, _ellipsoid(side, y, z, (85, 4, 14), (26, 26, 26)))

    codes = np.zeros(x.shape, np.uint8)
    head, shaft = (87, 4, 14), (118, -4, -8)
    parts = ((_ellipsoid, head, (23, 23, 23)), (_capsule, head, shaft, 14), (_capsule, shaft, (114, 4, -120), 15),
             (_ellipsoid, shaft, (18, 20, 24)))
    femur = np.any([_shape(side, y, z, *part) for part in parts], axis=0)
    _bone(hu, femur, np.any([_shape(side, y, z, *part, wall=4) for part in parts], axis=0), cortex=1000, marrow=230)
    femur &= z > -55
    codes[femur & (x < 0)], codes[femur & (x > 0)] = 5, 6
    for code, shape, value in (
        (4, _capsule(x, y, z, (0, -44, -60), (4, -50, 50), 16), 38),
        (2, _capsule(side, y, z, (5, -13, 8), (27, -18, 22), 7), 44),
        (3, _ellipsoid(x, y, z, (2, 20, 30), (39, 31, 29)), 36),
        (1, _ellipsoid(x, y, z, (0, 4, -20), (25, 18, 21)), 46),
    ):
        codes[shape], hu[shape] = code, value
    hu[_ellipsoid(x, y, z, (2, 20, 30), (35, 27, 25))] = 5  # urine
    hu[_ellipsoid(x, y, z, (2, -45, 5), (8, 6, 24))] = -700  # gas
    return Phantom(_noisy(hu, 9), codes, grid)


def glioma(spacing=(2.0, 2.0, 2.0)) -> Phantom:
    """A brain without skull, 0 outside, with the codes of brain-tumour-mri: 2 oedema, 1 necrosis, 4 enhancing."""
    grid, (x, y, z) = _grid((-80, -95, -75), (80, 95, 75), spacing)
    brain = _ellipsoid(x, y, z, (0, 0, 0), (68, 84, 62))
    rim = np.sin(x / 5) + np.sin(y / 6 + 1) + np.sin(z / 5 + 2)
    values = np.where(_ellipsoid(x, y, z, (0, 0, 0), (56, 72, 50)) & (rim > -0.6), 620.0, 480.0)
    values[_ellipsoid(np.abs(x), y, z, (14, 2, 10), (8, 30, 11))] = 180  # ventricles
    codes = np.zeros(x.shape, np.uint8)
    wobble = 2.5 * (np.sin(x / 6) + np.sin(y / 7) + np.sin(z / 5))
    distance = np.sqrt((x + 33) ** 2 + (1.1 * (y - 14)) ** 2 + (z - 16) ** 2) + wobble
    for code, radius, value in ((2, 31, 430), (4, 18, 1050), (1, 11, 300)):
        codes[(distance < radius) & brain] = code
        values[(distance < radius) & brain] = value
    values[(distance < 18) & (distance > 15)] = 900
    codes[(codes == 4) & (z > 26)] = 1  # the rim does not enhance all round
    values[~brain], codes[~brain] = 0, 0
    image = _noisy(values, 22)
    image[~brain] = 0
    return Phantom(image, codes, grid)


def _grid(first, last, spacing):
    size = [round((b - a) / step) for a, b, step in zip(first, last, spacing)]
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = first
    k, j, i = np.meshgrid(*(np.arange(n) for n in reversed(size)), indexing="ij")
    return matrix, [a + step * index for a, step, index in zip(first, spacing, (i, j, k))]


def _ellipsoid(x, y, z, centre, radii):
    return sum(((at - middle) / radius) ** 2 for at, middle, radius in zip((x, y, z), centre, radii)) < 1


def _capsule(x, y, z, first, last, radius):
    """The points within `radius` of a segment of a line."""
    along = np.subtract(last, first)
    t = sum((at - a) * step for at, a, step in zip((x, y, z), first, along)) / np.dot(along, along)
    t = np.clip(t, 0, 1)
    return sum((at - a - t * step) ** 2 for at, a, step in zip((x, y, z), first, along)) < radius**2


def _shape(x, y, z, kind, *numbers, wall=0):
    """An ellipsoid or capsule, or what is inside its wall (mm)."""
    *place, size = numbers
    return kind(x, y, z, *place, np.subtract(size, wall))


def _bone(hu, outside, inside, cortex=650, marrow=180) -> None:
    hu[outside] = cortex
    hu[outside & inside] = marrow


def _noisy(values, sigma):
    """Blurred a little, with noise, as a scanner would."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(NOISE_SEED).normal(0, sigma, values.shape)
    return (gaussian_filter(values, 0.6) + gaussian_filter(noise, 0.7)).astype(np.int16)
