"""The main job: from the images of one study to a segmentation on the reference image's own grid."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from . import __version__
from .attention import AttentionMaps
from .decoding import check_found, clean, restore
from .devices import choose_device, memory_limit, peak_memory_mb
from .errors import RequestError
from .imaging import prepare
from .inference import infer
from .manifest import Manifest, find_model
from .model_bundle import load_network
from .plausibility import judge
from .progress import PROTOCOL, Progress
from .reading import describe_grid, read_image
from .segmentation_file import SEGMENTATION_SUFFIX
from .writing import VOLUME_SUFFIXES, check_writable, write_json, write_labelmap, write_segmentation


@dataclass(frozen=True)
class Request:
    """One study to segment; `inputs` maps the model's input names to files or DICOM folders."""

    model: str
    inputs: dict[str, str]
    output: Path
    labelmap: Path | None = None
    attention: Path | None = None
    report: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    memory: str | None = None
    model_folders: list[Path] = field(default_factory=list)


def segment(request: Request, progress: Progress) -> dict:
    """Segment one study, write what the request asks for and return the report.

    Raises RequestError (nothing was computed), InputError (the images cannot be segmented), OutOfMemory.
    Nothing is written unless all of it succeeded up to the writing.
    """
    manifest = find_model(request.model, request.model_folders)
    _check(request, manifest)
    device, dtype, notes = choose_device(request.device, request.precision)
    progress.start(afnet=__version__, file=str(Path(__file__).with_name("__init__.py")), torch=torch.__version__,
                   device=device.type)
    for note in notes:
        progress.note(note)
    network = load_network(manifest)

    progress.stage("read")
    images = {}
    for number, item in enumerate(manifest.inputs, start=1):
        images[item.name] = read_image(request.inputs[item.name], item.title)
        progress.within(number / len(manifest.inputs))

    progress.stage("prepare")
    prepared = prepare(images, manifest)

    progress.stage("network")
    maps = AttentionMaps(prepared.channels.shape[1:]) if request.attention else None
    kind = manifest.raw["decoding"]["kind"]
    computed = infer(
        network, prepared.channels, kind, device, dtype, request.memory, progress, maps, manifest.execution
    )

    progress.stage("restore")
    reference = images[manifest.reference]
    labels = clean(restore(computed.probabilities, prepared.grid, reference, manifest, progress.within), manifest)
    missing = check_found(labels, manifest)
    labels, doubts = judge(labels, reference, manifest)
    for note in missing + doubts:
        progress.note(note)

    progress.stage("write")
    report = {
        "protocol": PROTOCOL,
        "model": {"id": manifest.id, "version": manifest.version, "title": manifest.title,
                  "weights_sha256": manifest.weights_sha256},
        "device": computed.device,
        "precision": computed.precision,
        "geometry": list(prepared.notes),
        "notes": progress.notes,
        "structures": measure(labels, manifest),
        "inputs": {name: describe_grid(image) for name, image in images.items()},
        "working_grid": {"size": list(prepared.grid.size), "spacing_mm": prepared.grid.spacing,
                         "origin_mm_lps": list(prepared.grid.origin)},
    }
    if maps:
        maps.write(request.attention, prepared.grid)
    if request.labelmap:
        write_labelmap(request.labelmap, labels)
    write_segmentation(request.output, labels, manifest, report)
    progress.finish_stage()
    report["seconds"] = progress.seconds | {"total": round(sum(progress.seconds.values()), 3)}
    report["peak_memory_mb"] = peak_memory_mb()
    if request.report:
        write_json(request.report, report)
    return report


def _check(request: Request, manifest: Manifest) -> None:
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
    if len({str(Path(file).resolve()) for file in files}) < len(files):
        raise RequestError("The same file is given for two inputs; give each input its own image.")
    memory_limit(request.memory, torch.device("cpu"))
    _check_outputs(request)


def _check_outputs(request: Request) -> None:
    check_writable(request.output, (SEGMENTATION_SUFFIX,), "The segmentation")
    if request.labelmap:
        check_writable(request.labelmap, VOLUME_SUFFIXES, "The label map")
        if request.labelmap.resolve() in [Path(file).resolve() for file in request.inputs.values()]:
            raise RequestError("The label map would replace an input image; choose another name.")
    if request.report:
        check_writable(request.report, (".json",), "The report")
    if request.attention:
        folder = request.attention.absolute()
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        if not existing.is_dir():
            raise RequestError("The attention maps need a folder, and its name is that of a file; choose another name.")
        check_writable(existing / "attention.nrrd", what="The folder of attention maps")


def measure(labels: sitk.Image, manifest: Manifest) -> list[dict]:
    """Return id, name, voxels, volume in ml and whether it touches the image's edge, for every structure."""
    array = sitk.GetArrayViewFromImage(labels)
    voxel_ml = float(np.prod(labels.GetSpacing())) / 1000
    rows = []
    for structure in manifest.structures:
        inside = np.isin(array, structure.labels)
        faces = (inside[0], inside[-1], inside[:, 0], inside[:, -1], inside[:, :, 0], inside[:, :, -1])
        rows.append({
            "id": structure.id, "name": structure.name, "voxels": int(inside.sum()),
            "volume_ml": round(float(inside.sum()) * voxel_ml, 3),
            "touches_edge": bool(any(face.any() for face in faces)),
        })
    return rows
