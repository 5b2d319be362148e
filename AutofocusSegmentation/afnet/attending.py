"""Attention maps of a study that need not be segmented (again): the pass ends when the maps are made."""

from .inference import infer
from .json_documents import Report
from .opened_study import OpenedStudy, describe, finish, open_study
from .output.outputs import outputs_of
from .process.progress import Progress
from .study_request import StudyRequest


class _Collected(Exception):
    """Ends a pass over the network: every wanted map is there."""


def attend(request: StudyRequest, progress: Progress) -> Report:
    """Write the attention maps of one study into `request.attention_folder` and return the report; no segmentation.

    The network computes what it computes when it segments, so the maps belong to the segmentation that the same
    model made of the same images. Raises RequestError, InputError and OutOfMemory as `segment`.
    """
    study = open_study(request, progress)
    progress.stage("network")
    _compute(study, progress)
    progress.stage("write")
    report = describe(study, study.collector.device, study.collector.precision, progress)
    with outputs_of(request):
        report["attention"] = study.collector.write(request.attention_folder)
        finish(report, request, progress)
    return report


def _compute(study: OpenedStudy, progress: Progress) -> None:
    """Fill `study.collector`, and end the pass with the last map that is wanted.

    Slabs of later layers that came before it are computed all the same: a pass goes through the layers in turn.
    """
    collector = study.collector

    def sink(*slab) -> None:
        collector(*slab)
        if collector.complete:
            raise _Collected

    try:
        infer(study.predictor, study.prepared.channels, study.resources, progress, sink)
    except _Collected:
        progress.within(1.0)
