"""Femora by one definition, that of radiotherapy: head, neck, shaft to about the lesser trochanter."""

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from .deformation import largest_piece
from .packs import LEFT, RIGHT, SPACING

CUT_RADII = 3.4
"""Lower end of the label, in head radii below the top of the head.

The middle of the lesser trochanter in both men whose femora are whole: 84 and 70 mm, radii 25 and 21."""


def _head(femur: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre (z, y, x voxels) and radius (mm) of the head at the top of a femur.

    A sphere's section 12 mm below its top has the area π (2·12·r − 12²).
    """
    top = int(np.argwhere(femur.any((1, 2))).max())
    cap = np.argwhere(femur[max(top - 2, 0):top + 1])[:, 1:].mean(0)
    parts, count = ndimage.label(femur[top - 4])  # apart from the greater trochanter
    centres = np.array(ndimage.center_of_mass(femur[top - 4], parts, range(1, count + 1)))
    head = parts == np.linalg.norm(centres - cap, axis=1).argmin() + 1
    area = head.sum() * SPACING**2
    radius = float(np.clip((area / np.pi + 144.0) / 24.0, 18.0, 30.0))
    level = max(top - round(radius / SPACING), 0)
    return np.array([level, *np.argwhere(head).mean(0)], np.float32), radius


def cut_femora(labels: np.ndarray, radius: float | None = None) -> tuple[np.ndarray, np.ndarray, float]:
    """Labels without the shafts below the lesser trochanter; head centres (left, right), their radius in mm.

    `radius` (mm) where the heads are drawn by themselves; otherwise it is measured at the top of each femur.
    """
    labels = labels.copy()
    centres, radii = [], []
    for code in (LEFT, RIGHT):
        centre, measured = _head(labels == code)
        size = radius or measured
        top = int(np.argwhere((labels == code).any((1, 2))).max())
        low = max(0, round(top - CUT_RADII * size / SPACING))
        labels[:low][labels[:low] == code] = 0
        centres.append(centre)
        radii.append(size)
    return labels, np.stack(centres), float(np.mean(radii))


def femora_from_bone(hu: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Whole femora in a real CT whose heads are drawn, on any grid (z, y, x); codes 5 left, 6 right.

    A watershed on bone, from the drawn heads and from the shafts, against the pelvis.
    """
    bone = ndimage.gaussian_filter(hu, 0.5) > 130
    filled = np.stack([ndimage.binary_fill_holes(ndimage.binary_closing(s, iterations=1)) for s in bone])
    filled |= heads > 0
    bottom = int(np.argwhere((heads > 0).any((1, 2))).min())
    markers = np.zeros(hu.shape, np.uint8)
    for code in (LEFT, RIGHT):
        ys, xs = np.argwhere((heads == code).any(0)).mean(0)
        markers[ndimage.binary_erosion(heads == code, iterations=1)] = code
        lateral = 1 if code == LEFT else -1
        side = (np.arange(hu.shape[2]) - xs) * lateral > 0
        for z in range(max(0, bottom - 34), bottom - 6):  # shafts lie lateral of the head's centre
            markers[z][ndimage.binary_erosion(filled[z] & side[None], iterations=2)] = code
    markers[filled & (ndimage.distance_transform_edt(heads == 0) > 3) & (markers == 0)
            & _medial_or_above(heads, hu.shape)] = 7
    markers[~ndimage.binary_dilation(filled, iterations=1)] = 8
    relief = (-ndimage.gaussian_filter(np.clip(hu, -100, 600), 0.5)).astype(np.float32)
    relief, markers = sitk.GetImageFromArray(relief), sitk.GetImageFromArray(markers)
    flood = sitk.GetArrayFromImage(sitk.MorphologicalWatershedFromMarkers(relief, markers, False, True))
    femora = np.where(filled & ((flood == LEFT) | (flood == RIGHT)), flood, 0).astype(np.uint8)
    for code in (LEFT, RIGHT):  # without what hangs on it by a thread or lies apart, a watershed's leaks
        largest = largest_piece(ndimage.binary_opening(femora == code, iterations=1))
        femora[(femora == code) & ~ndimage.binary_dilation(largest, iterations=2)] = 0
    return femora


def head_balls(shape: tuple[int, ...], spacing, centres_mm, radius_mm: float) -> np.ndarray:
    """Balls (codes 5, 6; z, y, x) around the centres of the left and the right head, in mm from the first voxel."""
    z, y, x = np.meshgrid(*[np.arange(n) * mm for n, mm in zip(shape, spacing, strict=True)], indexing="ij",
                          sparse=True)
    heads = np.zeros(shape, np.uint8)
    for code, (cz, cy, cx) in zip((LEFT, RIGHT), centres_mm, strict=True):
        heads[(z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < radius_mm**2] = code
    return heads


def _medial_or_above(heads: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Voxels where bone is pelvis for certain: above the heads, or medial of their inner edge."""
    mask = np.zeros(shape, bool)
    mask[int(np.argwhere((heads > 0).any((1, 2))).max()) + 2:] = True
    left = np.argwhere((heads == LEFT).any((0, 1))).min()
    right = np.argwhere((heads == RIGHT).any((0, 1))).max()
    mask[:, :, right + 2:left - 1] = True
    return mask
