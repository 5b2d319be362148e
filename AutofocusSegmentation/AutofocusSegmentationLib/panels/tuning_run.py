"""The run of a fine-tuning as the user sees it: progress, messages, chart, log, Stop, and the question on closing."""

from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from ..engine.child import EngineProcess
from ..engine.engine_job import JobOutcome
from ..engine.finetuning_events import CaseChecked, EpochDone, RunBegun
from ..engine.one_engine import OneEngine
from ..engine.outcome import lines_of
from ..engine.output import Note, ProgressEvent, Started
from ..finetuning.chart import TuningChart
from ..finetuning.job import FineTuningJob
from .chart_button import ChartButton
from .message_line import MessageLine
from .progress_text import tuning_stage_text, with_time_left
from .timers import JobTimer
from .window import SlicerWindow


class TuningRun:
    """One `FineTuningJob` at a time, in the widgets of `ui` below the settings.

    on_case_checked: called with each check result. on_finished: called with how a job ended, after the widgets tell it.
    make_engine: makes the process of each job; None for the real one.
    """

    def __init__(
        self,
        ui,
        window: SlicerWindow,
        one_engine: OneEngine,
        on_case_checked: Callable[[CaseChecked], None],
        on_finished: Callable[[JobOutcome], None],
        make_engine: Callable[[], EngineProcess | None] = lambda: None,
    ) -> None:
        self._ui, self._one_engine = ui, one_engine
        self._message = MessageLine(ui.tuneMessageIcon, ui.tuneMessageLabel)
        self._on_case_checked, self._on_finished, self._make_engine = on_case_checked, on_finished, make_engine
        self._about: Path | None = None
        self._job: FineTuningJob | None = None
        self._run: RunBegun | None = None
        self._epoch: EpochDone | None = None
        self._chart = TuningChart()
        self._chart_button = ChartButton(
            ui.chartButton, lambda: self._chart.chart, lambda: self.tell(_("The chart is no longer in the scene.")))
        self._timer = JobTimer(window, self._question)
        ui.tuneProgressBar.setVisible(False)
        ui.stopButton.connect("clicked(bool)", self._stop_clicked)
        ui.finishButton.connect("clicked(bool)", self._finish_clicked)
        self.update()

    @property
    def running(self) -> bool:
        """Whether the engine trains, or looks at the cases."""
        return self._timer.running

    @property
    def folder(self) -> Path | None:
        """The new model's folder of the latest job; None for a check, or before the first."""
        return self._job.folder if self._job is not None else None

    def begin(self, start: Callable[[FineTuningJob], None], checking: bool = False) -> None:
        """Make a job and have `start` start it: FineTuningJob.check, train or resume with their arguments."""
        ui = self._ui
        ui.tuneLogText.clear()
        self._run = self._epoch = None
        self._job = FineTuningJob(self._make_engine(), self._heard, self._finished)
        self._one_engine.take(self, _("The cases of a fine-tuning are being checked: wait until that has ended.")
                              if checking else
                              _("A fine-tuning is running: wait until it has ended, or stop it."))
        self._timer.watch(self._job)
        ui.tuneProgressBar.setValue(0)
        ui.tuneProgressBar.setVisible(True)
        self.tell(tuning_stage_text("start"))
        start(self._job)
        self._timer.follow()
        self.update()

    def abandon(self) -> None:
        """The module goes: stop, wait for the checkpoint, and leave no timer or observer behind."""
        self._timer.abandon()
        self._chart_button.cleanup()

    def tell(self, text: str, about: Path | None = None, failed: bool = False) -> None:
        """Show one message below the buttons, empty for none; about: a model's folder, with which it goes, if any."""
        self._about = about
        self._message.say(text, failed)

    def update(self) -> None:
        """Bring the buttons in line with the job, and take back what was said of a folder that is gone."""
        running = self.running
        if self._about is not None and not self._about.exists():
            self.tell("")
        self._ui.stopButton.setEnabled(running and not self._job.cancelled)
        self._ui.finishButton.setEnabled(running and not self._job.checking and not self._job.cancelled)
        self._ui.chartButton.setVisible(self._chart.chart is not None)
        self._chart_button.update()

    def _heard(self, event) -> None:
        if isinstance(event, ProgressEvent):
            self._ui.tuneProgressBar.setValue(round(100 * event.fraction))
            if not self._job.cancelled:
                self.tell(self._progress_text(event))
        elif isinstance(event, Started):
            self._log(_("Engine {afnet} with PyTorch {torch} on {device}").format(
                afnet=event.afnet, torch=event.torch, device=event.device))
        elif isinstance(event, Note):
            self._log(event.text)
        elif isinstance(event, CaseChecked):
            for sentence in (*event.problems, *event.warnings):
                self._log(sentence)
            self._on_case_checked(event)
        elif isinstance(event, RunBegun):
            self._run, self._epoch = event, None
            self._chart.begin(self._run_title())
            self._log(self._run_title())
        elif isinstance(event, EpochDone):
            self._epoch = event
            if not (slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsImporting()):
                self._chart.add(event)
            self._log(_epoch_text(event))
            self.update()

    def _progress_text(self, progress: ProgressEvent) -> str:
        parts = [tuning_stage_text(progress.stage)]
        if progress.stage == "train" and self._epoch is not None:
            parts.append(_("{done} of {count} passes done").format(done=self._epoch.epoch, count=self._epoch.epochs))
        if self._run is not None and self._run.of > 1:
            parts.append(_("training {number} of {count}").format(number=self._run.number, count=self._run.of))
        return with_time_left(", ".join(parts), progress.seconds_left)

    def _run_title(self) -> str:
        if self._run.run == "final":
            return _("Fine-tuning on {count} cases").format(count=len(self._run.training))
        if self._run.run.startswith("without"):
            return _("Fine-tuning without {cases}").format(cases=", ".join(self._run.held_out))
        return _("Choosing the number of passes, part {number}").format(number=self._run.number)

    def _stop_clicked(self, checked=False) -> None:
        if self.running:
            self._job.cancel()
            self.tell(_("Stopping after the present step; this can take some seconds."))
            self.update()

    def _finish_clicked(self, checked=False) -> None:
        self._job.finish_early()
        self._ui.finishButton.setEnabled(False)
        self._log(_("Finish after the present pass"))

    def _finished(self, outcome: JobOutcome) -> None:
        self._timer.rest()
        self._ui.tuneProgressBar.setVisible(False)
        text = outcome.message
        if outcome.kind == "done" and self.folder is not None:
            text = _("Done. See before and after, then save the new model or discard it.")
        left = self.folder if self.folder is not None and self.folder.exists() else None
        self.tell(text, left, failed=outcome.kind == "failed")
        for line in lines_of(outcome.message, outcome.details):
            self._log(line)
        self._on_finished(outcome)
        self._one_engine.release(self)
        self.update()

    def _log(self, text: str) -> None:
        self._ui.tuneLogText.appendPlainText(text)

    def _question(self) -> str:
        """Return what to ask before Slicer closes; stopping waits for the checkpoint."""
        return (
            _("The cases of a fine-tuning are being checked. Stop that and close Slicer?") if self._job.checking else
            _("A fine-tuning is running. Stop it after the present step and close Slicer? You can resume it later.")
        )


def _epoch_text(epoch: EpochDone) -> str:
    parts = [_("Pass {number} of {count}").format(number=epoch.epoch, count=epoch.epochs)]
    if epoch.loss is not None:
        parts.append(_("loss {loss:.3f}").format(loss=epoch.loss))
    if epoch.held_out_dice is not None:
        text = _("Dice of the test cases {dice:.3f}")
        if not epoch.on_test_cases:
            text = _("Dice of the validation cases {dice:.3f}")
        parts.append(text.format(dice=epoch.held_out_dice))
    return ", ".join(parts)
