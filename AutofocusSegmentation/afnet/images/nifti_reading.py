"""A NIfTI file whose orientation matrices and data are sound to a SimpleITK image, or a sentence on what is wrong."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .compressed_stream import at_gzip
from .geometry import lies_at, perpendicular
from .itk_reading import read_volume
from .names import image_suffix
from .nifti_header import ContradictoryScaling, NiftiHeader, Truncated, read_nifti_header
from .refusals import (
    contradictory_places,
    contradictory_size,
    damaged,
    not_finite,
    sheared,
    without_orientation,
    without_voxels,
)

VOXEL_SIZE_TOLERANCE = 0.01
"""Largest relative difference between the voxel sizes that a NIfTI file's qform and sform state."""

TURN_TOLERANCE, PLACE_TOLERANCE = 3.0, 5.0
"""Largest differences between a NIfTI file's qform and sform: the angle of an axis in degrees, a corner's place in mm.

Rounding makes 0.01 mm of it, and programs that write both write one pose. A contour would be seen to lie wrong in a
program that believes the other matrix beyond a few mm.
"""

TEMPLATE_TURN = 45.0
"""Largest angle, in degrees, between an axis of the qform and of an sform that leads to a template."""


def read_nifti(path: Path, what: str) -> sitk.Image:
    """Read a .nii or .nii.gz file. Raises InputError about `what`: damaged, or its header contradicts itself;
    RequestError, OutOfMemory."""
    suffix = image_suffix(path)
    if not path.name.endswith((suffix, suffix.upper())):  # ITK knows no other way to write it
        raise InputError(f"{what} has an ending that mixes capital and small letters; rename it to {suffix}.")
    try:
        header = read_nifti_header(path)
    except ValueError:
        raise InputError(
            f"{what} is not a readable NIfTI file (damaged, NIfTI-2, or a pair of header and data); save it as NIfTI-1 "
            "or NRRD."
        ) from None
    except (Truncated, OverflowError):
        raise damaged(what) from None
    except ContradictoryScaling:
        raise InputError(
            f"{what} states a rescaling of its values that contradicts itself (slope and intercept); export it again."
        ) from None
    if min(header.size) == 0:
        raise without_voxels(what)
    if path.suffix.lower() == ".nii" and _is_gzip(path):
        raise InputError(f"{what} is compressed, though its name ends in .nii; give it a name that ends in .nii.gz.")
    if header.not_finite:
        raise not_finite(header.not_finite, what)
    _check_nifti_orientation(header, what)
    image = read_volume(path, what, "NiftiImageIO")
    if not any(matrix is not None and lies_at(image, matrix) for matrix in (header.qform, header.sform)):
        raise contradictory_size(what)
    return image


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return at_gzip(file)


def _check_nifti_orientation(header: NiftiHeader, what: str) -> None:
    """Refuse a NIfTI header whose orientation is missing, sheared or contradictory."""
    for matrix in (header.qform, header.sform):
        if matrix is not None and not (np.isfinite(matrix).all() and matrix[:3, :3].any(axis=0).all()):
            raise damaged(what)
    if header.qform is None and header.sform is None:
        raise without_orientation(what)
    if header.sform is None:
        return
    if header.sform_is_template:
        if _point_elsewhere(header.qform[:3, :3], header.sform[:3, :3]):
            raise contradictory_places(what)
        return
    if not perpendicular(header.sform[:3, :3]):
        raise sheared(what)
    if header.qform is None:
        return
    sizes = [np.linalg.norm(matrix[:3, :3], axis=0) for matrix in (header.qform, header.sform)]
    if not np.allclose(*sizes, rtol=VOXEL_SIZE_TOLERANCE, atol=0):
        raise contradictory_size(what)
    cosines = (header.qform * header.sform)[:3, :3].sum(axis=0) / (sizes[0] * sizes[1])
    apart = np.abs((header.qform - header.sform) @ _corners(header.size)).max()
    if cosines.min() < np.cos(np.radians(TURN_TOLERANCE)) or apart > PLACE_TOLERANCE:
        raise contradictory_places(what)


def _point_elsewhere(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether an axis (column of 3×3) of `b` points elsewhere than that of `a`, or one of the two is mirrored: then it
    depends on the program where left is. No template asks that of a patient in a scanner."""
    cosines = (a * b).sum(axis=0) / (np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0))
    return bool(cosines.min() < np.cos(np.radians(TEMPLATE_TURN))) or np.linalg.det(a) * np.linalg.det(b) <= 0


def _corners(size: tuple[int, ...]) -> np.ndarray:
    """The eight corners of an image in voxels, as columns (i, j, k, 1)."""
    return np.array(np.meshgrid(*[(0, count) for count in size], [1.0])).reshape(4, -1)
