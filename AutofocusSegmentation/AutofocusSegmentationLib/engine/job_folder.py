"""The job folder: where one run's volumes, results and report lie, for as long as the run lasts.

It is made under Slicer's temporary folder, readable by its owner alone, with an ASCII name, and goes at the
end however the run ends. What a crash leaves behind goes when the next job starts, never while the process
that made it lives: that may be another Slicer. Pure Python: no slicer, qt, vtk.
"""

import json
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
import time
from pathlib import Path

from afnet.process.identity import process_start, this_process
from afnet.process.parent import JOB_MARKER

WHERE_TO_CHOOSE = "Edit > Application Settings > Modules"
"""Page of Slicer's settings with its temporary folder."""

_NAME = re.compile(r"afnet-job-(?P<pid>\d{1,10})-(?P<start>[0-9A-Za-z.]*)-[^-]+")
_RESERVE_BYTES = 200 * 1024**2
"""Free space that is left to everybody else."""

_ABANDONED_S = 7 * 24 * 3600
"""Age at which a folder of another computer, or of this one under an earlier name, is a leftover."""

_REMOVAL_PAUSES_S = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Windows refuses to delete files that a virus scanner or a process that is just ending still holds."""


class JobError(Exception):
    """The job folder cannot be made; the text is one sentence on what is wrong and what to do."""


class JobFolder:
    """A folder for one run, between `create()` and `remove()`.

    `parent` is the temporary folder (`slicer.app.temporaryPath`); it is made if missing. `needed_bytes` is
    what the run will write. Leftovers of dead processes in `parent` are removed first.
    """

    def __init__(self, parent: str | os.PathLike, needed_bytes: int = 0) -> None:
        self._parent = Path(parent)
        self._needed_bytes = needed_bytes
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """The folder; it exists between `create()` and `remove()`."""
        if self._path is None:
            raise RuntimeError("The job folder has not been created.")
        return self._path

    def create(self) -> Path:
        """Make the folder and return it. Raises JobError if the disk is full or not writable."""
        try:
            self._parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self._parent)
            self._check_free_disk()
            owner = this_process()
            prefix = f"afnet-job-{owner['pid']}-{owner['started'] or ''}-"
            # mkdtemp: mode 0700, and a name that nobody can take first
            path = Path(tempfile.mkdtemp(prefix=prefix, dir=self._parent)).resolve()
            self._path = path
            (path / JOB_MARKER).write_text(json.dumps(owner), encoding="ascii")
        except OSError as error:
            self.remove()
            reason = error.strerror or type(error).__name__
            raise JobError(
                f"The temporary folder {self._parent} cannot be used ({reason}): choose another one in "
                f"{WHERE_TO_CHOOSE}."
            ) from error
        return path

    def remove(self) -> bool:
        """Remove the folder with all it holds; True if it is gone. Never raises; may be called twice.

        Waits up to 0.75 s for files that another process is letting go of. What cannot be removed is
        released: it goes when a later job starts.
        """
        if self._path is None:
            return True
        return _remove(self._path)

    def _check_free_disk(self) -> None:
        free = shutil.disk_usage(self._parent).free
        if free < self._needed_bytes + _RESERVE_BYTES:
            raise JobError(
                f"There is not enough free disk space in {self._parent}: the segmentation needs "
                f"{_megabytes(self._needed_bytes + _RESERVE_BYTES)} and {_megabytes(free)} are free; "
                f"delete files, or choose another temporary folder in {WHERE_TO_CHOOSE}."
            )


def remove_leftovers(parent: str | os.PathLike) -> list[Path]:
    """Remove the job folders in `parent` whose process is gone; return those that were removed.

    A folder stays if its process lives (same number and same start time), belongs to another user, is no job
    folder by its name, or was made in the last week on another computer that shares the disk.
    """
    try:
        entries = [entry for entry in os.scandir(parent) if _NAME.fullmatch(entry.name)]
    except OSError:
        return []
    return [Path(entry.path) for entry in entries if _is_leftover(entry) and _remove(Path(entry.path))]


def _is_leftover(entry: os.DirEntry) -> bool:
    try:
        if not entry.is_dir(follow_symlinks=False) or _is_foreign(entry):
            return False
        age_s = time.time() - entry.stat(follow_symlinks=False).st_mtime
    except OSError:
        return False
    folder, name = Path(entry.path), _NAME.fullmatch(entry.name)
    owner = _read_owner(folder)
    if owner.get("host", socket.gethostname()) != socket.gethostname():
        return age_s > _ABANDONED_S
    if owner.get("released"):
        return True
    living_start = process_start(int(name["pid"]))
    if living_start is None:
        return True
    # A process with this number lives. Only if both start times are known and differ is it another one.
    return bool(living_start and name["start"] and living_start != name["start"])


def _is_foreign(entry: os.DirEntry) -> bool:
    """True if the folder belongs to another user of a shared temporary folder."""
    return hasattr(os, "getuid") and entry.stat(follow_symlinks=False).st_uid != os.getuid()


def _read_owner(folder: Path) -> dict:
    """Return the owner file, {} if it is missing or damaged: the folder's name says the same."""
    try:
        owner = json.loads((folder / JOB_MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _remove(folder: Path) -> bool:
    for pause in _REMOVAL_PAUSES_S:
        time.sleep(pause)
        if not os.path.lexists(folder):
            return True
        _remove_tree(folder)
    if not os.path.lexists(folder):
        return True
    _release(folder)
    return False


def _remove_tree(folder: Path) -> None:
    """Remove what can be removed; links are removed, not followed."""
    if sys.version_info >= (3, 12):
        shutil.rmtree(folder, onexc=lambda function, path, _: _retry_writable(function, path))
    else:
        shutil.rmtree(folder, onerror=lambda function, path, _: _retry_writable(function, path))


def _retry_writable(function, path: str) -> None:
    """Make a read-only entry, and the folder it lies in, writable and try once more."""
    if function not in (os.unlink, os.remove, os.rmdir):
        return
    try:
        if not os.path.islink(path):
            os.chmod(path, stat.S_IRWXU)
        function(path)
    except OSError:
        pass


def _release(folder: Path) -> None:
    try:
        owner = {**_read_owner(folder), "released": True}
        (folder / JOB_MARKER).write_text(json.dumps(owner), encoding="ascii")
    except OSError:
        pass


def _megabytes(count: int) -> str:
    return f"{count / 1024**2:,.0f} MB"
