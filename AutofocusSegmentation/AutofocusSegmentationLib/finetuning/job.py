"""One fine-tuning, or one look at its cases: cases to folder, engine, outcome. No widgets."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from afnet.errors import AfnetError
from afnet.models import model_store, training_folder
from afnet.models.manifest import Manifest, read_manifest
from afnet.models.training_folder import RUNNING, RUNS, STOPPED, TRAINING
from afnet.process.parent import FINISH_EARLY

from ..engine.child import EngineProcess
from ..engine.engine_job import EngineJob, JobOutcome
from ..engine.job_folder import JobError, JobFolder
from ..engine.output import Note
from .case_export import CaseError, export_cases, needed_bytes
from .cases import TuningCase
from .request import CANDIDATE, STOP_GRACE_S, CheckRequest, ResumeRequest, TuneRequest, TuningChoices

CACHE_RESERVE_BYTES = 1024**3
"""Free space that a training wants for prepared cases and checkpoints, besides the exported images."""


class FineTuningJob(EngineJob):
    """One run of `afnet finetune`: `check`, `train` or `resume`.

    `check` and `train` read the scene, which takes as long as writing its images to the disk; it is never changed, and
    may be closed afterwards. Nothing else waits. on_event gets every event of the engine, and a Note for what was done
    to a case when it was written; on_finished the JobOutcome. When a training is done, its new model waits in `folder`
    to be saved; a cancelled one ends after its present step, with a checkpoint.
    """

    REFUSALS = (CaseError, JobError, AfnetError)
    ENDS_WITHIN_S = STOP_GRACE_S + 5.0

    def __init__(
        self,
        engine: EngineProcess | None = None,
        on_event: Callable[[object], None] | None = None,
        on_finished: Callable[[JobOutcome], None] | None = None,
    ) -> None:
        super().__init__(engine, on_finished)
        self.folder: Path | None = None
        """The new model's folder, once it is made; None for a check."""
        self._on_event = on_event or (lambda event: None)

    @property
    def checking(self) -> bool:
        return self.running and self.folder is None

    def check(self, base: Manifest, cases: Sequence[TuningCase], models_folder: Path) -> None:
        """Have the engine look at the cases, in a temporary folder that goes at the end."""
        def begin() -> None:
            self._job_folder = JobFolder(slicer.app.temporaryPath, needed_bytes(cases))
            folder = self._job_folder.create()
            self._export(base, cases, folder)
            self._engine.start(CheckRequest(base.folder, models_folder), folder)

        self._start(begin)

    def train(
        self, base: Manifest, cases: Sequence[TuningCase], choices: TuningChoices, models_folder: Path
    ) -> None:
        """Export the cases into the new model's folder and train there."""
        def begin() -> None:
            place = model_store.ensure_models_folder(models_folder)
            _check_free_disk(place, needed_bytes(cases))
            try:
                self.folder = _new_folder(place, choices.title)
                inputs = training_folder.begin_export(self.folder)
            except OSError as error:
                raise CaseError(
                    _("The models folder cannot be written ({reason}): choose another folder My models (under "
                      "Advanced, at the top of the module).").format(reason=error.strerror or type(error).__name__)
                ) from None
            self._export(base, cases, inputs)
            held_out = choices.hold_out
            if held_out == "chosen":
                held_out = ",".join(case.name for case in cases if case.hold_out) or "none"
            request = TuneRequest(base.folder, self.folder, place, replace(choices, hold_out=held_out))
            self._engine.start(request, self.folder)

        self._start(begin)

    def resume(self, folder: Path, device: str) -> None:
        """Go on with a stopped training."""
        def begin() -> None:
            self.folder = Path(folder)
            self._engine.start(ResumeRequest(self.folder, device), self.folder)

        self._start(begin)

    def finish_early(self) -> None:
        """Ask the engine to end the training after the present pass over the cases, and to score as usual."""
        if self.running:
            self._engine.send(FINISH_EARLY)

    def _handle(self, event) -> None:
        self._on_event(event)

    def _export(self, base: Manifest, cases: Sequence[TuningCase], folder: Path) -> None:
        for note in export_cases(base, cases, folder):
            self._on_event(Note(note))

    def _conclude(self) -> JobOutcome:
        outcome = self._engine.outcome
        if self.folder is None:
            if outcome.kind == "cancelled":
                return self._cancelled_outcome()
            if outcome.exit_code in (0, 3):  # 3: cases with problems, which were told one by one
                return JobOutcome("done", outcome.message)
            return self._failed(outcome.message, self._engine.details)
        if result_is_complete(self.folder):  # also if it was just being finished when Stop was pressed
            return JobOutcome("done")
        if self.cancelled or outcome.kind == "cancelled":
            return self._cancelled_outcome()
        message = outcome.message or _("The engine wrote no new model: see the Log section, and try Resume.")
        return self._failed(message, self._engine.details)

    def _cancelled_text(self) -> str:
        if self.folder is None:
            return _("The check was stopped.")
        if can_resume(self.folder):
            return _("Stopped. Resume goes on where it was.")
        return _("Stopped before the training began.")

    def _defect_text(self) -> str:
        return _("The fine-tuning stopped because of an unexpected error ({kind}): see the log and try again.")

    def _tidy(self, outcome: JobOutcome) -> None:
        if outcome.kind != "done" and self.folder is not None and not can_resume(self.folder):
            _remove_what_was_made(self.folder)


def can_resume(folder: Path) -> bool:
    """Whether a training in `folder` was begun and can go on; one whose cases were refused cannot."""
    if any((folder / TRAINING / RUNS).glob("*/checkpoint.pt")):
        return True
    return (training_folder.read_state(folder) or {}).get("status") in (RUNNING, STOPPED)


def result_is_complete(folder: Path) -> bool:
    """Whether a finished model waits in `folder` to be saved or discarded."""
    try:
        read_manifest(folder / CANDIDATE)
        return training_folder.read_comparison(folder) is not None and (folder / CANDIDATE / "weights.npz").is_file()
    except AfnetError:
        return False


def _new_folder(place: Path, title: str) -> Path:
    """Make the folder of a new model of this title. Raises CaseError if another Slicer has just taken its name."""
    folder = place / model_store.free_id(title, place)
    try:
        folder.mkdir()
    except FileExistsError:
        raise CaseError(_("Another Slicer has just begun a fine-tuning of the same name: start again.")) from None
    return folder


def _remove_what_was_made(folder: Path) -> None:
    """Remove a folder in which no training began, with the images exported into it; never one that holds a model."""
    if folder.is_dir() and not (folder / "model.json").exists():
        shutil.rmtree(folder, ignore_errors=True)


def _check_free_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + CACHE_RESERVE_BYTES:
        raise CaseError(
            _("There is not enough free disk space in the models folder: the training needs about {needed} MB and "
              "{free} MB are free; delete files, or choose another folder My models (under Advanced, at the top of "
              "the module).").format(
                  needed=(needed + CACHE_RESERVE_BYTES) // 1024**2, free=free // 1024**2))
