"""A study ready for the network, and what every report says of it: what `segment` and `attend` have in common."""

from dataclasses import dataclass
from math import prod

import SimpleITK as sitk
import torch

from .atomic_file import write_json
from .attention import AttentionMaps, patient_mask
from .attention_request import check_size, checked, rates
from .devices import choose_device, peak_memory_mb
from .errors import RequestError
from .images.dicom_header import SEX
from .images.reading import describe_grid, read_image
from .inference import Predictor, Resources
from .json_documents import Report
from .models.manifest import WHOLE_VOLUME, Manifest, find_model
from .models.model_bundle import load_network, plan_of
from .output.outputs import check_outputs
from .preprocessing.grid import bounding_box
from .preprocessing.imaging import Prepared, on_working_grid, scale
from .process.progress import PROTOCOL, Progress
from .study_request import StudyRequest, input_problems


@dataclass(frozen=True)
class Companion:
    """A model's second network, and the study on its grid."""

    predictor: Predictor
    prepared: Prepared


@dataclass(frozen=True)
class OpenedStudy:
    """A study ready for the network: the images as read, by input name, and as the network sees them (`prepared`).

    `collector` takes the attention maps during the pass; None where none are asked for. `companion` is None where the
    model has none, and where only attention maps are asked for: those are the first's.
    """

    manifest: Manifest
    predictor: Predictor
    resources: Resources
    images: dict[str, sitk.Image]
    prepared: Prepared
    collector: AttentionMaps | None
    companion: Companion | None


def open_study(request: StudyRequest, progress: Progress) -> OpenedStudy:
    """Check the request, read the images and bring them to the working grid.

    Raises RequestError (nothing was computed) and InputError (the images cannot be segmented).
    """
    manifest = find_model(request.model, request.model_folders)
    _check(request, manifest)
    streams = manifest.execution == WHOLE_VOLUME
    device, dtype, notes = choose_device(request.device, request.precision, plan_of(manifest), streams)
    progress.start(torch.__version__, device.type)
    for note in notes:
        progress.note(note)
    resources = Resources(device, dtype, request.memory)
    predictor = _predictor(manifest)
    second = _predictor(manifest.companion) if manifest.companion and request.output else None

    progress.stage("read")
    images = {}
    for number, item in enumerate(manifest.inputs, start=1):
        images[item.name] = read_image(request.inputs[item.name], item.title, item.modality, progress.note)
        progress.within(number / len(manifest.inputs))

    other_sex = _other_sex(manifest, images[manifest.reference])
    if other_sex:
        progress.note(other_sex)

    progress.stage("prepare")
    scaled = scale(images, manifest)
    prepared = on_working_grid(scaled, manifest)
    for doubt in prepared.doubts:
        progress.note(doubt)
    companion = Companion(second, on_working_grid(scaled, manifest.companion)) if second else None
    collector = None
    if request.attention_folder:
        wanted, patient = checked(request.attention_request, manifest), patient_mask(prepared.mask)
        check_size(wanted, manifest, prod(side.stop - side.start for side in bounding_box(patient)))
        collector = AttentionMaps(wanted, rates(manifest), prepared.grid, patient)
    return OpenedStudy(manifest, predictor, resources, images, prepared, collector, companion)


def describe(study: OpenedStudy, device: str, precision: str, progress: Progress) -> Report:
    """Return what every report says but for seconds and memory, which `finish` adds at the end."""
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


def finish(report: Report, request: StudyRequest, progress: Progress) -> None:
    """Add the seconds and the memory to a report, and write it if that was asked for."""
    progress.finish_stage()
    report["seconds"] = progress.seconds | {"total": round(sum(progress.seconds.values()), 3)}
    report["peak_memory_mb"] = peak_memory_mb()
    if request.report:
        write_json(request.report, report)


def _other_sex(manifest: Manifest, image: sitk.Image) -> str:
    """Say if DICOM says that the patient is not of the sex that the model is made for; else empty."""
    told = {("M", "F"): "the patient is a woman, but the model is made for men",
            ("F", "M"): "the patient is a man, but the model is made for women"}
    text = told.get((manifest.sex, image.GetMetaData(SEX) if image.HasMetaDataKey(SEX) else ""))
    return f"DICOM says that {text}: check every segment." if text else ""


def _predictor(manifest: Manifest) -> Predictor:
    return Predictor(load_network(manifest), manifest.output_kind, manifest.execution)


def _check(request: StudyRequest, manifest: Manifest) -> None:
    """Refuse a request that cannot succeed before anything slow begins."""
    problems = input_problems(request.inputs, manifest, "--input {}=FILE")
    if problems:
        raise RequestError(problems[0])
    check_outputs(request, manifest)
