"""Files that a command names: with a name, and as what is read, for a pipe or a device would be waited for, or never
end."""

import argparse
import errno
import stat
from pathlib import Path


def named_path(text: str) -> Path:
    """The path of an option, which an empty text is not, though Path takes it for the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("it needs a name")
    return Path(text)


def read_regular(path: Path) -> bytes:
    """The content of a file. Raises OSError, also for what is no file."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "no regular file")
    return path.read_bytes()
