"""Only files are read: a pipe would be waited for, and a device might never end."""

import errno
import stat
from pathlib import Path


def read_regular(path: Path) -> bytes:
    """The content of a file. Raises OSError, also for what is no file."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "no regular file")
    return path.read_bytes()
