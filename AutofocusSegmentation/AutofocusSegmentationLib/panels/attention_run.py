"""The part of the attention panel that runs: one job at a time, its progress, its message, Cancel."""

from collections.abc import Callable

from slicer.i18n import tr as _

from ..attention.job import AttentionJob
from ..engine.child import EngineProcess
from ..engine.engine_job import JobOutcome
from ..engine.one_engine import OneEngine
from .message_line import MessageLine
from .progress_text import stage_text, with_time_left
from .timers import JobTimer
from .window import SlicerWindow


class AttentionRun:
    """Drives an `AttentionJob` with a timer and shows it in the widgets of `ui`.

    window: Slicer's main window. one_engine: shared with the other panels. log: takes the lines of the log.
    make_engine: makes the process of each job, None for the real one. on_finished(outcome): a job has ended.
    on_change(): a job has begun or is being cancelled.
    """

    def __init__(
        self,
        ui,
        window: SlicerWindow,
        one_engine: OneEngine,
        log: Callable[[str], None],
        make_engine: Callable[[], EngineProcess | None],
        on_finished: Callable[[JobOutcome], None],
        on_change: Callable[[], None],
    ) -> None:
        self._ui, self._one_engine, self._log = ui, one_engine, log
        self._make_engine, self._on_finished, self._on_change = make_engine, on_finished, on_change
        self._job: AttentionJob | None = None
        self._message = MessageLine(ui.attentionMessageIcon, ui.attentionMessageLabel)
        self._timer = JobTimer(window, lambda: _("Attention maps are being computed. Stop and close Slicer?"))
        ui.cancelButton.connect("clicked(bool)", self._cancel_clicked)

    @property
    def running(self) -> bool:
        """Whether maps are being computed."""
        return self._timer.running

    @property
    def hindrance(self) -> str:
        """Why a job cannot start now, see OneEngine; empty if it can."""
        return self._one_engine.hindrance(self)

    def start(self, manifest, segmentation, wanted, **options) -> None:
        """Start a job; not while there is a `hindrance`.

        Arguments as for AttentionJob; options: device, memory, precision.
        """
        self._job = AttentionJob(
            manifest, segmentation, wanted, **options, engine=self._make_engine(),
            on_progress=self._show_progress, on_log=self._log, on_finished=self._finished,
        )
        self._timer.watch(self._job)
        self._job.start()
        if self.running:
            self._one_engine.take(
                self, _("Attention maps are being computed: wait until that has ended, or cancel it."))
            self._timer.follow()

    def cancel(self) -> None:
        """Ask the engine to end; polling goes on until it is gone."""
        if self.running:
            self._job.cancel()

    def abandon(self) -> None:
        """Cancel and wait until the engine is gone. Leaves no timer."""
        self._timer.abandon()

    def show(self) -> None:
        """Bring Cancel and the bar in line with the job."""
        self._ui.cancelButton.setVisible(self.running)
        self._ui.cancelButton.setEnabled(self.running and not self._job.cancelled)
        self._ui.attentionProgressBar.setVisible(self.running)

    def say(self, text: str, failed: bool = False) -> None:
        """Show a message, with a warning sign if something failed."""
        self._message.say(text, failed)

    def say_again(self) -> None:
        """Hide what an opening section showed although there is nothing to say."""
        self._message.say_again()

    def _cancel_clicked(self, checked=False) -> None:
        self.cancel()
        self.say(_("Cancelling"))
        self._on_change()

    def _show_progress(self, stage: str, fraction: float, seconds_left: float | None) -> None:
        self._ui.attentionProgressBar.setValue(round(100 * fraction))
        text = _("Computing the attention") if stage == "network" else stage_text(stage)
        self.say(with_time_left(text, seconds_left))

    def _finished(self, outcome: JobOutcome) -> None:
        self._timer.rest()
        self._one_engine.release(self)
        self.say(outcome.message, failed=outcome.kind == "failed")
        self._on_finished(outcome)
