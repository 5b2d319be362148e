"""Timers of the panels: one that polls a job and asks before Slicer closes over it, and one for later."""

from collections.abc import Callable
from typing import Protocol

import qt

from ..engine.one_engine import POLL_INTERVAL_MS
from .window import SlicerWindow


def one_shot(slot: Callable[[], None], delay_ms: int = 0):
    """Return a QTimer that calls `slot` once after each start; 0: when Qt has dealt with the events that wait."""
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(delay_ms)
    timer.connect("timeout()", slot)
    return timer


class Job(Protocol):
    """What can be polled: a job, or a queue of them."""

    @property
    def running(self) -> bool: ...

    def poll(self) -> None: ...

    def abandon(self) -> object:
        """Cancel, and wait until the engine is gone."""


class JobTimer:
    """Follows one job after another. window: Slicer's main window. question: what to ask when the user closes it."""

    def __init__(self, window: SlicerWindow, question: Callable[[], str]) -> None:
        self._window, self._question = window, question
        self._job: Job | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_INTERVAL_MS)
        self._timer.connect("timeout()", self._poll)

    @property
    def running(self) -> bool:
        return self._job is not None and self._job.running

    @property
    def active(self) -> bool:
        """Whether it polls."""
        return self._timer.active

    def watch(self, job: Job) -> None:
        """A job is about to start: from now on Slicer does not close over it unasked."""
        self._job = job
        self._window.watch_close(self._may_close)

    def follow(self) -> None:
        """Poll the job if it has started and runs."""
        if self.running and not self.active:
            self._timer.start()

    def rest(self) -> None:
        """The job has ended: leave no timer and no filter."""
        self._timer.stop()
        self._window.stop_watching_close()

    def abandon(self) -> None:
        """Cancel the job, wait until the engine is gone, and rest."""
        if self.running:
            self._job.abandon()
        self.rest()

    def _poll(self) -> None:
        self._job.poll()

    def _may_close(self) -> bool:
        """Ask before Slicer closes over a running job; it may end while the question stands."""
        if not self.running:
            return True
        if not self._window.confirm(self._question()):
            return False
        self._job.abandon()
        return True
