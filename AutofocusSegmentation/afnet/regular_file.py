"""Reading a file that must be one: a pipe or a device under its name would be waited for, or never end."""

import errno
import stat
from pathlib import Path


def read_regular(path: Path) -> bytes:
    """The content of a file. Raises OSError, also for what is no file."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "no regular file")
    return path.read_bytes()
