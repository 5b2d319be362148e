"""Whether the engine can run here: what this computer has, and one sentence on what is missing and what to do.

Looks at metadata and files and imports nothing: importing torch in Slicer's own process freezes its window and
crashes some builds. The child process shares Slicer's site-packages. Nothing is started, and nothing is sent.
"""

import enum
import importlib
import importlib.metadata
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from .network import seems_connected

OLDEST_TORCH = (2, 2)
"""Oldest version the engine runs on; the newest one there is for Slicer on a Mac with an Intel processor."""

WINDOWS_BELOW = (2, 13)
"""On Windows, first version whose files have longer paths than fit below Slicer's default folder."""

LONGEST_PATH_IN_TORCH = 120
"""Characters of the longest path that torch puts into site-packages (its headers; measured on 2.13, rounded up)."""

WINDOWS_PATH_LIMIT = 259
"""Longest path that Windows opens unless long paths are switched on (MAX_PATH without its end mark)."""

ROOM_FOR_CPU, ROOM_FOR_GPU = 2 * 10**9, 10 * 10**9
"""Free bytes that an installation needs, download and unpacked files together: 1 GB and 7 GB unpacked."""


class State(enum.Enum):
    """What the first-use doctor found."""

    ABSENT = "absent"
    HALF_INSTALLED = "half installed"
    TOO_OLD = "too old"
    TOO_NEW = "too new"
    CPU_BUILD = "cpu build"
    LONG_PATH = "long path"
    DISK_FULL = "disk full"
    OFFLINE = "offline"
    NO_EXTENSION = "no extension"
    RESTART = "restart"
    FAILED = "failed"


class Action(enum.Enum):
    """What the one button does."""

    INSTALL_TORCH = "install"
    REINSTALL_TORCH = "reinstall"
    INSTALL_EXTENSION = "install extension"
    RESTART = "restart"
    CHECK_AGAIN = "check again"
    OPEN_PYTORCH_UTILS = "open"


@dataclass(frozen=True)
class TorchFiles:
    """What there is of torch. version: '2.13.0+cpu', None if unknown. cpu_only: built without a GPU."""

    version: str | None = None
    has_metadata: bool = False
    has_package: bool = False
    cpu_only: bool = False

    @property
    def numbers(self) -> tuple[int, int] | None:
        found = re.match(r"(\d+)\.(\d+)", self.version or "")
        return (int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True)
class Computer:
    """What the doctor needs to know. system: as sys.platform. free_bytes: on the disk of site_packages. online: whether
    a network is seen, which is a guess.

    pytorch_extension: the module PyTorchUtils is loaded. extension_waits: it will be, after a restart.
    torch_in_use: another module has loaded torch into Slicer, so its files cannot be replaced now.
    """

    torch: TorchFiles
    system: str
    site_packages: Path
    free_bytes: int
    long_paths: bool = True
    nvidia_driver: bool = False
    online: bool = True
    pytorch_extension: bool = True
    extension_waits: bool = False
    torch_in_use: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """One sentence for the user and one action. blocks: nothing can be segmented before it is done."""

    state: State
    sentence: str
    action: Action
    blocks: bool = True

    @property
    def offline_helps(self) -> bool:
        """Whether the steps for a computer without network are worth showing."""
        return self.state in (State.OFFLINE, State.NO_EXTENSION, State.FAILED)


def find_torch(places: Iterable[str] | None = None) -> TorchFiles:
    """Look for torch in `places` (folders; by default sys.path) without importing it."""
    importlib.invalidate_caches()
    folders = [str(place) for place in (sys.path if places is None else places)]
    found = next(iter(importlib.metadata.distributions(name="torch", path=folders)), None)
    package = next((Path(folder) / "torch" for folder in folders if _is_package(Path(folder) / "torch")), None)
    written = _version_file(package)
    version = (found.metadata["Version"] if found else None) or _assigned("__version__", written)
    builds = [_assigned(name, written) for name in ("cuda", "hip", "rocm", "xpu")]
    cpu_only = bool(written) and not any(builds)
    return TorchFiles(version, found is not None, package is not None, cpu_only)


def torch_problem(places: Iterable[str] | None = None, in_panel: bool = False) -> str | None:
    """Return one sentence on why the engine cannot run and what to do, or None if torch is there and suits.

    in_panel: the user reads it in this module, where the section for the first use is in sight.
    """
    defect = _defect(find_torch(places), sys.platform)
    if defect is None:
        return None
    _state, what = defect
    if in_panel:
        return _("{what}: press the button under Before you begin, at the top.").format(what=what)
    return _("{what}: open the module Autofocus Segmentation, which installs it, or the module PyTorch Utils.").format(
        what=what)


def diagnose(computer: Computer) -> Diagnosis | None:
    """Return what is to be done before, or better before, the first segmentation; None if all is well."""
    defect = _defect(computer.torch, computer.system)
    if defect is None:
        return _graphics_card_unused(computer)
    state, what = defect
    return _hindrance(computer, what) or _remedy(computer, state, what)


def torch_requirement(system: str = sys.platform) -> str:
    """Return the versions of torch that suit, as pip writes it; the same as in Resources/requirements.txt."""
    oldest = ">=" + ".".join(map(str, OLDEST_TORCH))
    return oldest + (",<" + ".".join(map(str, WINDOWS_BELOW)) if system == "win32" else "")


def look(pytorch_extension: bool, extension_waits: bool) -> Computer:
    """Look at this computer. Takes milliseconds."""
    site_packages = Path(sysconfig.get_path("purelib"))
    return Computer(
        torch=find_torch(), system=sys.platform, site_packages=site_packages, free_bytes=_free_bytes(site_packages),
        long_paths=_long_paths_enabled(), nvidia_driver=has_nvidia_driver(), online=seems_connected(),
        pytorch_extension=pytorch_extension, extension_waits=extension_waits, torch_in_use="torch" in sys.modules,
    )


def has_nvidia_driver() -> bool:
    """Tell by its files whether an NVIDIA driver is installed; no program is started."""
    if sys.platform == "darwin":
        return False
    if sys.platform == "win32":
        driver = Path(os.environ.get("SystemRoot", r"C:\Windows")) / "System32" / "nvcuda.dll"
    else:
        driver = Path("/proc/driver/nvidia/version")
    return driver.is_file() or shutil.which("nvidia-smi") is not None


def room_needed(computer: Computer) -> int:
    """Return the free bytes that an installation of torch needs here."""
    return ROOM_FOR_GPU if computer.nvidia_driver else ROOM_FOR_CPU


def _defect(torch: TorchFiles, system: str) -> tuple[State, str] | None:
    """Return what is wrong with torch itself, as the first half of a sentence; None if it suits."""
    if not torch.has_metadata and not torch.has_package:
        return State.ABSENT, _("PyTorch is not installed in Slicer")
    if torch.has_metadata != torch.has_package or torch.numbers is None:
        return State.HALF_INSTALLED, _("PyTorch is only half installed, as after an installation that was interrupted")
    if torch.numbers < OLDEST_TORCH:
        return State.TOO_OLD, _("PyTorch {found} is too old ({needed} or newer is needed)").format(
            found=torch.version, needed=".".join(map(str, OLDEST_TORCH)))
    if system == "win32" and torch.numbers >= WINDOWS_BELOW:
        return State.TOO_NEW, _("PyTorch {found} does not work in Slicer on Windows (a version below {limit} is "
                                "needed)").format(
            found=torch.version, limit=".".join(map(str, WINDOWS_BELOW)))
    return None


def _hindrance(computer: Computer, what: str) -> Diagnosis | None:
    """Return what must be done before torch can be installed; None if nothing."""
    length = len(str(computer.site_packages)) + 1 + LONGEST_PATH_IN_TORCH
    if computer.system == "win32" and not computer.long_paths and length > WINDOWS_PATH_LIMIT:
        return Diagnosis(State.LONG_PATH, _(
            "{what}, and Slicer's folder has too long a path for it: install Slicer again in a folder such as "
            "C:\\Slicer (at least {count} characters shorter).").format(what=what, count=length - WINDOWS_PATH_LIMIT),
            Action.CHECK_AGAIN)
    needed = room_needed(computer)
    if computer.free_bytes < needed:
        return Diagnosis(State.DISK_FULL, _(
            "{what}, and the disk of Slicer has {free} free of the {needed} that it needs: delete files, then check "
            "again.").format(what=what, free=_gigabytes(computer.free_bytes), needed=_gigabytes(needed)),
            Action.CHECK_AGAIN)
    if computer.extension_waits:
        return Diagnosis(State.RESTART, _("The PyTorch extension is installed: restart Slicer to go on."),
                         Action.RESTART)
    return None


def _remedy(computer: Computer, state: State, what: str) -> Diagnosis:
    """Return what puts a torch there that suits. Where no network is seen it may be tried all the same."""
    if computer.torch_in_use:
        return Diagnosis(State.RESTART, _("{what}, and another module is using it: restart Slicer and open this module "
                                          "first.").format(what=what), Action.RESTART)
    action = Action.INSTALL_TORCH if state is State.ABSENT else Action.REINSTALL_TORCH
    sentence = _("{what}: install it again.")
    if state is State.ABSENT:
        sentence = _("{what}: install it once, with a network connection.")
    if not computer.pytorch_extension:
        state, action = State.NO_EXTENSION, Action.INSTALL_EXTENSION
        sentence = _("{what}, and the PyTorch extension, which installs it, is missing: install that extension first.")
    if not computer.online:
        state = State.OFFLINE
        sentence = _("{what}, and no network was found: connect this computer, then press the button, or follow the "
                     "steps below.")
    return Diagnosis(state, sentence.format(what=what), action)


def _graphics_card_unused(computer: Computer) -> Diagnosis | None:
    """Return the hint for a graphics card that torch does not use, where that can be changed."""
    unused = computer.torch.cpu_only and computer.nvidia_driver
    # What works is not removed unless its successor can be downloaded.
    replaceable = computer.pytorch_extension and computer.online and computer.free_bytes >= ROOM_FOR_GPU
    if not (unused and replaceable):
        return None
    action = Action.OPEN_PYTORCH_UTILS if computer.torch_in_use else Action.REINSTALL_TORCH
    return Diagnosis(State.CPU_BUILD, _(
        "This computer has an NVIDIA graphics card, but PyTorch is installed without support for it: install it again "
        "to segment faster."), action, blocks=False)


def _is_package(folder: Path) -> bool:
    """Tell whether a folder holds torch's Python files and its library; an interrupted installation lacks some."""
    return (folder / "__init__.py").is_file() and (folder / "version.py").is_file() and any(folder.glob("_C.*"))


def _version_file(package: Path | None) -> str:
    try:
        return (package / "version.py").read_text(encoding="utf-8") if package else ""
    except (OSError, UnicodeError):
        return ""


def _assigned(name: str, text: str) -> str | None:
    """Return the string that torch/version.py assigns to `name`; None for None or if it is not there."""
    found = re.search(rf"^{name}\b[^=\n]*=\s*['\"]([^'\"]*)['\"]", text, re.MULTILINE)
    return found[1] if found else None


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return sys.maxsize  # unknown: the installation will tell


def _long_paths_enabled() -> bool:
    """Tell whether Windows opens paths longer than WINDOWS_PATH_LIMIT; True elsewhere."""
    if sys.platform != "win32":
        return True
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False


def _gigabytes(count: int) -> str:
    return f"{count / 10**9:.1f} GB"
