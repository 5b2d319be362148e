"""One segmentation as a job: study, job folder, engine, result. No widgets."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from afnet.models.manifest import Manifest

from .engine.child import EngineProcess
from .engine.engine_job import EngineJob, JobOutcome
from .engine.job_folder import JobError, JobFolder
from .engine.outcome import lines_of
from .engine.output import Note, ProgressEvent, Started
from .engine.request import SegmentRequest
from .inputs.input_checks import input_problems
from .inputs.study import StudyError, export_study
from .results.output_check import output_problem
from .results.result import load_result
from .results.result_files import ResultError
from .scene.grids import grid_of_volume, same_grid
from .scene.sequences import Frame
from .scene.transforms import ijk_to_local
from .segments import study_record

RESULT_BYTES_PER_VOXEL = 16
"""Room on the disk kept for the result and temporary copies of it, per voxel of the reference."""


class SegmentationJob(EngineJob):
    """One run of a model on volumes of the scene.

    `start` takes as long as writing the images to the disk; nothing else waits. The scene changes only in the `poll`
    that ends a run well; a run that is cancelled or fails leaves it as it was.

    inputs: input name of the manifest to volume node. output: segmentation node to write into, None for a new one.
    memory ('2GB') and precision ('float32'): as for `afnet segment`, None for automatic. frames: input name to the
    frame that is meant, of inputs that show a sequence; by default the one that they show at the start.
    on_progress(stage, fraction 0..1, seconds left or None), on_log(line), on_finished(JobOutcome) are optional. No line
    has the name of a node, which may be a patient's; nor has the outcome's message.
    """

    REFUSALS = (StudyError, JobError)

    def __init__(
        self,
        manifest: Manifest,
        inputs: Mapping[str, object],
        output=None,
        device: str = "auto",
        engine: EngineProcess | None = None,
        on_progress: Callable[[str, float, float | None], None] | None = None,
        on_log: Callable[[str], None] | None = None,
        on_finished: Callable[[JobOutcome], None] | None = None,
        memory: str | None = None,
        precision: str | None = None,
        frames: Mapping[str, Frame] | None = None,
    ) -> None:
        super().__init__(engine, on_finished)
        self.manifest = manifest
        self._inputs = dict(inputs)
        self._frames = dict(frames or {})
        self._output = output
        self._device, self._memory, self._precision = device, memory, precision
        self._on_progress = on_progress or (lambda stage, fraction, seconds_left: None)
        self._on_log = on_log or (lambda line: None)
        self._notes: list[str] = []
        self._stage = ""
        self._since = time.monotonic()
        self._grid: tuple = ()
        self._record = ""

    @property
    def reference(self):
        """The volume node on whose grid the result lies."""
        return self._inputs[self.manifest.reference]

    def start(self) -> None:
        """Export the study and start the engine. What goes wrong is told by `outcome`, never raised."""
        self._start(self._begin)

    def cancel(self) -> None:
        """As EngineJob.cancel: the engine ends, or is killed, within about a second."""
        if self.running and not self.cancelled:
            self._log(_("Cancelled"))
        super().cancel()

    def _begin(self) -> None:
        problem = self._problem()
        if problem:
            raise StudyError(problem)
        self._grid = _grid(self.reference)
        self._log(_("Model {id} {version}, device {device}").format(
            id=self.manifest.id, version=self.manifest.version, device=self._device))
        self._job_folder = JobFolder(slicer.app.temporaryPath, self._needed_bytes())
        folder = self._job_folder.create()
        self._progress("export", 0.0, None)
        study = export_study(self.manifest, self._inputs, folder, self._frames)
        for note in study.notes:
            self._note(note)
        self._engine.start(self._request(study.files), folder)
        self._progress("start", 0.0, None)

    def _handle(self, event) -> None:
        if isinstance(event, ProgressEvent):
            self._progress(event.stage, event.fraction, event.seconds_left)
        elif isinstance(event, Note):
            self._note(event.text)
        elif isinstance(event, Started):
            self._log(_("Engine {afnet} with PyTorch {torch} on {device}").format(
                afnet=event.afnet, torch=event.torch, device=event.device))

    def _conclude(self) -> JobOutcome:
        outcome = self._engine.outcome
        if self.cancelled or outcome.kind == "cancelled":
            return self._cancelled_outcome()
        if outcome.kind == "failed":
            return self._failed(outcome.message, self._engine.details)
        self._progress("load", 1.0, None)
        problem = self._changed_meanwhile()
        if problem:
            return self._failed(problem)
        try:
            return JobOutcome("done", "", self._load_result(self._job_folder.path))
        except ResultError as error:
            return self._failed(str(error))

    def _defect_text(self) -> str:
        return _("The segmentation stopped because of an unexpected error ({kind}): see the log and try again.")

    def _tidy(self, outcome: JobOutcome) -> None:
        for line in lines_of(outcome.message, outcome.details):
            self._log(line)
        if outcome.kind == "done":
            self._log(_("Done"))

    # What attention/job.py overrides

    def _problem(self) -> str:
        """Return why the job cannot start, empty if it can."""
        for problem in input_problems(self.manifest, self._inputs).values():
            return problem
        for name, frame in self._frames.items():
            if not same_grid(frame.grid, grid_of_volume(self._inputs[name])):
                return _("{title} does not lie where the frame lay that was to be segmented: show that frame again, "
                         "then segment it.").format(title=self.manifest.input(name).title)
        if self._output is not None and self._output.IsA("vtkMRMLSegmentationNode"):
            study_record.find_images_again(self._output)
        images = self._inputs.values()
        return output_problem(self.manifest, self.reference, self._output, images=images, named=False)

    def _request(self, files: dict[str, str]) -> SegmentRequest:
        """Return what the engine is asked; `files`: input name to file in the job folder."""
        # Now, for a user may change them meanwhile.
        self._record = study_record.record(self.manifest, self._inputs, self._frames)
        return SegmentRequest(model=self.manifest.folder, inputs=files, device=self._device, memory=self._memory,
                       precision=self._precision)

    def _load_result(self, folder: Path) -> object:
        """Bring what the engine wrote into the scene. Raises ResultError; the scene is then as before."""
        images = self._inputs.values()
        result = load_result(self.manifest, folder, self.reference, self._output, self._notes, images)
        study_record.remember(result.segmentation, self._inputs, self._record)
        return result

    def _cancelled_text(self) -> str:
        return _("The segmentation was cancelled.")

    def _changed_meanwhile(self) -> str | None:
        """Say why the result would not fit the scene any more; the user may work while the engine runs."""
        scene = slicer.mrmlScene
        if not scene.IsNodePresent(self.reference):
            return _("The result was discarded because its image was removed from the scene meanwhile: segment again.")
        if _grid(self.reference) != self._grid:
            return _(
                "The result was discarded because its image was moved, cropped or resampled meanwhile: segment again."
            )
        if self._output is not None and not scene.IsNodePresent(self._output):
            return _(
                "The result was discarded because the output segmentation was removed meanwhile: choose another and "
                "segment again."
            )
        return None

    def _needed_bytes(self) -> int:
        volumes = [node.GetImageData() for node in self._inputs.values()]
        stored = sum(image.GetNumberOfPoints() * image.GetScalarSize() for image in volumes)
        return stored + RESULT_BYTES_PER_VOXEL * self.reference.GetImageData().GetNumberOfPoints()

    def _progress(self, stage: str, fraction: float, seconds_left: float | None) -> None:
        if stage != self._stage:
            self._stage = stage
            self._log(_("Stage {stage}").format(stage=stage))
        self._on_progress(stage, fraction, seconds_left)

    def _note(self, text: str) -> None:
        self._notes.append(text)
        self._log(text)

    def _log(self, text: str) -> None:
        seconds = time.monotonic() - self._since
        for line in text.splitlines():
            self._on_log(f"{seconds:6.1f} s  {line}")


def _grid(volume) -> tuple:
    """Return what places a volume's voxels: dimensions and IJK to RAS (without parent transforms)."""
    image = volume.GetImageData()
    return image.GetDimensions() if image else None, *ijk_to_local(volume).ravel()
