"""One segmentation from volume nodes to a segmentation node that is waited for, for scripts. No widgets."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import slicer

from afnet.errors import AfnetError
from afnet.models.manifest import Manifest

from .engine.child import EngineProcess
from .models import model_called
from .results.result import Result
from .segmentation_job import SegmentationJob


class SegmentationFailed(Exception):
    """A segmentation that did not end well; the text is one sentence for the user."""


def segment(
    model: str | Path | Manifest,
    inputs: Mapping[str, object],
    output=None,
    device: str = "auto",
    engine: EngineProcess | None = None,
    on_progress: Callable[[str, float, float | None], None] | None = None,
) -> Result:
    """Segment and wait for the result; for scripts. Arguments as for `SegmentationJob`; `model` may be an id or folder.

    Raises SegmentationFailed with one sentence. Ctrl-C, or any exception of a callback, ends the engine first.
    """
    try:
        manifest = model_called(model)
    except AfnetError as error:
        raise SegmentationFailed(str(error)) from None
    job = SegmentationJob(manifest, inputs, output, device, engine, on_progress)
    try:
        job.start()
        while job.running:
            job.poll()
            slicer.app.processEvents()
            time.sleep(0.05)
    finally:
        job.abandon()
    if job.outcome.kind != "done":
        raise SegmentationFailed(job.outcome.message)
    return job.outcome.result
