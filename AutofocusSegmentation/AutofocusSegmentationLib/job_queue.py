"""The studies that wait to be segmented, one after the other, each with its own model, images and output."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import slicer
from slicer.i18n import tr as _

from afnet.models.manifest import Manifest

from .engine.child import EngineProcess
from .engine.engine_job import JobOutcome
from .models import short_title
from .scene.sequences import Frame, current_frame
from .scene.volumes import name_of
from .segmentation_job import SegmentationJob


@dataclass(eq=False)
class QueuedStudy:
    """One study as it was when the user asked for it: later choices in the panel do not change it.

    inputs: input name to volume node. output: segmentation node to write into, None for a new one. device, memory,
    precision: as for the engine. job: once it runs. outcome: once it has ended. frames: input name to the frame that
    an input showed of its sequence.
    """

    manifest: Manifest
    inputs: Mapping[str, object]
    output: object = None
    device: str = "auto"
    memory: str | None = None
    precision: str | None = None
    job: SegmentationJob | None = field(default=None, init=False)
    outcome: JobOutcome | None = field(default=None, init=False)
    frames: dict[str, Frame] = field(init=False)

    def __post_init__(self) -> None:
        shown = {name: current_frame(node) for name, node in self.inputs.items() if node is not None}
        self.frames = {name: frame for name, frame in shown.items() if frame}

    @property
    def reference(self):
        """The volume node on whose grid the result lies."""
        return self.inputs[self.manifest.reference]

    @property
    def title(self) -> str:
        """What the user reads of it: the reference volume's name, its frame, and the model's title."""
        return _("{volume}, {model}").format(volume=self.image_name, model=short_title(self.manifest.title))

    @property
    def image_name(self) -> str:
        """The reference volume's name, with the frame if it shows a sequence."""
        frame = self.frames.get(self.manifest.reference)
        name = name_of(self.reference)
        return _("{volume}, {frame}").format(volume=name, frame=frame.text) if frame else name

    def asks_the_same_as(self, other: "QueuedStudy") -> bool:
        """Tell whether both would make the same result in the same place."""
        return (self.manifest, self._images(), self.output) == (other.manifest, other._images(), other.output)

    def _images(self) -> dict[str, tuple[str, str]]:
        frames = {name: frame.text for name, frame in self.frames.items()}
        return {name: (node.GetID(), frames.get(name, "")) for name, node in self.inputs.items() if node is not None}


class JobQueue:
    """Runs one study at a time; how one ends does not stop the next. `poll` about ten times a second while `running`.

    make_engine: makes the process of each job, None for the real one. on_started(entry), on_progress(stage, fraction,
    seconds left), on_log(line), on_finished(entry), on_change() tell the panel.
    """

    def __init__(
        self,
        make_engine: Callable[[], EngineProcess | None],
        on_started: Callable[[QueuedStudy], None],
        on_progress: Callable[[str, float, float | None], None],
        on_log: Callable[[str], None],
        on_finished: Callable[[QueuedStudy], None],
        on_change: Callable[[], None],
    ) -> None:
        self._make_engine = make_engine
        self._on_started, self._on_progress, self._on_log = on_started, on_progress, on_log
        self._on_finished, self._on_change = on_finished, on_change
        self.entries: list[QueuedStudy] = []

    @property
    def current(self) -> QueuedStudy | None:
        """The study that runs, or None."""
        return next((entry for entry in self.entries if entry.job is not None and entry.outcome is None), None)

    @property
    def running(self) -> bool:
        return self.current is not None

    @property
    def waiting(self) -> list[QueuedStudy]:
        return [entry for entry in self.entries if entry.job is None and entry.outcome is None]

    def holds(self, study: QueuedStudy) -> bool:
        """Tell whether the same is running or waiting already."""
        return any(entry.outcome is None and entry.asks_the_same_as(study) for entry in self.entries)

    def promised_to(self, study: QueuedStudy) -> QueuedStudy | None:
        """Return the study that runs or waits, on another image than `study`, for the same segmentation as output."""
        image = study.reference, study.image_name
        rivals = (entry for entry in self.entries if entry.outcome is None and entry.output is study.output
                  and (entry.reference, entry.image_name) != image)
        return next(rivals, None) if study.output is not None else None

    def add(self, study: QueuedStudy) -> None:
        """Start a study, or let it wait while another runs. A new series of studies forgets those that have ended."""
        if not self.running:
            self.entries = []
        self.entries.append(study)
        self._advance()
        self._on_change()

    def remove(self, study: QueuedStudy) -> None:
        """Take a study out of the list; one that runs stays."""
        if study is not self.current and study in self.entries:
            self.entries.remove(study)
            self._on_change()

    def cancel(self) -> None:
        """Cancel the study that runs; the next one starts when its engine has ended."""
        if self.running:
            self.current.job.cancel()
            self._on_change()

    def clear(self) -> int:
        """Cancel the study that runs and forget the others; return how many were running or waiting."""
        count = len(self.waiting) + self.running
        self.entries = [self.current] if self.running else []
        self.cancel()
        return count

    def abandon(self) -> int:
        """Cancel all and wait until the engine is gone, for the moment when nobody will poll any more."""
        current, count = self.current, self.clear()
        if current is not None:
            current.job.abandon()
        return count

    def poll(self) -> None:
        current = self.current
        if current is not None:
            current.job.poll()
        self._advance()

    def _advance(self) -> None:
        """Start the next study if none runs; one that cannot start ends at once, and the next has its turn."""
        while not self.running and self.waiting:
            self._start(self.waiting[0])
            self._on_change()

    def _start(self, study: QueuedStudy) -> None:
        nodes = [*study.inputs.values(), *([study.output] if study.output else [])]
        if not all(slicer.mrmlScene.IsNodePresent(node) for node in nodes):
            self._end(study, JobOutcome("failed", _(
                "A queued segmentation was skipped because one of its images or its output was removed from the "
                "scene.")))
            return
        study.job = SegmentationJob(
            study.manifest, study.inputs, study.output, study.device, memory=study.memory, precision=study.precision,
            frames=study.frames, engine=self._make_engine(), on_progress=self._on_progress, on_log=self._on_log,
            on_finished=lambda outcome: self._end(study, outcome),
        )
        self._on_started(study)
        study.job.start()

    def _end(self, study: QueuedStudy, outcome: JobOutcome) -> None:
        study.outcome = outcome
        self._on_finished(study)
        self._on_change()
