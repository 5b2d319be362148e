"""Whether the engine can run here, told in one sentence.

Asks the packages' metadata and imports nothing: importing torch in Slicer's own process freezes its window and
crashes some builds. The child process shares Slicer's site-packages.
"""

import importlib
import importlib.metadata
import re

from slicer.i18n import tr as _

OLDEST_TORCH = (2, 2)
"""Oldest version the engine runs on; the newest one there is for Slicer on a Mac."""


def torch_version() -> str | None:
    """Return the version of the installed torch ('2.13.0+cpu'), or None."""
    importlib.invalidate_caches()
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def torch_problem() -> str | None:
    """Return one sentence on why the engine cannot run and what to do, or None if torch is there and new enough."""
    version = torch_version()
    if version is None:
        return _(
            "PyTorch is not installed in Slicer: open the module 'PyTorch Utils' (of the extension PyTorch), "
            "press 'Install PyTorch' and restart Slicer."
        )
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers and tuple(map(int, numbers.groups())) < OLDEST_TORCH:
        return _(
            "PyTorch {found} is too old, {needed} or newer is needed: open the module 'PyTorch Utils' (of the "
            "extension PyTorch), press 'Uninstall PyTorch', then 'Install PyTorch', and restart Slicer."
        ).format(found=version, needed=".".join(map(str, OLDEST_TORCH)))
    return None
