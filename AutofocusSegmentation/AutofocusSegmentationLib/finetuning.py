"""One fine-tuning, or one look at its cases: cases to folder, engine, outcome. No widgets."""

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import slicer
from slicer.i18n import tr as _

from afnet import model_store
from afnet.errors import AfnetError
from afnet.manifest import Manifest, read_manifest
from afnet.parent import FINISH_EARLY

from .engine import ChildProcess, EngineProcess, EngineRequest, Note
from .finetuning_request import CANDIDATE, INPUTS, CheckRequest, ResumeRequest, TuneRequest
from .job import JobError, JobFolder
from .tuning_cases import TuningCase
from .tuning_export import CaseError, export_cases, needed_bytes

CACHE_RESERVE_BYTES = 1024**3
"""Free space that a training wants for prepared cases and checkpoints, besides the exported images."""


@dataclass(frozen=True)
class TuningSettings:
    """title: of the new model. tune: attention, last-blocks or all. epochs: passes over the cases, 0 to choose them.
    hold_out: 'auto', 'none', 'each', or 'chosen' for the cases that say so. device: auto, cuda, mps or cpu."""

    title: str
    tune: str = "attention"
    epochs: int = 20
    hold_out: str = "auto"
    device: str = "auto"


@dataclass(frozen=True)
class TuningOutcome:
    """How a job ended. checked: the cases were looked at. done: the new model waits in `folder` to be saved. stopped:
    `folder` can be resumed, None if there is nothing to resume. message: one sentence, empty when all went well."""

    kind: Literal["checked", "done", "stopped", "failed"]
    message: str = ""
    folder: Path | None = None
    details: str = ""


class FineTuningJob:
    """One run of `afnet finetune`: `check`, `train` or `resume`, then `poll` about ten times a second while `running`.

    `check` and `train` read the scene, which takes as long as writing its images to the disk; it is never changed, and
    may be closed afterwards. Nothing else waits. on_event gets every event of the engine, and a Note for what was done
    to a case when it was written; on_finished the TuningOutcome.
    """

    def __init__(
        self,
        engine: EngineProcess | None = None,
        on_event: Callable[[object], None] | None = None,
        on_finished: Callable[[TuningOutcome], None] | None = None,
    ) -> None:
        self.outcome: TuningOutcome | None = None
        self.stopped = False
        self.folder: Path | None = None
        """The new model's folder; None for a check."""
        self._engine = engine or ChildProcess(environment=slicer.util.startupEnvironment())
        self._on_event = on_event or (lambda event: None)
        self._on_finished = on_finished or (lambda outcome: None)
        self._job_folder: JobFolder | None = None
        self._defect: TuningOutcome | None = None
        self._started = False

    @property
    def running(self) -> bool:
        return self._started and self.outcome is None

    @property
    def checking(self) -> bool:
        return self.running and self.folder is None

    def check(self, base: Manifest, cases: Sequence[TuningCase], models_folder: Path) -> None:
        """Have the engine look at the cases, in a temporary folder that goes at the end."""
        def prepare() -> tuple[EngineRequest, Path]:
            self._job_folder = JobFolder(slicer.app.temporaryPath, needed_bytes(cases))
            folder = self._job_folder.create()
            self._export(base, cases, folder)
            return CheckRequest(base.folder, models_folder), folder

        self._start(prepare)

    def train(
        self, base: Manifest, cases: Sequence[TuningCase], settings: TuningSettings, models_folder: Path
    ) -> None:
        """Export the cases into the new model's folder and train there."""
        def prepare() -> tuple[EngineRequest, Path]:
            place = model_store.ensure_models_folder(models_folder)
            _check_free_disk(place, needed_bytes(cases))
            self.folder = Path(place) / model_store.free_id(settings.title, place)
            self.folder.mkdir()
            (self.folder / model_store.TRAINING).mkdir(mode=0o700)  # patients' images: for nobody else to read
            (self.folder / INPUTS).mkdir()
            self._export(base, cases, self.folder / INPUTS)
            held_out = ",".join(case.name for case in cases if case.hold_out) or "none"
            return TuneRequest(
                base.folder, self.folder, settings.title, settings.tune, settings.epochs,
                held_out if settings.hold_out == "chosen" else settings.hold_out, settings.device, place,
            ), self.folder

        self._start(prepare)

    def resume(self, folder: Path, device: str = "auto") -> None:
        """Go on with a stopped training."""
        def prepare() -> tuple[EngineRequest, Path]:
            self.folder = Path(folder)
            return ResumeRequest(self.folder, device), self.folder

        self._start(prepare)

    def poll(self) -> None:
        """Pass on what the engine said; finish when it has ended."""
        if not self.running:
            return
        try:
            for event in self._engine.poll():
                self._on_event(event)
            if not self._engine.running and self._engine.outcome is not None:
                self._end(self._defect or self._conclude())
        except Exception as error:
            self._unexpected(error)

    def stop(self) -> None:
        """Ask the engine to end after its present step, with a checkpoint; returns at once. Keep polling."""
        if self.running and not self.stopped:
            self.stopped = True
            self._engine.cancel()

    def finish_early(self) -> None:
        """Ask the engine to end the training after the present pass over the cases, and to score as usual."""
        if self.running:
            self._engine.send(FINISH_EARLY)

    def abandon(self, within_s: float = 65.0) -> None:
        """Stop and wait until the engine is gone; for the moment when nobody will poll any more."""
        self.stop()
        until = time.monotonic() + within_s
        while self.running and time.monotonic() < until:
            self.poll()
            time.sleep(0.02)
        if self.running:
            self._end(TuningOutcome("stopped", "", self.folder))

    def _export(self, base: Manifest, cases: Sequence[TuningCase], folder: Path) -> None:
        for note in export_cases(base, cases, folder):
            self._on_event(Note(note))

    def _start(self, prepare: Callable[[], tuple[EngineRequest, Path]]) -> None:
        """What goes wrong is told by `outcome`, never raised."""
        self._started = True
        try:
            request, folder = prepare()
            self._engine.start(request, folder)
        except (CaseError, JobError, AfnetError) as error:
            self._end(TuningOutcome("failed", str(error)))
        except OSError as error:
            text = _("The models folder cannot be written ({reason}): choose another one under Advanced, My models.")
            self._end(TuningOutcome("failed", text.format(reason=error.strerror or type(error).__name__)))
        except Exception as error:
            self._unexpected(error)

    def _conclude(self) -> TuningOutcome:
        outcome = self._engine.outcome
        if self.folder is None:
            if outcome.kind == "cancelled":
                return TuningOutcome("stopped", _("The check was stopped."))
            # 3: cases with problems. They were told one by one.
            return TuningOutcome("checked" if outcome.exit_code in (0, 3) else "failed", outcome.message,
                                 details=self._engine.details if outcome.exit_code not in (0, 3) else "")
        if result_is_complete(self.folder):  # also if it was just being finished when Stop was pressed
            return TuningOutcome("done", "", self.folder)
        left = self.folder if can_resume(self.folder) else None
        if self.stopped or outcome.kind == "cancelled":
            text = _("Stopped. Resume goes on where it was.") if left else _("Stopped before the training began.")
            return TuningOutcome("stopped", text, left)
        message = outcome.message or _("The engine left no new model: see the details, and try Resume.")
        return TuningOutcome("failed", message, left, self._engine.details)

    def _unexpected(self, error: Exception) -> None:
        """A defect of ours: the user gets a sentence, Slicer's log the traceback. The engine is ended first."""
        logging.exception("AutofocusSegmentation: unexpected error in a fine-tuning")
        text = _("The fine-tuning stopped because of an unexpected error ({kind}): see the log and try again.")
        outcome = TuningOutcome("failed", text.format(kind=type(error).__name__), self.folder, repr(error))
        if self._engine.running and self._defect is None:
            self._defect = outcome
            self._engine.cancel()
        else:
            self._end(outcome)

    def _end(self, outcome: TuningOutcome) -> None:
        if self._job_folder is not None:
            self._job_folder.remove()
        if outcome.kind != "done" and self.folder is not None and not can_resume(self.folder):
            _remove_what_was_made(self.folder)
        self.outcome = outcome
        self._on_finished(outcome)


def can_resume(folder: Path) -> bool:
    """Whether a training in `folder` was begun and can go on; one whose cases were refused cannot."""
    if any((folder / model_store.TRAINING / model_store.RUNS).glob("*/checkpoint.pt")):
        return True
    return (model_store.read_state(folder) or {}).get("status") in ("running", "stopped")


def result_is_complete(folder: Path) -> bool:
    """Whether a finished model waits in `folder` to be saved or discarded."""
    try:
        read_manifest(folder / CANDIDATE)
        return model_store.read_comparison(folder) is not None and (folder / CANDIDATE / "weights.npz").is_file()
    except AfnetError:
        return False


def _remove_what_was_made(folder: Path) -> None:
    """Remove a folder in which no training began, with the images exported into it; never one that holds a model."""
    if folder.is_dir() and not (folder / "model.json").exists():
        shutil.rmtree(folder, ignore_errors=True)


def _check_free_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + CACHE_RESERVE_BYTES:
        raise CaseError(
            _("There is not enough free disk space in the models folder: the training needs about {needed} MB and "
              "{free} MB are free; delete files, or choose another folder under Advanced, My models.").format(
                  needed=(needed + CACHE_RESERVE_BYTES) // 1024**2, free=free // 1024**2))
