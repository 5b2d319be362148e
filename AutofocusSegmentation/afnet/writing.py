"""Output files that appear complete or not at all: written beside their place under another name, then renamed."""

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import RequestError
from .manifest import Manifest
from .native_stderr import native_stderr_closed
from .nifti_header import Truncated, read_nifti_header
from .parent import forget_partial, register_partial
from .segmentation_file import SEGMENTATION_SUFFIX, segmentation_image

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
"""Endings, in lower case, that label maps and other volumes may be written with: the formats of one file."""

_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def atomic(path: str | os.PathLike, what: str = "The output") -> Iterator[Path]:
    """Give a path beside `path` to write to, with its ending; it takes the name `path` if the block ends well.

    If the block raises, or the run is cancelled meanwhile, the half-written file is deleted and what `path` held
    before is still there. An OSError becomes a RequestError that says what to do; `what` is its subject.
    """
    path = Path(os.path.realpath(path))  # a link stays a link
    partial = path.with_name(f".partial-{secrets.token_hex(4)}{_suffix(path)}")
    register_partial(partial)
    try:
        try:
            yield partial
            _flush(partial)
            os.replace(partial, path)
            _flush_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()
            forget_partial(partial)
    except OSError as error:
        raise _refusal(error, what) from None


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike, what: str = "The output") -> Iterator[Path]:
    """Give a new folder beside `path` to fill; it takes the name `path` if the block ends well, else it is deleted.

    Raises RequestError if `path` exists and is not an empty folder, or cannot be written.
    """
    path = Path(os.path.realpath(path))
    partial = path.with_name(f".partial-{secrets.token_hex(4)}")
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RequestError(f"{what} would replace {path}, which is not empty; choose a new folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.mkdir()
            yield partial
            if path.exists():
                path.rmdir()
            partial.rename(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise _refusal(error, what) from None


def check_writable(path: str | os.PathLike, suffixes: tuple[str, ...] = (), what: str = "The output") -> None:
    """Raise RequestError now if `path` could not be written later: folder, permission, ending (if `suffixes`)."""
    path = Path(os.path.realpath(path))
    name = path.name.lower()
    if suffixes and not name.endswith(suffixes):
        raise RequestError(f"{what} needs a name that ends in {' or '.join(suffixes)}; rename it.")
    if suffixes and SEGMENTATION_SUFFIX not in suffixes and name.endswith(SEGMENTATION_SUFFIX):
        raise RequestError(f"{what} may not end in {SEGMENTATION_SUFFIX}, which is for segmentations; rename it.")
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
        raise _refusal(error, what) from None


def write_segmentation(
    path: str | os.PathLike, labelmap: sitk.Image, manifest: Manifest, report: dict | None = None
) -> None:
    """Write the model's structures as a Slicer segmentation (.seg.nrrd) on the grid of `labelmap`.

    `labelmap`: 3-D, integer codes of the manifest. `report`: as report.json; its entries of structures add the tag
    AutofocusSegmentation.TouchesEdge. Raises RequestError if the file cannot be written.
    """
    _write_image(path, segmentation_image(labelmap, manifest, report), True, "The segmentation")


def write_labelmap(path: str | os.PathLike, image: sitk.Image) -> None:
    """Write a label map, compressed where the format can. Raises RequestError."""
    _write_image(path, image, True, "The label map")


def write_volume(path: str | os.PathLike, image: sitk.Image, compress: bool = False) -> None:
    """Write a volume (.nii, .nii.gz, .nrrd, .mha) with its geometry (LPS, mm). Raises RequestError."""
    _write_image(path, image, compress, "The volume")


def write_json(path: str | os.PathLike, content: dict | list) -> None:
    """Write `content` as JSON (UTF-8). Raises RequestError; ValueError for NaN, which JSON does not know."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic(path, "The report") as partial:
        partial.write_text(text, encoding="utf-8")


def _write_image(path: str | os.PathLike, image: sitk.Image, compress: bool, what: str) -> None:
    with atomic(path, what) as partial:
        if not partial.name.endswith(VOLUME_SUFFIXES):
            raise RequestError(f"{what} needs a name that ends in {' or '.join(VOLUME_SUFFIXES)}; rename it.")
        with partial.open("wb"):  # an OSError that says why, where ITK would say nothing
            pass
        with native_stderr_closed():
            complete = _written(partial, image, compress)
        if not complete:
            _write_zeros(partial, sitk.GetArrayViewFromImage(image).nbytes)
            raise RequestError(
                f"{what} could not be written completely; check the free space and the permissions of its "
                "folder."
            )


def _written(partial: Path, image: sitk.Image, compress: bool) -> bool:
    """Write and read back: ITK reports a full disk for some formats only."""
    try:
        sitk.WriteImage(image, str(partial), compress)
        if partial.name.endswith((".nii", ".nii.gz")):
            read_nifti_header(partial)  # ITK would fill what is missing with zeros
        copy = sitk.ReadImage(str(partial))
    except (RuntimeError, Truncated, ValueError):
        return False
    return np.array_equal(sitk.GetArrayViewFromImage(copy), sitk.GetArrayViewFromImage(image), equal_nan=True)


def _write_zeros(partial: Path, count: int) -> None:
    """Write `count` bytes in ITK's stead, so that the operating system says (OSError) what ITK does not."""
    with partial.open("wb") as file:
        for _ in range(count // 2**20 + 1):
            file.write(bytes(2**20))
        file.flush()
        os.fsync(file.fileno())


def _refusal(error: OSError, what: str) -> RequestError:
    if error.errno in _FULL:
        return RequestError(
            f"{what} could not be written: the disk is full; free some space or choose another folder."
        )
    if error.errno in _FORBIDDEN:
        return RequestError(
            f"{what} may not be written there; choose a folder of your own or change its permissions."
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return RequestError(f"{what} names a folder that does not exist; create it or choose another.")
    reason = os.strerror(error.errno) if error.errno else "unknown error"
    return RequestError(f"{what} could not be written ({reason}); choose another folder or disk.")


def _flush(file: Path) -> None:
    """Bring the file's content to the disk before its name changes, so that a crash leaves no empty file."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    """Bring the new name to the disk, where folders can be opened (not on Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()
