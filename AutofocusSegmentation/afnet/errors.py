"""Errors a user can cause. Their text is one sentence: what is wrong and what to do."""

import re
import sys
import traceback

from .process.parent import CANCELLED_EXIT_CODE

_LONGEST_REASON = 200


class AfnetError(Exception):
    """Base of all errors shown to the user; `exit_code` is what the command line ends with."""

    exit_code = 1


class RequestError(AfnetError):
    """The request is wrong: an unknown model, a missing file, a full disk, a damaged bundle."""

    exit_code = 2


class DeviceFailed(RequestError):
    """The device asked for gave up; another one can go on."""


class InputError(AfnetError):
    """The images cannot be segmented: wrong body part, broken geometry, NaN, truncated data."""

    exit_code = 3


class OutOfMemory(AfnetError):
    """No device had enough memory, the CPU included."""

    exit_code = 4


class Cancelled(AfnetError):
    """The user, or the end of the parent process, stopped the run."""

    exit_code = CANCELLED_EXIT_CODE


OUT_OF_MEMORY = (
    "out of memory", "not enough memory", "allocate memory", "bad_alloc", "unable to join thread",
    "unable to create thread", "alloc_failed",
)
"""Words of CUDA and MPS, of PyTorch's allocator on a CPU under Windows and elsewhere, of SimpleITK's C++, of ITK where
a thread finds no room for its stack, and of cuBLAS and cuDNN."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether torch, SimpleITK, Python or we say that memory ran out; the libraries' errors say it in words only.
    """
    said = str(error).lower()
    return isinstance(error, MemoryError | OutOfMemory) or any(word in said for word in OUT_OF_MEMORY)


def first_sentence(text: str) -> str:
    """Return what an error or a warning of torch begins with, without full stop; the rest is advice for programmers."""
    first = re.split(r"[.;:]?\s*\n|\. |\.$", text.strip())[0]
    return first[:_LONGEST_REASON] or "no reason given"


_COMPILED_PARTS = {"_C": "torch", "_SimpleITK": "SimpleITK"}
"""Names that an error has for the compiled part of a package, and the package."""


def package_missing(error: ImportError | OSError) -> RequestError | None:
    """Return the error for a package that cannot be loaded; None if the module is of our own code, or none was loaded.

    Torch says as an OSError that one of its libraries cannot be loaded, as Windows has it of those that need a newer
    Visual C++ runtime.
    """
    if (getattr(error, "name", None) or "").startswith("afnet"):
        return None
    name = (getattr(error, "name", None) or _being_loaded(error)).split(".")[0]
    name = _COMPILED_PARTS.get(name, name)
    if isinstance(error, OSError) and not name:
        return None
    if not isinstance(error, ModuleNotFoundError):
        runtime = "install Microsoft's newest Visual C++ Redistributable, " if sys.platform == "win32" else ""
        return RequestError(
            f"The Python package {name or 'torch'} is installed but cannot be loaded (too little memory, or made for "
            f"another computer or Python); close other programs, {runtime}or install it again."
        )
    return RequestError(
        f"The Python package {name or 'torch'} cannot be loaded; install it (in Slicer: with the PyTorch extension)."
    )


def _being_loaded(error: BaseException) -> str:
    """Return the package outside afnet whose import raised `error`; '' if none did."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "<module>"]
    package = frames[-1].f_globals.get("__name__", "").partition(".")[0] if frames else ""
    return "" if package in ("afnet", "__main__") else package
