"""Output volumes and segmentations, which appear complete or not at all (atomic_file.py), and whether they can."""

import contextlib
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..atomic_file import atomic, refusal
from ..errors import RequestError, is_out_of_memory
from ..images.native_stderr import native_stderr_closed
from ..images.nifti_header import Truncated, read_nifti_header
from ..images.refusals import check_name
from ..json_documents import Report
from ..models.manifest import Manifest, Structure
from .segmentation_file import SEGMENTATION_SUFFIX, masks_image, segmentation_image

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
"""Endings, in lower case, that label maps and other volumes may be written with: the formats of one file."""


def check_writable(path: str | os.PathLike, suffixes: tuple[str, ...] = (), what: str = "The output") -> None:
    """Raise RequestError now if `path` could not be written later: folder, permission, ending (if `suffixes`)."""
    check_name(Path(path), what)
    path = Path(os.path.realpath(path))
    name = path.name.lower()
    if suffixes and name in suffixes:
        raise RequestError(f"{what} needs a name before its ending {name}; rename it.")
    if suffixes and not name.endswith(suffixes):
        raise RequestError(f"{what} needs a name that ends in {' or '.join(suffixes)}; rename it.")
    if suffixes and SEGMENTATION_SUFFIX not in suffixes and name.endswith(SEGMENTATION_SUFFIX):
        raise RequestError(f"{what} must not end in {SEGMENTATION_SUFFIX}, which is for segmentations; rename it.")
    probe = path.with_name(f".partial-{secrets.token_hex(4)}")
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(path.stat().st_mode):
                raise RequestError(f"{what} has the name of a folder or a device; give the name of a file.")
            if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
                raise RequestError(f"{what} would replace a write-protected file; choose another name.")
        with probe.open("xb"):
            pass
        probe.unlink()
    except OSError as error:
        raise refusal(error, what) from None


def check_folder(folder: Path, what: str) -> None:
    """Raise RequestError now if files could not be written later to `folder`, which need not exist yet."""
    folder = folder.absolute()
    check_name(folder, what)
    existing = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not os.path.isdir(existing):
        verb = "need" if what.endswith("s") else "needs"
        raise RequestError(
            f"{what} {verb} a folder, and its name is that of a file or of a broken link; choose another name."
        )
    check_writable(existing / "file", what=what)


def write_segmentation(
    path: str | os.PathLike, labelmap: sitk.Image, manifest: Manifest, report: Report | None = None
) -> None:
    """Write the model's structures as a Slicer segmentation (.seg.nrrd) on the grid of `labelmap`.

    `labelmap`: 3-D, integer codes of the manifest. `report`: as report.json; its entries of structures add the tags
    EDGE_TAG and LEFT_OUT_TAG. Raises RequestError if the file cannot be written.
    """
    write_volume(path, segmentation_image(labelmap, manifest, report), "The segmentation")


def write_masks(
    path: str | os.PathLike, masks: dict[str, np.ndarray], structures: Sequence[Structure], grid: sitk.Image,
    manifest: Manifest,
) -> None:
    """Write masks by structure id, on `grid`, as a Slicer segmentation. Raises RequestError."""
    write_volume(path, masks_image(masks, structures, grid, manifest), "The segmentation")


def write_volume(path: str | os.PathLike, image: sitk.Image, what: str = "The volume") -> None:
    """Write a volume (.nii, .nii.gz, .nrrd, .mha) with its geometry (LPS, mm), compressed where the format can.

    Raises RequestError about `what`.
    """
    with atomic(path, what) as partial:
        if not partial.name.endswith(VOLUME_SUFFIXES):
            raise RequestError(f"{what} needs a name that ends in {' or '.join(VOLUME_SUFFIXES)}; rename it.")
        with partial.open("wb"):  # an OSError that says why, where ITK would say nothing
            pass
        with native_stderr_closed():
            complete = _written(partial, image)
        if not complete:
            _write_zeros(partial, sitk.GetArrayViewFromImage(image).nbytes)
            raise RequestError(
                f"{what} could not be written completely; check the free space and the permissions of its "
                "folder."
            )


def _written(partial: Path, image: sitk.Image) -> bool:
    """Write and read back: ITK reports a full disk for some formats only."""
    name = _name_for_itk(partial)
    try:
        sitk.WriteImage(image, name, True)
        if partial.name.endswith((".nii", ".nii.gz")):
            read_nifti_header(partial)  # ITK would fill what is missing with zeros
        copy = sitk.ReadImage(name)
    except (RuntimeError, Truncated, ValueError) as error:
        if is_out_of_memory(error):  # which no other disk would mend
            raise
        return False
    read, array = sitk.GetArrayViewFromImage(copy), sitk.GetArrayViewFromImage(image)
    return np.array_equal(read, array, equal_nan=array.dtype.kind == "f")  # needless memory for whole numbers


def _name_for_itk(file: Path) -> str:
    """Return the bare name of a file in the working directory, where the job folder is: on Windows ITK opens no file
    by a path with letters that the system's code page lacks, as a user's name may have them."""
    return file.name if os.path.samefile(file.parent, os.curdir) else str(file)


def _write_zeros(partial: Path, count: int) -> None:
    """Write `count` bytes in ITK's stead, so that the operating system says (OSError) what ITK does not."""
    with partial.open("wb") as file:
        for _ in range(count // 2**20 + 1):
            file.write(bytes(2**20))
        file.flush()
        os.fsync(file.fileno())
