"""The main job: from the images of one study to a segmentation on the reference image's own grid."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from .decoding import check_found, clean, found_outside, restore
from .inference import Computed, infer, left_over
from .json_documents import Report, StructureEntry
from .models.laterality import outputs_in_a_mirror
from .models.manifest import Manifest
from .opened_study import OpenedStudy, describe, finish, open_study
from .output.outputs import outputs_of
from .output.writing import write_segmentation, write_volume
from .plausibility import judge
from .preprocessing.grid import bounding_box
from .process.progress import Progress
from .study_request import StudyRequest


def segment(request: StudyRequest, progress: Progress) -> Report:
    """Segment one study, write what the request asks for and return the report.

    Raises RequestError (nothing was computed), InputError (the images cannot be segmented), OutOfMemory.
    All outputs appear, or none: a run that fails leaves what was there before.
    """
    study = open_study(request, progress)
    manifest, prepared = study.manifest, study.prepared

    progress.stage("network")
    computed = compute(study, progress)

    progress.stage("restore")
    reference = study.images[manifest.reference]
    labels = restore(computed.probabilities, prepared.grid, reference, manifest, progress.within)
    labels, islands = clean(labels, manifest)
    missing = check_found(labels, manifest)
    labels, doubts, left_out = judge(labels, reference, manifest)
    for note in islands + missing + doubts:
        progress.note(note)

    progress.stage("write")
    report = describe(study, computed.device, computed.precision, progress)
    report["structures"] = measure(labels, manifest, left_out)
    with outputs_of(request):
        if study.collector:
            report["attention"] = study.collector.write(request.attention_folder)
        if request.labelmap:
            write_volume(request.labelmap, labels, "The label map")
        write_segmentation(request.output, labels, manifest, report)
        finish(report, request, progress)
    return report


def compute(study: OpenedStudy, progress: Progress) -> Computed:
    """Compute the probabilities on the study's grid: of its network, or the mean with its companion's, which may see
    the study in a mirror too (x of the grid is left and right)."""
    first = study.prepared
    second = study.companion.prepared if study.companion else None
    passes = 2 if study.manifest.companion_mirrored else 1
    part = first.mask.size / (first.mask.size + passes * second.mask.size) if second else 1.0
    progress.share(0.0, part)
    computed = infer(study.predictor, first.channels, study.resources, progress, study.collector)
    if second is None:
        return computed
    once, resources = part + (1 - part) / passes, left_over(study.resources, computed)
    progress.share(part, once)
    other = infer(study.companion.predictor, second.channels, resources, progress).probabilities
    if study.manifest.companion_mirrored:
        progress.share(once, 1.0)
        mirrored = np.ascontiguousarray(second.channels[..., ::-1])
        seen = infer(study.companion.predictor, mirrored, resources, progress).probabilities
        other = (other + seen[outputs_in_a_mirror(study.manifest.raw), ..., ::-1]) / 2
    pairs = zip(computed.probabilities, other, found_outside(study.manifest), strict=True)
    share = study.manifest.companion_share
    mean = [(1 - share) * mine + share * first.grid.resample(second.grid.image(its), absent)
            for mine, its, absent in pairs]
    return replace(computed, probabilities=np.stack(mean))


def measure(labels: sitk.Image, manifest: Manifest, left_out: Sequence[int] = ()) -> list[StructureEntry]:
    """Return id, name, voxels, volume in ml and whether it touches the image's edge, for every structure.

    `left_out`: codes that were found and taken out as too doubtful; a structure of which nothing stays is reported so.
    """
    array = sitk.GetArrayViewFromImage(labels)
    voxel_ml = float(np.prod(labels.GetSpacing())) / 1000
    faces = (array[0], array[-1], array[:, 0], array[:, -1], array[:, :, 0], array[:, :, -1])
    part = array[bounding_box(array > 0) or np.s_[:0]]
    rows = []
    for structure in manifest.structures:
        inside = np.isin(part, structure.labels)
        rows.append({
            "id": structure.id, "name": structure.name, "voxels": int(inside.sum()),
            "volume_ml": round(float(inside.sum()) * voxel_ml, 3),
            "touches_edge": any(np.isin(face, structure.labels).any() for face in faces),
            "left_out": not inside.any() and any(code in left_out for code in structure.labels),
        })
    return rows
