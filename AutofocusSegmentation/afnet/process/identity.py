"""Which process is it? A process number alone does not say: the system gives it to another one later.

Number and start time together do. The start time is an opaque ASCII token that is equal for one process
whenever and from wherever on this computer it is asked, and differs after a restart of the computer.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path


def process_start(pid: int) -> str | None:
    """Return the start token of a living process (letters, digits and '.'); None if there is none.

    '' if the process lives but its start cannot be read, as that of another user's on Windows.
    """
    if pid <= 0:
        return None
    if sys.platform == "win32":
        return _start_on_windows(pid)
    if Path("/proc/self/stat").exists():
        return _start_on_linux(pid)
    return _start_by_ps(pid)


def this_process() -> dict:
    """Return what a file says of the process that made it: pid, started (None or a token) and host."""
    return {"pid": os.getpid(), "started": process_start(os.getpid()), "host": socket.gethostname()}


def _start_on_linux(pid: int) -> str | None:
    """Clock ticks since boot (field 22 of /proc/<pid>/stat) and the start of the boot's random id."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        fields = line[line.rindex(")") + 2 :].split()  # the name before it may hold spaces and brackets
    except (FileNotFoundError, ProcessLookupError):
        return None
    except (OSError, ValueError):
        return ""
    if fields[0] in "ZX":  # a zombie has ended
        return None
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().split("-")[0]
    except OSError:
        boot = ""
    return f"{fields[19]}.{boot}"


def _start_by_ps(pid: int) -> str | None:
    """macOS: the start date to the second, in UTC and English whatever the user's settings."""
    try:
        answer = subprocess.run(
            ["/bin/ps", "-o", "state=,lstart=", "-p", str(pid)],
            env={"LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "" if _exists(pid) else None
    state, *date = answer.stdout.split()[:6] or [""]
    if not state or state.startswith("Z"):
        return None if state or not _exists(pid) else ""
    return "".join(date).replace(":", "")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _start_on_windows(pid: int) -> str | None:
    """The creation time as a FILETIME, in units of 100 ns."""
    import ctypes
    from ctypes import wintypes

    query_limited_information, still_active, invalid_parameter = 0x1000, 259, 87
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.OpenProcess.restype = wintypes.HANDLE
    kernel32.OpenProcess.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.DWORD]
    kernel32.CloseHandle.argtypes = [wintypes.HANDLE]
    kernel32.GetExitCodeProcess.argtypes = [wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD)]
    kernel32.GetProcessTimes.argtypes = [wintypes.HANDLE] + [ctypes.POINTER(wintypes.FILETIME)] * 4
    handle = kernel32.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return None if ctypes.get_last_error() == invalid_parameter else ""
    try:
        code = wintypes.DWORD()
        if kernel32.GetExitCodeProcess(handle, ctypes.byref(code)) and code.value != still_active:
            return None
        created, *others = (wintypes.FILETIME() for _ in range(4))
        if not kernel32.GetProcessTimes(handle, *(ctypes.byref(time) for time in (created, *others))):
            return ""
        return str((created.dwHighDateTime << 32) | created.dwLowDateTime)
    finally:
        kernel32.CloseHandle(handle)
