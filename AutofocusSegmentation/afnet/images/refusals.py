"""The errors for images that cannot be used, for the caller to raise; `what` is the subject of each sentence. First two
checks that raise them."""

import stat
from pathlib import Path

from ..errors import InputError, OutOfMemory, RequestError


def check_name(path: Path, what: str) -> None:
    """Raise RequestError for a path that is no UTF-8: ITK ends the process on one."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise RequestError(
            f"{what} has characters in its path or name that are not UTF-8; rename it, or copy it to a folder with a "
            "plain name."
        ) from None


def check_data_file(file: Path, what: str) -> None:
    """Raise InputError for what a header names as its file of data, if it is none: a pipe would be waited for, and a
    device never ends. Raises OSError where there is nothing."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise without_data_file(what)


def without_data_file(what: str) -> InputError:
    """The header names something as its file of data that is none."""
    return InputError(
        f"{what} has a header whose data are said to be in a pipe, a device or a folder; correct it, or export it "
        "again."
    )


def several_files(what: str) -> InputError:
    """The header names several files of data."""
    return InputError(f"{what} is spread over several files; save it as one .mha or .nrrd file.")


def too_long(surplus: int, fields: str, what: str) -> InputError:
    """More data than the header says are there, which may be a header that lies before the voxels."""
    return InputError(
        f"{what} has {surplus} bytes of data more than its header says ({fields}), so it is unknown which are the "
        "voxels; correct the header, or export it again."
    )


def without_room(what: str) -> OutOfMemory:
    """The image is larger than the memory."""
    return OutOfMemory(f"{what} does not fit into memory; crop it or use a machine with more memory.")


def damaged(what: str) -> InputError:
    """The file is cut short, or its parts do not fit together."""
    return InputError(
        f"{what} is damaged or incomplete (data is missing or unreadable); copy or export it again."
    )


def without_voxels(what: str) -> InputError:
    """A side of the image has a length of 0 voxels."""
    return InputError(f"{what} holds no voxels; copy or export it again.")


def not_finite(count: int, what: str) -> InputError:
    """`count` voxels are no numbers."""
    return InputError(
        f"{what} has {count} voxels without a valid number (NaN or infinite); replace them by the background "
        "value or export it again."
    )


def without_orientation(what: str) -> InputError:
    """The header names no patient axes."""
    return InputError(
        f"{what} does not state the patient orientation, so left and right cannot be distinguished; export it again "
        "with its orientation (NIfTI: qform or sform; NRRD: space and space directions; MetaImage: TransformMatrix)."
    )


def without_spacing(what: str) -> InputError:
    """The header states no voxel size in mm."""
    return InputError(f"{what} does not state its voxel size (MetaImage: ElementSpacing); export it again with it.")


def in_another_unit(what: str) -> InputError:
    """The header's lengths are not in mm."""
    return InputError(f"{what} states its lengths in another unit than mm; export it again in mm.")


def impossible_voxel_size(size: float, what: str) -> InputError:
    """The header states a voxel `size` in mm that no scan has."""
    return InputError(
        f"{what} states a voxel size of {size:g} mm, which cannot be right; correct its spacing or export it again."
    )


def contradictory_size(what: str) -> InputError:
    """Voxel size and orientation matrix of a header state different lengths."""
    return InputError(
        f"{what} states a voxel size that contradicts its orientation matrix; export it again from the program "
        "in which it looks right."
    )


def contradictory_places(what: str) -> InputError:
    """The two matrices of a NIfTI header put the patient at different places."""
    return InputError(
        f"{what} states two contradictory positions or orientations (qform and sform); export it again from the "
        "program in which it looks right."
    )


def foreign_values(what: str, model: str) -> RequestError:
    """A label map is none of the model of that id: a scan, or one in other codes."""
    return RequestError(f"{what} holds values that are not codes of the model {model}; give a label map in its codes.")


def foreign_code(code: int, what: str, model: str, instead: str) -> RequestError:
    """A label map has a code that the model of that id lacks; `instead`: what else than recoding it would help."""
    return RequestError(
        f"{what} holds the code {code}, which the model {model} does not have; recode it, or {instead}."
    )


def sheared(what: str) -> InputError:
    """The voxel axes are not perpendicular."""
    return InputError(
        f"{what} has voxel axes that are not perpendicular (sheared, as from a tilted gantry); resample it "
        "to a rectangular grid first, in Slicer with the module Resample Scalar/Vector/DWI Volume or by hardening the "
        "transform that the DICOM import made."
    )
