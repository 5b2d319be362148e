"""The part of the segment panel that runs: Segment, Cancel, progress, the message, the queue, the log."""

from collections.abc import Callable, Collection

from slicer.i18n import tr as _

from ..engine.child import EngineProcess
from ..job_queue import JobQueue, QueuedStudy
from .message_line import MessageLine
from .progress_text import stage_text, with_time_left
from .queue_list import QueueList
from .texts import literal, show_text
from .timers import JobTimer, one_shot
from .window import SlicerWindow

CANCEL_REST_MS = 3000
"""How long Cancel is disabled when the next study in the queue begins: a second press was meant for the one before."""


class RunView:
    """Drives a JobQueue with a timer and shows it in the widgets of `ui`.

    window: Slicer's main window. make_engine: see JobQueue. on_finished(study): a study has ended.
    on_change(): something runs, waits or has ended, so that other widgets may have to follow. on_started, an attribute,
    is called when the first of a series of studies begins to run; it is for the panel that shows the results.
    """

    def __init__(
        self,
        ui,
        window: SlicerWindow,
        make_engine: Callable[[], EngineProcess | None],
        on_finished: Callable[[QueuedStudy], None],
        on_change: Callable[[], None],
    ) -> None:
        self._ui = ui
        self._message = MessageLine(ui.messageIcon, ui.messageLabel)
        self._window = window
        self._on_finished = on_finished
        self._on_change = on_change
        self.on_started: Callable[[], None] = lambda: None
        self._reason = ""  # said instead of 'was cancelled' when it was not the user who cancelled
        self.queue = JobQueue(
            make_engine, on_started=self._started, on_progress=self._show_progress,
            on_log=ui.logText.appendPlainText, on_finished=self._finished, on_change=self._changed,
        )
        self._list = QueueList(ui, self.queue.remove)
        self._timer = JobTimer(window, lambda: _("A segmentation is running. Stop it and close Slicer?"))
        self._rest = one_shot(self._show_cancel, CANCEL_REST_MS)
        self._cancel_tip = ui.cancelButton.toolTip
        ui.cancelButton.connect("clicked(bool)", self._cancel_clicked)
        ui.progressBar.setVisible(False)
        ui.cancelButton.setVisible(False)

    @property
    def running(self) -> bool:
        """Whether a segmentation runs."""
        return self.queue.running

    def add(self, study: QueuedStudy) -> None:
        """Start a study, or let it wait its turn."""
        self._reason = ""
        self.queue.add(study)

    def show(self, missing: str, study: QueuedStudy | None, seen: Collection[str] = ()) -> None:
        """Bring Segment in line with the present choice, and say above it why that cannot be segmented.

        missing: why not, empty if it can; study: that choice; seen: what the user can read elsewhere in the panel.
        """
        running = self.running
        already = bool(study) and self.queue.holds(study)
        if already:
            missing = _("This is being segmented, or waits for it: choose other images to add them to the queue.")
        button = self._ui.segmentButton
        button.setEnabled(not missing)
        button.setText(_("Add to queue") if running else _("Segment"))
        button.setToolTip(literal(missing) or (
            _("Segment the chosen images after those that run or wait now.") if running else
            _("Segment the chosen images.")))
        hint = "" if missing in seen else missing
        show_text(self._ui.segmentHintLabel, hint)

    def stop_all(self, reason: str) -> None:
        """Cancel what runs and forget what waits; `reason` is told. Polling goes on until the engine is gone.

        If nothing runs, what is said of the studies that have ended is forgotten too.
        """
        if self.running:
            self._reason = reason
        else:
            self.say("")
            self._ui.logText.clear()
        self.queue.clear()
        self._list.show(self.queue.entries)

    def abandon(self, reason: str) -> None:
        """Cancel all and wait until the engine is gone; `reason` goes to the status bar. Leaves no timer."""
        if self.queue.abandon():
            self._window.tell(reason)
        self._timer.rest()
        self._rest.stop()

    def say(self, text: str, failed: bool = False) -> None:
        """Show a message, with a warning sign if something failed."""
        self._message.say(text, failed)

    def _started(self, study: QueuedStudy) -> None:
        if study is self.queue.entries[0]:
            self._rest.stop()
            self._ui.logText.clear()
            self.on_started()
        else:
            self._rest.start()
            self._ui.logText.appendPlainText("")  # why an earlier one failed stays to be read
        self._ui.progressBar.setValue(0)
        self._ui.progressBar.setVisible(True)
        self._timer.watch(self.queue)

    def _show_progress(self, stage: str, fraction: float, seconds_left: float | None) -> None:
        self._ui.progressBar.setValue(round(100 * fraction))
        self.say(with_time_left(stage_text(stage), seconds_left))

    def _finished(self, study: QueuedStudy) -> None:
        outcome = study.outcome
        cancelled = outcome.kind == "cancelled"
        self.say(self._reason if cancelled and self._reason else outcome.message, failed=outcome.kind == "failed")
        self._on_finished(study)

    def _changed(self) -> None:
        """Follow the queue: timer, watch over closing, bar, Cancel, list."""
        current = self.queue.current
        if current is None:
            self._timer.rest()
        else:
            self._timer.follow()
        self._ui.progressBar.setVisible(current is not None)
        self._show_cancel()
        self._list.show(self.queue.entries)
        self._on_change()

    def _show_cancel(self) -> None:
        current, rests = self.queue.current, self._rest.active
        self._ui.cancelButton.setVisible(current is not None)
        self._ui.cancelButton.setEnabled(current is not None and not current.job.cancelled and not rests)
        self._ui.cancelButton.setToolTip(
            _("The next segmentation in the queue has just begun: it can be cancelled in a moment.") if rests
            else self._cancel_tip)

    def _cancel_clicked(self, checked=False) -> None:
        if self.running:
            self.say(_("Cancelling"))
            self.queue.cancel()
