"""Finding the Python of the engine, starting it and ending it with everything it started.

In Slicer the Python to start is `PythonSlicer`, which is only a launcher: it sets the environment, starts the
real Python, passes its exit code on (1 if it crashed) and forwards no signal. Ending it leaves the real
Python alive, so the whole tree is ended: the process group on Unix, `taskkill /T` on Windows.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from afnet.process.parent import OWNER_VARIABLE


def find_launcher() -> list[str] | None:
    """Return the command that starts Slicer's Python, or outside Slicer this Python; None if there is none.

    PythonSlicer beside the running program comes first, because one on the PATH may belong to another Slicer.
    """
    program = Path(sys.executable) if sys.executable else None
    name = "PythonSlicer.exe" if sys.platform == "win32" else "PythonSlicer"
    if program is not None:
        beside = program.with_name(name)
        if beside.is_file():
            return [str(beside)]
        if program.stem.lower().startswith("python") and "real" not in program.stem.lower():
            return [str(program)]
    on_path = shutil.which("PythonSlicer")
    return [on_path] if on_path else None


def child_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of the child.

    `base` is the environment to start from: in Slicer `slicer.util.startupEnvironment()`, which lacks what
    Slicer's own launcher added; by default the environment of this process. Every `PYTHON...` variable of it
    is dropped, because a PYTHONPATH or PYTHONHOME of the user, or of Slicer's own interpreter, would put
    other copies of numpy or torch before those that belong to the launcher, which sets its own.
    """
    environment = dict(os.environ if base is None else base)
    for variable in [name for name in environment if name.upper().startswith("PYTHON")]:
        del environment[variable]
    environment["PYTHONUTF8"] = "1"
    environment["PYTHONUNBUFFERED"] = "1"
    environment[OWNER_VARIABLE] = str(os.getpid())
    return environment


def start_process(
    command: Sequence[str], folder: str | os.PathLike, environment: Mapping[str, str]
) -> subprocess.Popen:
    """Start `command` in `folder` with three binary pipes of its own, as the head of its own process tree.

    Raises OSError if the program or the folder is missing.
    """
    separate = (
        {"creationflags": subprocess.CREATE_NO_WINDOW}
        if sys.platform == "win32"
        else {"start_new_session": True}
    )
    return subprocess.Popen(
        list(command),
        cwd=os.fspath(folder),
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        **separate,
    )


def kill_tree(process: subprocess.Popen) -> None:
    """End the process and all it started, at once and without waiting; no error if they are gone."""
    if sys.platform == "win32":
        _taskkill(process)
        return
    try:
        # start_new_session made the process the leader of its group. The number of a group is not given
        # to a new process while the group has members, so this reaches the tree even if its head has ended.
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # all gone; macOS says PermissionError if only zombies are left


def _taskkill(process: subprocess.Popen) -> None:
    taskkill = Path(os.environ.get("SystemRoot", r"C:\Windows")) / "System32" / "taskkill.exe"
    try:
        subprocess.Popen(
            [str(taskkill), "/PID", str(process.pid), "/T", "/F"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )
    except OSError:
        process.kill()  # only the launcher: the child still sees its owner's end
