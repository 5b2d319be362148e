"""How a run of the engine ended, and the sentence for the user.

Exit codes: 0 done, 2 wrong request, 3 input that cannot be segmented, 4 out of memory, 130 cancelled, 1 an error
that is the engine's own; with 1 to 4 the engine has said why. Anything else, and a 1 without a word, is a crash or a
kill.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from afnet.process.parent import CANCELLED_EXIT_CODE

from .output import one_sentence

_OWN_SENTENCE = (2, 3, 4)

_KILLED = (-9, 137, 0xC0000017, 0xC000012D)
"""SIGKILL, by itself and as a shell reports it; Windows' STATUS_NO_MEMORY and STATUS_COMMITMENT_LIMIT."""

_CRASHED = (-4, -6, -7, -8, -10, -11, 132, 134, 135, 136, 138, 139, 0xC0000005, 0xC000001D, 0xC0000409)
"""SIGILL, SIGABRT, SIGBUS (7, on macOS 10), SIGFPE, SIGSEGV, by themselves and as a shell reports them;
Windows' access violation, illegal instruction and fast fail (abort)."""

_LAUNCHER_SAW_A_CRASH = "exit abnormally"
"""What Slicer's launcher (ctkAppLauncher) says last if the real Python was ended by a signal."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended; `message` is one sentence for the user, empty if all went well."""

    kind: Literal["done", "cancelled", "failed"]
    exit_code: int | None
    """None if the engine never started."""
    message: str


def cancelled(code: int) -> Outcome:
    return Outcome("cancelled", code, "The segmentation was cancelled.")


def success(said_done: bool, missing: Sequence[str]) -> Outcome:
    """Exit code 0 counts only with the engine's word and with every output file there."""
    if said_done and not missing:
        return Outcome("done", 0, "")
    what = f"without its result {missing[0]}" if missing else "before it was done"
    return Outcome("failed", 0, f"The segmentation engine ended {what}: try again, and see the Log section.")


def failure(code: int, sentence: str, last_error: Sequence[str], started: bool) -> Outcome:
    """Return the outcome of an exit code that is not success.

    `sentence` is what the engine said itself ('' if nothing), `last_error` its last line on standard error.
    """
    if code == CANCELLED_EXIT_CODE:
        return cancelled(code)
    if not sentence and code in _OWN_SENTENCE and last_error:
        sentence = one_sentence(last_error[-1])
    if not sentence and code == 1 and any(_LAUNCHER_SAW_A_CRASH in line for line in last_error):
        sentence = (
            "The segmentation engine crashed or was stopped for lack of memory: close other programs, set a "
            "smaller memory limit or the device to CPU, and try again."
        )
    return Outcome("failed", code, sentence or _explain(code, started))


def not_ours(difference: str) -> str:
    """Return the sentence for an engine of another version or another folder."""
    return (
        f"The segmentation engine that answered is not the one of this extension ({difference}): restart "
        "Slicer, and if it happens again reinstall the AutofocusSegmentation extension."
    )


def lines_of(message: str, details: str) -> list[str]:
    """Return the lines of a log: how a run ended, and what the engine printed, which may be the same sentence again."""
    printed = [line for line in details.splitlines() if line and " ".join(line.split()) != message]
    return [message, *printed] if message else printed


def _explain(code: int, started: bool) -> str:
    # Windows' codes of a crash are known by their hexadecimal form.
    shown = f"0x{code:08X}" if code > 0xFFFF else str(code)
    if code in _KILLED:
        return (
            "The operating system stopped the segmentation engine, most likely because memory ran out: close "
            "other programs or set a smaller memory limit, and try again."
        )
    if code in _CRASHED:
        return (
            f"The segmentation engine crashed (exit code {shown}): try again with the device set to CPU, and "
            "if it happens again reinstall PyTorch with the PyTorch Utils module."
        )
    if not started:
        return (
            f"The segmentation engine ended before it could start (exit code {shown}): see the Log section, and check "
            "PyTorch with the PyTorch Utils module."
        )
    return (
        f"The segmentation engine ended unexpectedly (exit code {shown}): see the Log section, and try again with the "
        "device set to CPU."
    )
