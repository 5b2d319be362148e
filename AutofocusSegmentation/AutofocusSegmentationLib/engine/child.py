"""The segmentation engine as Slicer sees it: start, poll, cancel, outcome. Pure Python: no slicer, qt, vtk.

The engine is the command line `afnet` in a process of its own (launcher.py starts it). Nothing here waits: `start()`,
`poll()` and `cancel()` return at once, and a timer of the caller that calls `poll()` until `running` is false drives
everything, the kill after an unheeded cancel included. Standard input is the leash: the engine ends itself
when it is closed (afnet/process/parent.py).
"""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import afnet
from afnet.process.progress import PROTOCOL

from . import launcher
from .outcome import Outcome, cancelled, failure, not_ours, success
from .output import Done, Event, Failure, OutputReader, Started
from .request import EngineRequest

MODULE_FOLDER = Path(__file__).resolve().parents[2]

_ORPHAN_GRACE_S = 3.0
"""How long the pipes may stay open after a kill, held by a process that left the tree."""

_YIELD_S = 0.002
"""Slicer's main thread keeps Python's interpreter lock outside Python; this pause lets the readers run."""


class EngineProcess(Protocol):
    """What the logic needs of an engine; tests put their own in its place."""

    @property
    def running(self) -> bool:
        """True from `start()` until the process tree is gone and `outcome` is known."""

    @property
    def outcome(self) -> Outcome | None:
        """How the run ended; None while it runs and before it starts."""

    @property
    def details(self) -> str:
        """The last lines that the engine printed, for a 'details' box; '' if it printed nothing."""

    def start(self, request: EngineRequest, folder: str | os.PathLike) -> None:
        """Start the engine in `folder`. Never raises for a missing program: `outcome` then says so."""

    def poll(self) -> list[Event]:
        """Return what the engine said since the last call. Never waits."""

    def cancel(self) -> None:
        """Ask the engine to end; returns at once. Keep polling until `running` is false."""

    def send(self, line: str) -> None:
        """Say a line to the engine, if it still listens; returns at once."""


class ChildProcess:
    """The engine in a real process.

    `python` is the command that starts Python (default: `launcher.find_launcher()`), `program` the script it
    runs, `environment` the environment to start from (in Slicer `slicer.util.startupEnvironment()`). The
    engine must speak within `answer_within_s` seconds: importing torch for the first time after an
    installation can take minutes under a virus scanner.
    """

    def __init__(
        self,
        python: Sequence[str] | None = None,
        program: str | os.PathLike = MODULE_FOLDER / "afnet" / "__main__.py",
        environment: Mapping[str, str] | None = None,
        answer_within_s: float = 600.0,
    ) -> None:
        self._python = list(python) if python is not None else None
        self._program = Path(program)
        self._environment = environment
        self._answer_within_s = answer_within_s
        self._process: subprocess.Popen | None = None
        self._output: OutputReader | None = None
        self._outcome: Outcome | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._outcome is None

    @property
    def outcome(self) -> Outcome | None:
        return self._outcome

    @property
    def log(self) -> list[str]:
        """The last lines of standard output that were not part of the protocol."""
        return self._output.log if self._output else []

    @property
    def error_log(self) -> list[str]:
        """The last lines of standard error."""
        return self._output.error_log if self._output else []

    @property
    def details(self) -> str:
        return "\n".join([*self.log[-50:], *self.error_log[-100:]])

    def start(self, request: EngineRequest, folder: str | os.PathLike) -> None:
        if self._process is not None:
            raise RuntimeError("A ChildProcess runs one request; make a new one.")
        self._request, self._folder = request, Path(folder)
        self._started: Started | None = None
        self._done = self._cancelled = self._killed = False
        self._sentence = self._refusal = ""
        self._kill_at = self._give_up_at = float("inf")
        self._answer_by = time.monotonic() + self._answer_within_s
        python = self._python or launcher.find_launcher()
        if not python:
            self._outcome = Outcome(
                "failed", None, "Slicer's Python (PythonSlicer) was not found: reinstall Slicer."
            )
            return
        command = [*python, str(self._program), *request.arguments()]
        try:
            self._process = launcher.start_process(
                command, self._folder, launcher.child_environment(self._environment)
            )
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self._outcome = Outcome(
                "failed",
                None,
                f"The segmentation engine could not be started with {python[0]} ({reason}): "
                "check that this program is there and may be run, or reinstall Slicer.",
            )
            return
        self._output = OutputReader(self._process.stdout, self._process.stderr)

    def cancel(self) -> None:
        if self.running:
            self._cancelled = True
            self._end()

    def send(self, line: str) -> None:
        if self.running and not self._process.stdin.closed:
            try:
                self._process.stdin.write(line.encode("ascii") + b"\n")
            except OSError:
                pass  # the child has closed its end, or is ending

    def poll(self) -> list[Event]:
        if not self.running:
            return []
        time.sleep(_YIELD_S)
        code = self._process.poll()
        silent = self._output.finished  # before take(): what was said last is then among the events
        events = [event for event in self._output.take() if self._accept(event)]
        now = time.monotonic()
        if self._started is None and not self._sentence and now > self._answer_by:
            self._refuse(
                f"The segmentation engine gave no answer within {self._answer_within_s:.0f} s: restart the "
                "computer, and if it happens again reinstall PyTorch with the PyTorch Utils module."
            )
        if code is not None:
            self._end()  # the launcher may be gone and the real Python still there
        if now >= self._kill_at and not self._killed:
            launcher.kill_tree(self._process)
            self._killed, self._give_up_at = True, now + _ORPHAN_GRACE_S
        if code is not None and (silent or now >= self._give_up_at):
            self._outcome = self._conclude(code)
        return events

    def _end(self) -> None:
        """Let go of the leash; from now on `poll()` counts to the kill."""
        if self._kill_at == float("inf"):
            self._kill_at = time.monotonic() + self._request.cancel_grace_s
            try:
                self._process.stdin.close()
            except OSError:
                pass  # the child has closed its end

    def _refuse(self, sentence: str) -> None:
        self._refusal = self._refusal or sentence
        self._end()

    def _accept(self, event: Event) -> bool:
        """Take note of an event; True if it is for the caller."""
        if self._cancelled or self._refusal:
            return False
        if isinstance(event, Failure):
            self._sentence = event.text
            return False
        if self._started is None:
            if not isinstance(event, Started):
                self._refuse(not_ours("it did not introduce itself"))
                return False
            self._started = event
            return self._is_ours(event)
        self._done = self._done or isinstance(event, Done)
        return not isinstance(event, Done)

    def _is_ours(self, event: Started) -> bool:
        """Refuse an engine of another version or another folder: its results could mean something else."""
        ours = self._program.with_name("__init__.py")
        if event.protocol != PROTOCOL:
            self._refuse(not_ours(f"it speaks protocol {event.protocol}, not {PROTOCOL}"))
        elif event.afnet != afnet.__version__:
            self._refuse(not_ours(f"it is version {event.afnet}, not {afnet.__version__}"))
        elif _canonical(event.file) != _canonical(ours):
            self._refuse(not_ours(f"it was loaded from {event.file}"))
        return not self._refusal

    def _conclude(self, code: int) -> Outcome:
        if self._refusal:
            return Outcome("failed", code, self._refusal)
        if self._cancelled:
            return cancelled(code)
        if code == 0 and not self._sentence:
            missing = [name for name in self._request.outputs() if not _has_content(self._folder / name)]
            return success(self._done, missing)
        return failure(code, self._sentence, self.error_log[-1:], started=self._started is not None)


def _canonical(file: str | os.PathLike) -> str:
    return os.path.normcase(os.path.realpath(file))


def _has_content(path: Path) -> bool:
    """True for a file with something in it or a folder with something in it."""
    try:
        return any(path.iterdir()) if path.is_dir() else path.stat().st_size > 0
    except OSError:
        return False
