"""Training samples for the pelvic CT model: `sample(rng, shape) -> (hu, labels, possible)`.

Half of them are real scans (umea, totalseg), deformed, with bladder and rectum filled or emptied by a warp that takes
the fat along, and in umea a prostate and vesicles inserted where the real prostate was never drawn. The others are
synthetic men. Everything lies on the working grid: 3 mm, LPS, arrays (z, y, x), z to the head, y to the back, x left.

`possible` (uint8) has bit k set where code k may be the truth; `known(possible)` is the mask of voxels with one code.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from pelvis_anatomies import load_pack
from pelvis_deformation import inflate, swap_sides, warp, window_coordinates
from pelvis_insertion import change_contents, insert_prostate
from pelvis_scanner import AIR, acquire, limit_field
from pelvis_synthesis import head_centres, paint, synthetic_man

BLADDER, RECTUM = 3, 4
SOURCES = {"umea": 0.36, "totalseg": 0.2, "msk_001": 0.24, "msk_004": 0.2}
"""Share of the samples that come from each man."""

SIZES = {"umea": (0.78, 1.04), "totalseg": (0.9, 1.2), "msk_001": (0.88, 1.15), "msk_004": (0.95, 1.25)}
"""Range of their scale. umea has no known voxel size and its estimate makes it a giant, msk_004 is a small man."""

FULL_WINDOW = (96, 96, 128)
"""A whole pelvis; the centres of smaller windows wander further, so that they cover as much."""


@lru_cache(maxsize=8)
def _pack(name: str) -> dict:
    return load_pack(name)


def known(possible: np.ndarray) -> np.ndarray:
    """True where exactly one code is possible."""
    return (possible & (possible - 1)) == 0


def sample(rng: np.random.Generator, shape: tuple[int, int, int] = FULL_WINDOW, source: str | None = None
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One training sample: HU (float32), label codes (uint8) and possible codes (uint8 bits), each of `shape`.

    `source`: a name of SOURCES, drawn by their shares if None. The same generator state gives the same sample.
    """
    name = source or str(rng.choice(list(SOURCES), p=list(SOURCES.values())))
    real = name in ("umea", "totalseg")
    mirror = bool(rng.random() < 0.5)
    if real:
        hu, labels, possible, body = _real(rng, name, shape, mirror)
    else:
        hu, labels, possible, body = _synthetic(rng, name, shape, mirror)
    if mirror:
        labels, possible = swap_sides(labels, possible)
    hu = acquire(rng, hu, body, real)
    femora = np.flatnonzero((labels >= 5).any((1, 2)))
    inside = limit_field(rng, shape, float(np.median(femora)) if femora.size else shape[0] / 2)
    hu[~inside] = AIR
    labels[~inside], possible[~inside] = 0, 1
    np.clip(hu, AIR, 3000.0, out=hu)
    return hu.astype(np.float32), labels, possible


def _centre(rng: np.random.Generator, heads: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Voxel of the pack that the window's middle looks at: near the heads, sometimes thighs or abdomen alone."""
    spare = np.maximum(np.array(FULL_WINDOW) - shape, 0) / 2
    jitter = rng.uniform(-1, 1, 3) * (np.array([14, 6, 8]) + 0.75 * spare)
    if rng.random() < 0.06:
        jitter[0] += rng.choice([-30, 45])
    return heads.mean(0) + np.array([8.0, 2.0, 0.0]) + jitter


def _beyond(coordinates: np.ndarray, slices: int) -> np.ndarray:
    """Slices of the window (bool, z) that lie beyond the pack, so that a scan ends in a plane."""
    level = coordinates[0].mean((1, 2))
    return (level < 0) | (level > slices - 1)


def _organ_moves(rng: np.random.Generator, labels: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Fill or empty bladder and rectum of a real man: each about a point of its own, the surroundings follow."""
    for code, (low, high), chance in ((BLADDER, (0.55, 1.15), 0.8), (RECTUM, (0.7, 1.45), 0.7)):
        where = np.argwhere(labels == code)
        if not len(where) or rng.random() > chance:
            continue
        spread = where.std(0) * 3.0
        if code == BLADDER:  # its base stays on the prostate
            centre = where.mean(0) - [0.6 * spread[0] / 3, 0, 0]
            reach = 2.0 * spread
        else:
            level = rng.choice(where[:, 0])
            centre = where[np.abs(where[:, 0] - level) <= 2].mean(0)
            reach = np.array([rng.uniform(15, 35), 17.0, 17.0])
        coordinates = inflate(coordinates, centre, reach, float(np.exp(rng.uniform(*np.log((low, high))))))
    return coordinates


def _real(rng: np.random.Generator, name: str, shape, mirror: bool):
    pack = _pack(name)
    ct, labels, possible = pack["ct"].astype(np.float32), pack["labels"], pack["possible"]
    if name == "umea" and rng.random() < 0.65:
        ct, labels, possible = insert_prostate(rng, ct, labels, possible, pack["ptv"])
    tilt = 2.0 if name == "totalseg" else 5.0  # its scan ends inside the prostate: a tilt would cut all of it
    centre = _centre(rng, pack["femoral_heads"], shape)
    coordinates = window_coordinates(rng, shape, centre, mirror, SIZES[name], tilt_degrees=tilt)
    beyond = _beyond(coordinates, ct.shape[0])
    coordinates = _organ_moves(rng, pack["labels"], coordinates)
    coordinates[0] = np.clip(coordinates[0], 0, ct.shape[0] - 1)
    coordinates[0][beyond] = -10
    hu = warp(ct, coordinates, AIR)
    labels, possible = warp(labels, coordinates, 0, True), warp(possible, coordinates, 1, True)
    body = warp(pack["body"], coordinates, 0, True) > 0
    return change_contents(rng, hu, labels), labels, possible, body


def _synthetic(rng: np.random.Generator, name: str, shape, mirror: bool):
    centre = _centre(rng, head_centres(name), shape)
    coordinates = window_coordinates(rng, shape, centre, mirror, SIZES[name])
    first, last = int(coordinates[0].min()) - 2, int(coordinates[0].max()) + 3
    tissue, labels, first = synthetic_man(rng, name, first, last)
    coordinates[0] -= first
    beyond = _beyond(coordinates, tissue.shape[0])
    coordinates[0] = np.clip(coordinates[0], 0, tissue.shape[0] - 1)
    coordinates[0][beyond] = -10
    tissue, labels = warp(tissue, coordinates, 0, True), warp(labels, coordinates, 0, True)
    hu = paint(rng, tissue)
    return hu, labels, np.left_shift(1, labels).astype(np.uint8), tissue > 0
