"""The child's side of the door to its parent (Slicer): when the parent goes or cancels, clean up and end.

The parent holds the write end of this process's standard input, and writes at most one line to it, FINISH_EARLY to
a training. End of file means one of two things, Cancel or a parent that died, and both are answered alike: the
half-written files are deleted, the job folder is removed, and the process ends with CANCELLED_EXIT_CODE, whatever
else it is doing. A training is asked more gently (finetuning/stopping.py).
That must work while torch is being imported, so this module imports only the standard library and
`watch()` is called before anything slow.

A launcher that does not hand its standard input on (see AutofocusSegmentationLib/engine/launcher.py) would hide the
parent's death. So the parent also names itself in the environment (`AFNET_OWNER_PID`), and the process is
watched too.
"""

import atexit
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

CANCELLED_EXIT_CODE = 130
"""Exit code of a cancelled run."""

FINISH_EARLY = "finish"
"""Line on standard input that ends a training after the present pass; scoring goes on as usual."""

JOB_MARKER = "afnet-job.json"
"""File that makes a folder a job folder. A folder without it is never removed: `--job-folder .` typed in the
wrong place must not cost anybody their data. Written by AutofocusSegmentationLib/engine/job_folder.py."""

OWNER_VARIABLE = "AFNET_OWNER_PID"
"""Environment variable with the process id of the parent; set by AutofocusSegmentationLib/engine/launcher.py."""

_OWNER_POLL_S = 1.0
_PIPE_POLL_S = 0.1
_REMOVAL_TRIES = 5

_partials: set[str] = set()
_partials_lock = threading.Lock()
_leave_lock = threading.RLock()  # a signal may come while its own thread leaves
_job_folder: Path | None = None


def watch(job_folder: str | os.PathLike | None = None) -> None:
    """Start watching the parent; returns at once. To be called once, before anything slow.

    `job_folder` is the folder of this run alone. It is resolved now, so a later change of directory does no
    harm, and it is removed on cancel only if it holds a `JOB_MARKER` file.
    """
    global _job_folder
    _job_folder = Path(os.path.realpath(job_folder)) if job_folder is not None else None
    # A main thread that ends because nobody reads its output any more must not cut the cleaning short.
    atexit.register(_let_leaving_finish)
    watch_for_end(leave)


def watch_for_end(on_end: Callable[[], object], heard: Callable[[bytes], None] = lambda data: None) -> None:
    """Call `on_end`, in a thread of its own, when standard input ends and when the owner does; returns at once.

    `heard` gets what the parent writes to standard input meanwhile.
    """
    def begin(wait: Callable[..., None], *arguments: object) -> None:
        def wait_and_end() -> None:
            wait(*arguments)
            on_end()

        threading.Thread(target=wait_and_end, name="afnet-parent", daemon=True).start()

    begin(_wait_for_end_of_file, heard)
    owner = owner_pid()
    if owner is not None:
        begin(_wait_for_end_of_process, owner)


def owner_pid() -> int | None:
    """Return the process id of the parent, by which it names itself in the environment; None if it does not."""
    owner = os.environ.get(OWNER_VARIABLE, "")
    return int(owner) if owner.isascii() and owner.isdigit() else None


def leave() -> NoReturn:
    """Clean up and end the process with CANCELLED_EXIT_CODE, from whatever thread.

    Also for a main thread that finds its standard output closed: the parent is dead then.
    """
    with _leave_lock:  # never released: the process ends here
        try:
            _delete_partials()
            if _job_folder is not None:
                _remove_job_folder(_job_folder)
            _delete_partials()  # the main thread has run on: it may have begun a file, or opened one anew
        finally:
            os._exit(CANCELLED_EXIT_CODE)


def _let_leaving_finish() -> None:
    with _leave_lock:
        pass


def register_partial(path: str | os.PathLike) -> None:
    """Remember a half-written file: it is deleted if the run is cancelled."""
    with _partials_lock:
        _partials.add(os.path.abspath(path))


def forget_partial(path: str | os.PathLike) -> None:
    """The file is complete, or gone. Unknown paths are ignored."""
    with _partials_lock:
        _partials.discard(os.path.abspath(path))


def _delete_partials() -> None:
    # The main thread may hold the lock while it is frozen in a page fault: do not wait for ever.
    locked = _partials_lock.acquire(timeout=0.2)
    paths = list(_partials)
    if locked:
        _partials_lock.release()
    for path in paths:
        try:
            os.unlink(path)
        except OSError:
            pass  # gone already, or (Windows) still open: its final name does not exist either way


def _remove_job_folder(folder: Path) -> None:
    """Remove the folder; the main thread may still be writing into it, hence more than one try.

    On Windows files in use and the working directory cannot be deleted; the parent, or the next job,
    removes what is left.
    """
    if not (folder / JOB_MARKER).is_file():
        return
    for _ in range(_REMOVAL_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


def _wait_for_end_of_file(heard: Callable[[bytes], None]) -> None:
    """Return when standard input ends, or cannot be read at all; `heard` gets what is written to it meanwhile."""
    if sys.platform == "win32":
        _wait_for_windows_pipe(heard)
        return
    while True:
        try:
            data = os.read(0, 4096)
        except OSError:
            return
        if not data:
            return
        heard(data)


def _wait_for_windows_pipe(heard: Callable[[bytes], None]) -> None:
    """As `_wait_for_end_of_file`, but look instead of read.

    Windows lets everybody who asks about a pipe wait for a pending read of it, and libraries ask about
    standard input while they are loaded: `import numpy` would wait for ever (numpy issue 24290).
    """
    import _winapi
    import msvcrt

    try:
        handle = msvcrt.get_osfhandle(0)
        while True:
            available, _ = _winapi.PeekNamedPipe(handle, 0)
            if available:
                heard(os.read(0, available))
            time.sleep(_PIPE_POLL_S)
    except OSError:
        return  # the parent has closed its end, or there is no pipe at all


def _wait_for_end_of_process(pid: int) -> None:
    """Return when process `pid` no longer exists."""
    if sys.platform == "win32":
        _wait_for_windows_process(pid)
        return
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        except OSError:
            pass  # it exists, and belongs to somebody else
        time.sleep(_OWNER_POLL_S)


def _wait_for_windows_process(pid: int) -> None:
    """As `_wait_for_end_of_process`. Never signals: os.kill() would end a process on Windows."""
    import ctypes

    synchronize, infinite, wait_object_0 = 0x00100000, 0xFFFFFFFF, 0
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.OpenProcess.restype = ctypes.c_void_p
    kernel32.OpenProcess.argtypes = [ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32]
    kernel32.WaitForSingleObject.restype = ctypes.c_uint32
    kernel32.WaitForSingleObject.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    handle = kernel32.OpenProcess(synchronize, False, pid)
    if handle and kernel32.WaitForSingleObject(handle, infinite) == wait_object_0:
        return
    threading.Event().wait()  # it cannot be watched: standard input remains
