"""A job of the engine, whatever it is for: started, polled by a timer, cancelled, ended with an outcome. No widgets."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import slicer

from .child import ChildProcess, EngineProcess
from .job_folder import JobFolder


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended.

    message: one sentence for the user; may be empty when done. details: what the engine printed, when it failed.
    result: what a job that is done hands over, if it does: of a segmentation a Result.
    """

    kind: Literal["done", "cancelled", "failed"]
    message: str = ""
    result: object = None
    details: str = ""


class EngineJob:
    """`poll` it every POLL_INTERVAL_MS while `running`; then `outcome` says how it ended. Nothing is ever raised.

    A subclass starts with `_start` and defines the methods at the end. engine: None for the real one. on_finished: gets
    the JobOutcome.
    """

    REFUSALS: tuple[type[Exception], ...] = ()
    """What `begin` of `_start` may raise; the text of each is a sentence for the user."""

    ENDS_WITHIN_S = 3.0
    """How long `abandon` waits for the engine."""

    def __init__(self, engine: EngineProcess | None, on_finished: Callable[[JobOutcome], None] | None) -> None:
        self.outcome: JobOutcome | None = None
        self.cancelled = False
        self._engine = engine or ChildProcess(environment=slicer.util.startupEnvironment())
        self._on_finished = on_finished or (lambda outcome: None)
        self._job_folder: JobFolder | None = None
        self._started = False
        self._defect: JobOutcome | None = None

    @property
    def running(self) -> bool:
        """True from the start until there is an outcome."""
        return self._started and self.outcome is None

    def poll(self) -> None:
        """Take what the engine said; when it has ended, do what follows and finish."""
        if not self.running:
            return
        try:
            for event in self._engine.poll():
                self._handle(event)
            if not self._engine.running and self._engine.outcome is not None:
                self._end(self._defect or self._conclude())
        except Exception as error:
            self._unexpected(error)

    def cancel(self) -> None:
        """Ask the engine to end; returns at once. Keep polling until it has ended, or is killed."""
        if self.running and not self.cancelled:
            self.cancelled = True
            self._engine.cancel()

    def abandon(self) -> None:
        """Cancel and wait until the engine is gone; for the moment when nobody will poll any more."""
        self.cancel()
        until = time.monotonic() + self.ENDS_WITHIN_S
        while self.running and time.monotonic() < until:
            self.poll()
            time.sleep(0.02)
        if self.running:
            self._end(self._cancelled_outcome())

    def _start(self, begin: Callable[[], None]) -> None:
        """Begin the job: `begin` writes what the engine reads, and starts it."""
        self._started = True
        try:
            begin()
        except self.REFUSALS as error:
            self._end(self._failed(str(error)))
        except Exception as error:
            self._unexpected(error)

    def _unexpected(self, error: Exception) -> None:
        """A defect of ours: the user gets a sentence, Slicer's log the traceback. The engine is ended first."""
        logging.exception("AutofocusSegmentation: unexpected error in a %s", type(self).__name__)
        outcome = self._failed(self._defect_text().format(kind=type(error).__name__), repr(error))
        if self._engine.running and self._defect is None:
            self._defect = outcome
            self._engine.cancel()
        else:
            self._end(outcome)

    def _end(self, outcome: JobOutcome) -> None:
        """Remove the job folder, then tell. The engine is gone by now, or was never started; after `abandon` it may be
        ending still, and finds its folder gone."""
        if self._job_folder is not None:
            self._job_folder.remove()
        self._tidy(outcome)
        self.outcome = outcome
        self._on_finished(outcome)

    def _failed(self, message: str, details: str = "") -> JobOutcome:
        return JobOutcome("failed", message, details=details)

    def _cancelled_outcome(self) -> JobOutcome:
        return JobOutcome("cancelled", self._cancelled_text())

    # For subclasses to define

    def _handle(self, event) -> None:
        """Take an event of the engine."""
        raise NotImplementedError

    def _conclude(self) -> JobOutcome:
        """Return the outcome of a run whose engine has ended by itself or by `cancel`."""
        raise NotImplementedError

    def _cancelled_text(self) -> str:
        """Return the sentence for a job that was cancelled."""
        raise NotImplementedError

    def _defect_text(self) -> str:
        """Return the sentence for a defect of ours, with {kind} for the error's name."""
        raise NotImplementedError

    def _tidy(self, outcome: JobOutcome) -> None:
        """Do what else comes before the outcome is told."""
