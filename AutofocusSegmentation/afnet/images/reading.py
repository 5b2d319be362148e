"""From a file or a DICOM folder to one sound SimpleITK image, or a sentence that says what is wrong with it.

An image that passes is 3-D and scalar, has at least two slices along each axis, orthonormal axes and no NaN. Its
geometry is ITK's: positions in LPS, mm. Nothing is reoriented or resampled here.

The sentences name the image by the caller's word for it, never by path, file name or DICOM tag: these carry names of
patients, and the sentences end up in logs.
"""

import os
import warnings
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, RequestError
from .compressed_stream import at_gzip
from .dicom_reading import read_dicom_folder
from .geometry import check_geometry, index_to_lps, perpendicular
from .itk_reading import first_bytes, opening, read_with_itk
from .metaimage_header import check_metaimage
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

GEOMETRY_TOLERANCE = 0.1
"""Largest difference, in voxels at a corner, between the position ITK took from a NIfTI file and the file's own."""

VOXEL_SIZE_TOLERANCE = 0.01
"""Largest relative difference between the voxel sizes that a NIfTI file's qform and sform state."""

TURN_TOLERANCE, PLACE_TOLERANCE = 3.0, 5.0
"""Largest differences between a NIfTI file's qform and sform: the angle of an axis in degrees, a corner's place in mm.

Rounding makes 0.01 mm of it, and programs that write both write one pose. A contour would be seen to lie wrong in a
program that believes the other matrix beyond a few mm.
"""

TEMPLATE_TURN = 45.0
"""Largest angle, in degrees, between an axis of the qform and of an sform that leads to a template."""

NIFTI_SUFFIXES = (".nii", ".nii.gz")
IMAGE_SUFFIXES = (*NIFTI_SUFFIXES, ".nrrd", ".nhdr", ".mha", ".mhd")
"""Endings, in lower case, of the files that are read; a folder is read as DICOM."""

_IO = {".nii": "NiftiImageIO", ".nii.gz": "NiftiImageIO", ".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO",
       ".mha": "MetaImageIO", ".mhd": "MetaImageIO"}


def read_image(path: str | os.PathLike, what: str = "The image", modality: str = "") -> sitk.Image:
    """Read a scan: a NIfTI, NRRD or MetaImage file, or a folder with one DICOM series.

    Returns a 3-D scalar image in its own integer type, or float32; DICOM and NIfTI rescaling is applied (CT in HU).
    `what` is the subject of the sentences in errors, for instance "The T2 image". `modality`: what a DICOM series must
    be of ('CT', 'MR'), where it says so.

    Raises RequestError if there is no such file or it is of another kind, InputError if the image cannot be used:
    damaged, NaN, constant, one slice, more than one volume or channel, tilted or uneven slices, several series.
    """
    image = _read(Path(path), what, modality)
    check_geometry(image, what)
    return _check_values(image, what)


def read_labelmap(path: str | os.PathLike, what: str = "The label map") -> sitk.Image:
    """Read a label map: one integer code per voxel, which may be the same everywhere. Errors as `read_image`."""
    if os.path.isdir(path):
        raise RequestError(f"{what} is a folder; give the file of a label map, or a .seg.nrrd file.")
    image = _read(Path(path), what)
    check_geometry(image, what)
    if "float" in image.GetPixelIDTypeAsString():
        values = sitk.GetArrayViewFromImage(image)
        if not np.isfinite(values).all() or (values != np.rint(values)).any() or abs(values).max() >= 2**31:
            raise InputError(
                f"{what} holds values that are not whole numbers; give a label map, one code per voxel."
            )
        image = sitk.Cast(image, sitk.sitkInt32)
    return image


def describe_grid(image: sitk.Image) -> dict:
    """Grid of an image for the report: size in voxels, spacing and origin in mm, direction (row by row), all LPS."""
    return {
        "size": list(image.GetSize()),
        "spacing_mm": [round(value, 6) for value in image.GetSpacing()],
        "origin_mm": [round(value, 4) for value in image.GetOrigin()],
        "direction": [round(value, 6) for value in image.GetDirection()],
    }


def image_suffix(path: Path) -> str | None:
    """The ending of `path` among IMAGE_SUFFIXES, or None."""
    name = path.name.lower()
    return max((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), key=len, default=None)


def _read(path: Path, what: str, modality: str = "") -> sitk.Image:
    start = first_bytes(path, what)
    if start is None:
        with opening(what):
            return read_dicom_folder(path, what, modality)
    if start[128:132] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom", ".ima"):
        raise RequestError(
            f"{what} is a single DICOM file; give the folder that holds the whole series instead."
        )
    suffix = image_suffix(path)
    if suffix is None:
        raise RequestError(
            f"{what} is of an unknown kind; give a NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr) or MetaImage "
            "(.mha, .mhd) file, or a DICOM folder."
        )
    if not start:
        raise InputError(f"{what} is an empty file; copy or export it again.")
    if suffix in NIFTI_SUFFIXES:
        return _read_nifti(path, what)
    if suffix in (".mha", ".mhd"):
        check_metaimage(path, what)
    return _read_volume(path, what, _IO[suffix])


def _read_volume(path: Path, what: str, io: str) -> sitk.Image:
    """Read a file unless its header is not that of one scalar volume."""
    image, _ = read_with_itk(path, what, io, lambda reader: _check_kind(reader, what))
    return image[:, :, :, 0] if image.GetDimension() == 4 else image


def _check_kind(reader: sitk.ImageFileReader, what: str) -> None:
    if "Segment0_ID" in reader.GetMetaDataKeys():
        raise RequestError(
            f"{what} is a segmentation; where a scan is wanted, give the one that it was drawn on, where a "
            "segmentation is, give the file the ending .seg.nrrd."
        )
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise InputError(f"{what} holds complex numbers; save the magnitude image.")
    if reader.GetNumberOfComponents() > 1:
        raise InputError(
            f"{what} has {reader.GetNumberOfComponents()} values per voxel (colour, vector or several "
            "volumes); save one scalar volume of it."
        )
    size = reader.GetSize()
    if len(size) < 3:
        raise InputError(f"{what} is a single 2-D picture; give the whole volume.")
    if len(size) > 4 or any(count > 1 for count in size[3:]):
        raise InputError(
            f"{what} has {len(size)} dimensions (a series of volumes); save one of its volumes alone."
        )


def _read_nifti(path: Path, what: str) -> sitk.Image:
    suffix = image_suffix(path)
    if not path.name.endswith((suffix, suffix.upper())):  # ITK knows no other way to write it
        raise InputError(f"{what} has an ending with capital letters among small ones; rename it to {suffix}.")
    try:
        header = read_nifti_header(path)
    except ValueError:
        raise InputError(
            f"{what} is no readable NIfTI file (damaged, NIfTI-2, or a pair of header and data); save it as NIfTI-1 or "
            "NRRD."
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
    image = _read_volume(path, what, "NiftiImageIO")
    if not _matches(image, header):
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


def _matches(image: sitk.Image, header: NiftiHeader) -> bool:
    """Whether ITK put the image's corners where one of the header's matrices puts them."""
    corners = _corners(image.GetSize())
    taken = index_to_lps(image) @ corners
    tolerance = GEOMETRY_TOLERANCE * min(image.GetSpacing())
    return any(
        matrix is not None and np.abs(matrix @ corners - taken).max() <= tolerance
        for matrix in (header.qform, header.sform)
    )


def _check_values(image: sitk.Image, what: str) -> sitk.Image:
    """Return the image with its values checked; float64 becomes float32."""
    values = sitk.GetArrayViewFromImage(image)
    if values.dtype.kind == "f":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # values beyond float32 become infinite: counted
            values = values.astype(np.float32, copy=False)
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            raise not_finite(bad, what)
    lowest = values.min()
    if lowest == values.max():
        raise InputError(
            f"{what} has the same value ({float(lowest):g}) everywhere; choose the volume with the scan."
        )
    return sitk.Cast(image, sitk.sitkFloat32) if image.GetPixelID() == sitk.sitkFloat64 else image
