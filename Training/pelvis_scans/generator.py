"""Training samples for the pelvic CT model: `weighted_sample(rng)` on the working grid, as `afnet` prepares a scan.

More than half of them are real scans (umea, totalseg, a female scan without any male organ, short scans of ten men),
deformed, with bladder and rectum filled or emptied by a warp that takes the fat along, and in umea a prostate and
vesicles inserted. The others are synthetic men. Bodies are made at 3 mm, LPS, arrays (z, y, x), z to the head, y to
the back, x left; `scanner.py` scans them and brings the scan to the working grid.

`possible` (uint8) has bit k set where code k may be the truth.
"""

from collections.abc import Collection
from functools import cache
from typing import NamedTuple

import numpy as np

from .deformation import end_femora_in_planes, inflate, swap_sides, warp, window_coordinates
from .devices import place_catheter, place_hip_metal, place_seeds
from .insertion import change_contents, insert_prostate
from .packs import AIR, BLADDER, LEFT, PROSTATE, RECTUM, RIGHT, SLICE_PACKS, SPACING, load_pack
from .scanner import along_axes, draw_scan, limit_field, scan_body, share_matrix, surround
from .synthesis import head_centres, paint, synthetic_man
from .texture import texture_of
from .transplant import new_organs

SOURCES = {"umea": 0.28, "totalseg": 0.15, "female": 0.08, "msk_001": 0.18, "msk_004": 0.15, "slices_a": 0.08,
           "slices_b": 0.08}
"""Share of the samples that come from each patient, or from each half of the ten men of the loose slices."""

NEW_ORGANS = {"umea": 0.4, "totalseg": 0.4}
"""Part of the samples from real men whose organs are drawn anew."""

REAL = ("umea", "totalseg", "female", "slices_a", "slices_b")

SIZES = {"umea": (0.78, 1.04), "totalseg": (0.9, 1.2), "female": (0.75, 1.0), "msk_001": (0.88, 1.15),
         "msk_004": (0.95, 1.25), "slices_a": (0.85, 1.15), "slices_b": (0.85, 1.15)}
"""Range of their scale. umea has no known voxel size and its estimate makes it a giant, msk_004 is a small man."""

POINT_SPREAD = {True: 3.0**2 / 8 / np.log(2) + 3.0**2 / 6, False: 3.0**2 * (0.5**2 + 1 / 12)}
"""Variance (mm²) of the point spread of bodies at 3 mm: real scans blurred to 3 mm and interpolated once; synthetic
tissue maps of whole voxels, blurred by `paint`."""

FULL_WINDOW = (96, 96, 128)
"""A whole pelvis; the centres of smaller windows wander further, so that they cover as much."""


def window_shape(spacing: float) -> tuple[int, int, int]:
    """Voxels (z, y, x) of a whole window on a working grid of `spacing` mm."""
    return tuple(int(n * SPACING / spacing) for n in FULL_WINDOW)


@cache
def _pack(name: str) -> dict:
    return load_pack(name)


@cache
def _texture(name: str) -> tuple[float, float]:
    return texture_of(_pack(name)["ct"].astype(np.float32))


class Sample(NamedTuple):
    """HU (float32), label codes and possible codes (uint8 bits), and trust in them (uint8, percent), each (z, y, x)."""

    hu: np.ndarray
    labels: np.ndarray
    possible: np.ndarray
    weight: np.ndarray


def sample(rng: np.random.Generator, shape: tuple[int, int, int] = FULL_WINDOW, source: str | None = None
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, labels and possible codes of a `weighted_sample` at 3 mm, each of `shape`."""
    return weighted_sample(rng, shape, source, SPACING)[:3]


def weighted_sample(rng: np.random.Generator, shape: tuple[int, int, int] = FULL_WINDOW, source: str | None = None,
                    spacing: float = 4.0) -> Sample:
    """One training sample on a working grid of `spacing` mm that covers `shape` voxels of 3 mm.

    `source`: a name of SOURCES, drawn by their shares if None. The same generator state gives the same sample.
    """
    name = source or draw_source(rng)
    real = name in REAL
    mirror = bool(rng.random() < 0.5)
    hu, labels, possible, weight, body, beyond = (_real if real else _synthetic)(rng, name, shape, mirror)
    if mirror:
        labels, possible = swap_sides(labels, possible)
    place_devices(rng, hu, np.where(beyond[:, None, None], 0, labels), body)
    hu = surround(rng, hu, body, real)
    hu = scan_body(rng, draw_scan(rng, real), hu, POINT_SPREAD[real], spacing, body)
    labels, possible, weight = _on_working_grid(labels, possible, weight, spacing)
    beyond = share_matrix(len(beyond), spacing) @ beyond.astype(np.float32) > 0.5
    hu[beyond], labels[beyond], possible[beyond], weight[beyond] = AIR, 0, 1, 100
    femora = np.flatnonzero((labels >= 5).any((1, 2)))
    inside = limit_field(rng, hu.shape, float(np.median(femora)) if femora.size else hu.shape[0] / 2, spacing)
    hu[~inside] = AIR
    labels[~inside], possible[~inside], weight[~inside] = 0, 1, 100
    np.clip(hu, AIR, 3000.0, out=hu)
    return Sample(hu.astype(np.float32), labels, possible, weight)


def place_devices(rng: np.random.Generator, hu, labels, body) -> None:
    """Gold seeds in a third of the prostates, a catheter or metal in a hip now and then (in place)."""
    if rng.random() < 0.33:
        place_seeds(rng, hu, labels == PROSTATE)
    if rng.random() < 0.05:
        place_catheter(rng, hu, labels)
    if rng.random() < 0.09:
        place_hip_metal(rng, hu, labels, body)


def draw_source(rng: np.random.Generator, names: Collection[str] = tuple(SOURCES)) -> str:
    """One of `names`, some or all of SOURCES, by their shares."""
    shares = np.array([SOURCES[name] for name in names])
    return str(rng.choice(list(names), p=shares / shares.sum()))


def _on_working_grid(labels: np.ndarray, possible: np.ndarray, weight: np.ndarray, spacing: float):
    """Labels, possible codes and weights from 3 mm: what fills most of a voxel is possible there, in any case the
    largest share of all."""
    if spacing == SPACING:
        return labels.copy(), possible.copy(), weight.copy()
    matrices = [share_matrix(n, spacing) for n in labels.shape]
    weight = np.rint(along_axes(weight.astype(np.float32), matrices)).astype(np.uint8)
    shape = weight.shape
    result, codes = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    most, most_label = np.full(shape, -1, np.float32), np.full(shape, -1, np.float32)
    best = np.zeros(shape, np.uint8)
    for code in range(7):
        bit = (possible >> code) & 1
        if not bit.any():
            continue
        share = along_axes(bit.astype(np.float32), matrices)
        result[share > 0.5] |= 1 << code
        best[share > most] = 1 << code
        most = np.maximum(most, share)
        share = along_axes((labels == code).astype(np.float32), matrices)
        codes[share > most_label] = code
        most_label = np.maximum(most_label, share)
    result |= best
    outside = ((result >> codes) & 1) == 0  # the largest label is not among the possible ones: ties of thin structures
    codes[outside] = np.log2(result[outside] & -result[outside].astype(np.int16)).astype(np.uint8)
    return codes, result, weight


def _centre(rng: np.random.Generator, heads: np.ndarray, shape: tuple[int, int, int], short: bool = False):
    """Voxel (z, y, x) of the pack that the window's middle looks at: near the heads, sometimes thighs or abdomen alone,
    but not where the scan is `short`."""
    spare = np.maximum(np.array(FULL_WINDOW) - shape, 0) / 2
    jitter = rng.uniform(-1, 1, 3) * (np.array([14, 6, 8]) + 0.75 * spare)
    if rng.random() < 0.12 and not short:
        jitter[0] += rng.choice([-30, 45])
    return heads.mean(0) + np.array([8.0, 2.0, 0.0]) + jitter


def _beyond(coordinates: np.ndarray, slices: int) -> np.ndarray:
    """Slices of the window (bool, z) that lie beyond the pack, so that a scan ends in a plane.

    Until the body is scanned they repeat its last slice, as afnet does: no air is blurred into a scan's end.
    """
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


def _lowest(labels: np.ndarray) -> dict[int, int]:
    """Lowest slice of each femur's label."""
    return {code: int(np.flatnonzero((labels == code).any((1, 2))).min()) for code in (LEFT, RIGHT)}


def _real(rng: np.random.Generator, name: str, shape, mirror: bool):
    pack = _pack(str(rng.choice(SLICE_PACKS[name])) if name in SLICE_PACKS else name)
    ct, labels, possible = pack["ct"].astype(np.float32), pack["labels"], pack["possible"]
    weight = pack["weight"] if "weight" in pack else np.full(ct.shape, 100, np.uint8)
    change = rng.random()
    if change < NEW_ORGANS.get(name, 0.0):
        ct, labels, possible, weight = new_organs(rng, ct, labels, possible, weight, pack["femoral_heads"],
                                                 _texture(name))
    elif name == "umea" and change < 0.6:
        ct, labels, possible, weight = insert_prostate(rng, ct, labels, possible, weight, pack["ptv"], _texture(name))
    # Where a scan ends inside the prostate a tilt would cut all of it.
    tilt = 2.0 if name == "totalseg" or name in SLICE_PACKS else 5.0
    centre = _centre(rng, pack["femoral_heads"], shape, name in SLICE_PACKS)
    if name == "female" and rng.random() < 0.5:  # the belly and the chest, where no organ is to be found
        centre[0] = rng.uniform(centre[0], ct.shape[0])
    coordinates = window_coordinates(rng, shape, centre, mirror, SIZES[name], tilt_degrees=tilt)
    beyond = _beyond(coordinates, ct.shape[0])
    coordinates = _organ_moves(rng, labels, coordinates)
    coordinates[0] = np.clip(coordinates[0], 0, ct.shape[0] - 1)
    hu, lowest = warp(ct, coordinates, AIR), _lowest(labels)
    labels, possible = warp(labels, coordinates, 0, True), warp(possible, coordinates, 1, True)
    end_femora_in_planes(labels, possible, warp(pack["femora"], coordinates, 0, True), coordinates[0], lowest)
    body = warp(pack["body"], coordinates, 0, True) > 0
    weight = warp(weight, coordinates, 100, True)
    return change_contents(rng, hu, labels), labels, possible, weight, body, beyond


def _synthetic(rng: np.random.Generator, name: str, shape, mirror: bool):
    centre = _centre(rng, head_centres(name), shape)
    coordinates = window_coordinates(rng, shape, centre, mirror, SIZES[name])
    first, last = int(coordinates[0].min()) - 2, int(coordinates[0].max()) + 3
    tissue, labels, femora, first = synthetic_man(rng, name, first, last)
    lowest = _lowest(labels)
    coordinates[0] -= first
    beyond = _beyond(coordinates, tissue.shape[0])
    coordinates[0] = np.clip(coordinates[0], 0, tissue.shape[0] - 1)
    tissue, labels = warp(tissue, coordinates, 0, True), warp(labels, coordinates, 0, True)
    possible = np.left_shift(1, labels).astype(np.uint8)
    end_femora_in_planes(labels, possible, warp(femora, coordinates, 0, True), coordinates[0], lowest)
    hu = paint(rng, tissue)
    return hu, labels, possible, np.full(shape, 100, np.uint8), tissue > 0, beyond
