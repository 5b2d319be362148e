"""Exported files appear complete or not at all: written into a folder beside their place, then moved."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from slicer.i18n import tr as _

from afnet.atomic_file import FULL, rename

_RESERVE_BYTES = 20 * 1024**2
"""Free space that is left to everybody else."""

_LONGEST_BYTES = 120
"""Of a file's name before its suffix, in UTF-8: encrypted file systems allow 143 in all, others 255."""

_NOT_IN_NAMES = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')
"""What Windows does not allow in a file's name; a disk may be read there later."""


_ENDINGS = re.compile(r"(\.(nii|gz|img|hdr|seg|nrrd|nhdr|mha|mhd|stl|dcm|tsv)[ .]*)+$", re.IGNORECASE)
"""What a user may have written behind the name, which gets its ending from the format: ITK takes the first it finds for
the format, so that nothing was written to 'case.nii.nii.gz' or 'case.img.nii.gz'."""


_DEVICES = re.compile(r"^(con|prn|aux|nul|(com|lpt)[0-9])(?=\.|$)", re.IGNORECASE)
"""Beginnings of names that are no files on Windows."""


class ExportFailed(Exception):
    """Nothing was exported; the text is one sentence that says why and what to do."""


def file_name(text: str, ending: str = "") -> str:
    """Return a text as the first part of a file's name, without endings of images and surfaces; 'segmentation' if
    nothing is left of it.

    ending: what must not be cut off where the text is long, as '-' and the name of a structure.
    """
    end = _cut(_ENDINGS.sub("", _NOT_IN_NAMES.sub("-", ending)).rstrip(" .-"), _LONGEST_BYTES // 2)
    start = _ENDINGS.sub("", _NOT_IN_NAMES.sub("-", text).rstrip(" .-")).strip(" .-") or "segmentation"
    return _DEVICES.sub(r"\1-", _cut(start, _LONGEST_BYTES - len(end.encode("utf-8"))) + end, count=1)


def _cut(text: str, length: int) -> str:
    """Return as much of a text as fits into so many bytes of UTF-8."""
    return text.encode("utf-8")[:length].decode("utf-8", "ignore").rstrip(" .-")


@contextlib.contextmanager
def appearing_in(folder: Path, names: list[str], needed_bytes: int = 0) -> Iterator[Path]:
    """Give an empty folder to write `names` (files or folders) into; they move to `folder` if the block ends well.

    Nothing is overwritten. Raises ExportFailed if `folder` is missing, not writable or full, if one of the names is
    there already or was not written; what was written is then removed.
    """
    folder = Path(folder)
    _refuse_folder(folder, names)
    try:
        if shutil.disk_usage(folder).free < needed_bytes + _RESERVE_BYTES:
            raise _full(folder)
        # Not mkdtemp: on Windows what moves out of its folder stays closed to everybody else.
        working = folder / f".partial-{secrets.token_hex(4)}"
        working.mkdir()
    except OSError as error:
        raise _failed(folder, error) from None
    moved: list[Path] = []
    try:
        yield working
        if not all((working / name).exists() for name in names):
            raise incomplete(folder)
        for name in names:
            rename(working / name, folder / name)
            moved.append(folder / name)
    except BaseException as error:
        for path in moved:
            _remove(path)
        if isinstance(error, OSError):
            raise _failed(folder, error) from None
        raise
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _refuse_folder(folder: Path, names: list[str]) -> None:
    """Raise ExportFailed if a folder is missing or already has one of the names."""
    try:
        exists = folder.is_dir()
    except OSError as error:  # it lies in a folder that is closed to this user
        raise _failed(folder, error) from None
    if not exists:
        raise ExportFailed(_("The folder {folder} does not exist: choose another one.").format(folder=folder))
    for name in names:
        if os.path.lexists(folder / name):
            raise ExportFailed(
                _("{name} is already in {folder}, and nothing was written: change the name or the folder, or delete "
                  "the file.").format(name=name, folder=folder))


def incomplete(folder: Path) -> ExportFailed:
    """What to raise when a writer of Slicer's fails, which does not say why: mostly a full disk."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(folder).free >= _RESERVE_BYTES:
            return ExportFailed(
                _("The files could not be written completely although the disk of {folder} has room, and nothing was "
                  "left behind: change the name or choose another folder, and see View > Error "
                  "Log.").format(folder=folder))
    return _full(folder)


def _full(folder: Path) -> ExportFailed:
    return ExportFailed(
        _("The files could not be written completely, and nothing was left behind: free some space on the disk of "
          "{folder}, or choose another folder.").format(folder=folder))


def _failed(folder: Path, error: OSError) -> ExportFailed:
    if error.errno in FULL:
        return _full(folder)
    reason = error.strerror or type(error).__name__
    return ExportFailed(
        _("Nothing can be written into {folder} ({reason}): choose another folder.").format(
            folder=folder, reason=reason))


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
