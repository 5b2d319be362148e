"""Whether an image's geometry can be that of a scan: sizes, position, perpendicular axes. Positions are LPS, mm.

SimpleITK's images are taken, but it is not imported, so that the Slicer side uses this too.
"""

import itertools
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .refusals import contradictory_size, damaged, impossible_voxel_size, sheared, without_voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

ORTHONORMALITY_TOLERANCE = 1e-3
"""Largest cosine between two voxel axes that still count as perpendicular (0.06 degrees, 0.5 mm over 500 mm), and
largest difference of a direction's length from 1."""

SMALLEST_SPACING, LARGEST_SPACING = 0.01, 50.0
"""Voxel sizes in mm outside which a file is taken as damaged or written in another unit."""

LONGEST_SIDE, FARTHEST_ORIGIN = 2500.0, 1e5
"""mm: no scan of a person is longer, and none lies farther from its scanner's origin."""

TAKEN_TOLERANCE = 0.1
"""Largest difference, in voxels at a corner, between the position that ITK took from a file and the file's own."""

WIDEST_SIDE = 1300.0
"""mm that the second longest side may have: the widest scanner's opening, 0.9 m, on a grid turned by 45 degrees."""


def index_to_lps(image: "sitk.Image") -> np.ndarray:
    """The 4×4 matrix from continuous index (i, j, k) to LPS position in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return matrix


def corner_points(image: "sitk.Image", beyond: float = 0.0, matrix: np.ndarray | None = None) -> np.ndarray:
    """The eight corners (8, 3) in mm: the centres of the outermost voxels, or points `beyond` voxels past them.

    `matrix`: from index to position (4×4), in place of the image's own.
    """
    corners = np.array(list(itertools.product(*((-beyond, count - 1 + beyond) for count in image.GetSize()))))
    matrix = index_to_lps(image) if matrix is None else matrix
    return corners @ matrix[:3, :3].T + matrix[:3, 3]


def lies_at(image: "sitk.Image", matrix: np.ndarray) -> bool:
    """Whether the image's corners lie where `matrix` (4×4, index to LPS, mm), its file's own, puts them, within
    TAKEN_TOLERANCE."""
    apart = np.abs(corner_points(image, matrix=matrix) - corner_points(image)).max()
    return bool(apart <= TAKEN_TOLERANCE * min(image.GetSpacing()))


def same_grid(a: "sitk.Image", b: "sitk.Image") -> bool:
    """True where both images have the same size and their corners agree within 0.001 mm."""
    return a.GetSize() == b.GetSize() and np.allclose(corner_points(a), corner_points(b), rtol=0, atol=1e-3)


def side_lengths(image: "sitk.Image") -> list[float]:
    """What the image measures along its axes (i, j, k), in mm: a voxel size for each voxel."""
    return [count * spacing for count, spacing in zip(image.GetSize(), image.GetSpacing(), strict=True)]


def perpendicular(axes: np.ndarray) -> bool:
    """Whether the columns of `axes` (3×3) are perpendicular within ORTHONORMALITY_TOLERANCE and none is zero."""
    lengths = np.linalg.norm(axes, axis=0)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        return False
    unit = axes / lengths
    return bool(np.abs(unit.T @ unit - np.eye(3)).max() <= ORTHONORMALITY_TOLERANCE)


def check_geometry(image: "sitk.Image", what: str) -> None:
    """Raise InputError about `what` unless the image has the geometry of a scan of a person."""
    if min(image.GetSize()) == 0:
        raise without_voxels(what)
    if min(image.GetSize()) == 1:
        raise InputError(f"{what} has only one slice; give the whole volume.")
    check_place(image, what)


def check_place(image: "sitk.Image", what: str) -> None:
    """Raise InputError about `what` unless voxel sizes, axes and position can be those of a part of such a scan."""
    matrix = index_to_lps(image)
    if not np.isfinite(matrix).all():
        raise damaged(what)
    for spacing in image.GetSpacing():
        if not SMALLEST_SPACING <= spacing <= LARGEST_SPACING:
            raise impossible_voxel_size(spacing, what)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    if not perpendicular(direction):
        raise sheared(what)
    if np.abs(np.linalg.norm(direction, axis=0) - 1).max() > ORTHONORMALITY_TOLERANCE:
        raise contradictory_size(what)
    sides = sorted(side_lengths(image))
    if sides[-1] > LONGEST_SIDE or sides[-2] > WIDEST_SIDE:
        raise InputError(
            f"{what} is {sides[-1] / 1000:.1f} m long and {sides[-2] / 1000:.1f} m wide by its voxel size, which "
            "cannot be right; correct its spacing or export it again."
        )
    if np.abs(image.GetOrigin()).max() > FARTHEST_ORIGIN:
        raise InputError(
            f"{what} states a position more than {FARTHEST_ORIGIN / 1e6:g} km away, which cannot be right; correct its "
            "origin or export it again."
        )
