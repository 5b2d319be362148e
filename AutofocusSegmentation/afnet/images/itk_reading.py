"""Opening an image file, and reading it with ITK: what goes wrong becomes one sentence."""

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK as sitk

from ..errors import InputError, RequestError, is_out_of_memory
from .geometry import lies_at
from .native_stderr import native_stderr_closed
from .nrrd_header import check_nrrd, check_where_data_are, unread_header
from .refusals import check_name, damaged, sheared, without_room


@contextmanager
def opening(what: str) -> Iterator[None]:
    """Turn what the operating system says about a file or folder that is opened meanwhile into a RequestError."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise RequestError(f"{what} was not found; check the path.") from None
    except PermissionError:
        raise RequestError(
            f"{what} cannot be opened (no permission); change its permissions or copy it to a folder of your own."
        ) from None
    except (OSError, ValueError):  # a name too long, a link to itself, or with a zero byte; a failing disk
        raise RequestError(f"{what} cannot be opened; check the path and the disk.") from None


def first_bytes(path: Path, what: str) -> bytes | None:
    """The first 132 bytes of a file; None for a folder. Raises RequestError for all else, and what cannot be opened."""
    with opening(what):
        mode = path.stat().st_mode
        check_name(path, what)
        if stat.S_ISDIR(mode):
            return None
        if not stat.S_ISREG(mode):  # a pipe would be waited for
            raise RequestError(f"{what} is neither a file nor a folder; give a file, or, for a scan, a DICOM folder.")
        with path.open("rb") as file:
            return file.read(132)


def read_with_itk(
    path: Path, what: str, io: str, check: Callable[[sitk.ImageFileReader], None] = lambda reader: None
) -> tuple[sitk.Image, dict[str, str]]:
    """Read a file's header, let `check` refuse it by that, then read its voxels; return them and the header's texts.

    `io`: ITK's class for the format. A NRRD file must say where the patient lies, and its data be whole. Raises
    InputError about `what`, OutOfMemory.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO(io)
    reader.SetFileName(str(path))
    nrrd, known, stated = io == "NrrdImageIO", False, None
    try:
        with native_stderr_closed():
            if nrrd:
                check_where_data_are(path, what)
            reader.ReadImageInformation()
            known = True
            check(reader)
            if nrrd:
                space = reader.GetMetaData("NRRD_space") if reader.HasMetaDataKey("NRRD_space") else ""
                stated = check_nrrd(path, space, what)
            image = reader.Execute()
    except (RuntimeError, MemoryError, OSError) as error:
        if is_out_of_memory(error):
            raise without_room(what) from None
        if "orthonormal" in str(error):
            raise sheared(what) from None
        raise (unread_header(path, what) if nrrd and not known else damaged(what)) from None
    if image.GetNumberOfComponentsPerPixel() == 1 and "vector" in image.GetPixelIDTypeAsString():
        image = sitk.VectorIndexSelectionCast(image, 0)  # an axis of one component, as NRRD can have
    if stated is not None and not lies_at(image, stated):
        raise damaged(what)
    keys = [key for key in reader.GetMetaDataKeys() if key.isascii()]  # SimpleITK does not take back one in Latin-1
    return image, {key: reader.GetMetaData(key) for key in keys}


def read_volume(path: Path, what: str, io: str) -> sitk.Image:
    """Read a file as `read_with_itk` does, unless its header is not that of one scalar volume."""
    image, _ = read_with_itk(path, what, io, lambda reader: _check_kind(reader, what))
    return image[:, :, :, 0] if image.GetDimension() == 4 else image


def _check_kind(reader: sitk.ImageFileReader, what: str) -> None:
    if "Segment0_ID" in reader.GetMetaDataKeys():
        raise RequestError(
            f"{what} is a segmentation; if a scan is wanted, give the one that it was drawn on; if a segmentation is, "
            "rename the file so that it ends in .seg.nrrd."
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
        raise InputError(f"{what} is a single 2-D image; give the whole volume.")
    if len(size) > 4 or any(count > 1 for count in size[3:]):
        raise InputError(
            f"{what} has {len(size)} dimensions (a series of volumes); save one of its volumes alone."
        )
