"""From a file or a DICOM folder to one sound SimpleITK image, or a sentence that says what is wrong with it.

An image that passes is 3-D and scalar, has at least two slices along each axis, orthonormal axes and no NaN. Its
geometry is ITK's: positions in LPS, mm. Nothing is reoriented or resampled here.

The sentences name the image by the caller's word for it, never by path, file name or DICOM tag: these carry names of
patients, and the sentences end up in logs.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, RequestError
from .dicom_reading import read_dicom_folder
from .geometry import check_geometry, lies_at
from .itk_reading import first_bytes, opening, read_volume
from .metaimage_header import check_metaimage
from .names import image_suffix
from .nifti_reading import read_nifti
from .refusals import damaged, not_finite


def read_image(
    path: str | os.PathLike, what: str = "The image", modality: str = "",
    tell: Callable[[str], object] = lambda text: None,
) -> sitk.Image:
    """Read a scan: a NIfTI, NRRD or MetaImage file, or a folder with one DICOM series.

    Returns a 3-D scalar image in its own integer type, or float32; DICOM and NIfTI rescaling is applied (CT in HU).
    `what` is the subject of the sentences in errors, for instance "The T2 image". `modality`: what a DICOM series must
    be of ('CT', 'MR'), where it says so. `tell` is given a sentence if localizers beside it are left out.

    Raises RequestError if there is no such file or it is of another kind, InputError if the image cannot be used:
    damaged, NaN, constant, one slice, more than one volume or channel, tilted or uneven slices, several series.
    """
    image = _read(Path(path), what, modality, tell)
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


def _read(
    path: Path, what: str, modality: str = "", tell: Callable[[str], object] = lambda text: None
) -> sitk.Image:
    start = first_bytes(path, what)
    if start is None:
        with opening(what):
            return read_dicom_folder(path, what, modality, tell)
    if start[128:132] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom", ".ima"):
        raise RequestError(
            f"{what} is a single DICOM file; give the folder that holds the whole series instead."
        )
    suffix = image_suffix(path)
    if path.name.lower().removesuffix(".gz").endswith((".hdr", ".img")):
        raise RequestError(
            f"{what} is one of a pair of files (.hdr and .img, as of Analyze), which is not read here; export the "
            "image as one file, .nii.gz or .nrrd."
        )
    if path.suffix.lower() in _ARCHIVES or path.name.lower().endswith(".tar.gz"):
        raise RequestError(f"{what} is an archive; unpack it and give the image or the DICOM folder in it.")
    if suffix is None:
        raise RequestError(
            f"{what} is of an unknown kind; give a NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr) or MetaImage "
            "(.mha, .mhd) file, or a DICOM folder."
        )
    if not start:
        raise InputError(f"{what} is an empty file; copy or export it again.")
    return _READERS[suffix](path, what)


def _read_nrrd(path: Path, what: str) -> sitk.Image:
    return read_volume(path, what, "NrrdImageIO")


def _read_metaimage(path: Path, what: str) -> sitk.Image:
    stated = check_metaimage(path, what)
    image = read_volume(path, what, "MetaImageIO")
    if not lies_at(image, stated):
        raise damaged(what)
    return image


_ARCHIVES = {".zip", ".tar", ".tgz", ".bz2", ".xz", ".7z", ".rar"}

_READERS = {
    ".nii": read_nifti, ".nii.gz": read_nifti, ".nrrd": _read_nrrd, ".nhdr": _read_nrrd, ".mha": _read_metaimage,
    ".mhd": _read_metaimage,
}


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
