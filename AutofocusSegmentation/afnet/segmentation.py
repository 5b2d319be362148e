"""The main job: from the images of one study to a segmentation on the reference image's own grid."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import SimpleITK as sitk
import torch

from .atomic_file import write_json
from .attention import AttentionMaps, patient_mask
from .attention_request import check_size, checked
from .decoding import check_found, clean, found_outside, restore
from .devices import choose_device, memory_limit, peak_memory_mb
from .errors import RequestError
from .grid import bounding_box
from .imaging import Prepared, on_working_grid, scale
from .inference import Computed, infer
from .manifest import Manifest, find_model
from .model_bundle import load_network
from .networks import AutofocusNetwork
from .outputs import check_outputs, outputs_of
from .plausibility import judge
from .progress import PROTOCOL, Progress
from .reading import describe_grid, read_image
from .study_request import StudyRequest
from .writing import write_labelmap, write_segmentation


@dataclass(frozen=True)
class Companion:
    """A model's second network, and the study on its grid."""

    network: AutofocusNetwork
    prepared: Prepared


@dataclass(frozen=True)
class Study:
    """A study ready for the network: the images as read, by input name, and as the network sees them.

    `companion` is None where the model has none, and where only attention maps are asked for: those are the first's.
    """

    manifest: Manifest
    network: AutofocusNetwork
    device: torch.device
    dtype: torch.dtype
    images: dict[str, sitk.Image]
    prepared: Prepared
    maps: AttentionMaps | None
    companion: Companion | None


def segment(request: StudyRequest, progress: Progress) -> dict:
    """Segment one study, write what the request asks for and return the report.

    Raises RequestError (nothing was computed), InputError (the images cannot be segmented), OutOfMemory.
    All outputs appear, or none: a run that fails leaves what was there before.
    """
    study = open_study(request, progress)
    manifest, prepared = study.manifest, study.prepared

    progress.stage("network")
    computed = compute(study, request.memory, progress)

    progress.stage("restore")
    reference = study.images[manifest.reference]
    islands: list[str] = []
    labels = restore(computed.probabilities, prepared.grid, reference, manifest, progress.within)
    labels = clean(labels, manifest, islands)
    missing = check_found(labels, manifest)
    labels, doubts, left_out = judge(labels, reference, manifest)
    for note in islands + missing + doubts:
        progress.note(note)

    progress.stage("write")
    report = describe(study, computed.device, computed.precision, progress)
    report["structures"] = measure(labels, manifest, left_out)
    with outputs_of(request):
        if study.maps:
            report["attention"] = study.maps.write(request.attention)
        if request.labelmap:
            write_labelmap(request.labelmap, labels)
        write_segmentation(request.output, labels, manifest, report)
        finish(report, request, progress)
    return report


def open_study(request: StudyRequest, progress: Progress) -> Study:
    """Check the request, read the images and bring them to the working grid. Raises as `segment`."""
    manifest = find_model(request.model, request.model_folders)
    _check(request, manifest)
    device, dtype, notes = choose_device(request.device, request.precision)
    progress.start(torch.__version__, device.type)
    for note in notes:
        progress.note(note)
    network = load_network(manifest)
    second = load_network(manifest.companion) if manifest.companion and request.output else None

    progress.stage("read")
    images = {}
    for number, item in enumerate(manifest.inputs, start=1):
        images[item.name] = read_image(request.inputs[item.name], item.title, item.modality)
        progress.within(number / len(manifest.inputs))

    progress.stage("prepare")
    scaled = scale(images, manifest)
    prepared = on_working_grid(scaled, manifest)
    for doubt in prepared.doubts:
        progress.note(doubt)
    companion = Companion(second, on_working_grid(scaled, manifest.companion)) if second else None
    maps = None
    if request.attention:
        wanted, patient = checked(request.maps, manifest), patient_mask(prepared.mask)
        check_size(wanted, manifest, prod(side.stop - side.start for side in bounding_box(patient)))
        maps = AttentionMaps(wanted, prepared.grid, patient)
    return Study(manifest, network, device, dtype, images, prepared, maps, companion)


def compute(study: Study, memory: str | None, progress: Progress) -> Computed:
    """Compute the probabilities on the study's grid: of its network, or the mean with its companion's."""
    manifest, first = study.manifest, study.prepared
    kind = manifest.raw["decoding"]["kind"]
    second = study.companion.prepared if study.companion else None
    part = first.mask.size / (first.mask.size + second.mask.size) if second else 1.0
    progress.share(0.0, part)
    computed = infer(study.network, first.channels, kind, study.device, study.dtype, memory, progress, study.maps,
                     manifest.execution)
    if second is None:
        return computed
    progress.share(part, 1.0)
    other = infer(study.companion.network, second.channels, kind, study.device, study.dtype, memory, progress, None,
                  manifest.execution)
    pairs = zip(computed.probabilities, other.probabilities, found_outside(manifest), strict=True)
    share = manifest.companion_share
    mean = [(1 - share) * mine + share * first.grid.resample(second.grid.image(its), absent)
            for mine, its, absent in pairs]
    return replace(computed, probabilities=np.stack(mean))


def describe(study: Study, device: str, precision: str, progress: Progress) -> dict:
    """Return what every report says: model, device, how the images were brought to the working grid."""
    manifest, grid = study.manifest, study.prepared.grid
    other = {"companion": manifest.raw["companion"]} if manifest.companion else {}
    return {
        "protocol": PROTOCOL,
        "model": {"id": manifest.id, "version": manifest.version, "title": manifest.title,
                  "weights_sha256": manifest.weights_sha256, **other},
        "device": device,
        "precision": precision,
        "geometry": list(study.prepared.notes),
        "notes": progress.notes,
        "inputs": {name: describe_grid(image) for name, image in study.images.items()},
        "working_grid": {"size": list(grid.size), "spacing_mm": grid.spacing, "origin_mm_lps": list(grid.origin)},
    }


def finish(report: dict, request: StudyRequest, progress: Progress) -> None:
    """Add the seconds and the memory to a report, and write it if that was asked for."""
    progress.finish_stage()
    report["seconds"] = progress.seconds | {"total": round(sum(progress.seconds.values()), 3)}
    report["peak_memory_mb"] = peak_memory_mb()
    if request.report:
        write_json(request.report, report)


def _check(request: StudyRequest, manifest: Manifest) -> None:
    """Refuse a request that cannot succeed before anything slow begins."""
    known = [item.name for item in manifest.inputs]
    for name in request.inputs:
        if name not in known:
            raise RequestError(f"The model {manifest.id} has no input '{name}'; its inputs are: {', '.join(known)}.")
    missing = [
        f"{item.title} (--input {item.name}=FILE)" for item in manifest.inputs if item.name not in request.inputs
    ]
    if missing:
        raise RequestError(f"The model {manifest.id} also needs {', '.join(missing)}; add what is missing.")
    files = list(request.inputs.values())
    if len({os.path.realpath(file) for file in files}) < len(files):
        raise RequestError("The same file is given for two inputs; give each input its own image.")
    memory_limit(request.memory, torch.device("cpu"))
    check_outputs(request, manifest)


def measure(labels: sitk.Image, manifest: Manifest, left_out: Sequence[int] = ()) -> list[dict]:
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
