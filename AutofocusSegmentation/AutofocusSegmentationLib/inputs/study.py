"""From volume nodes to the input files of a model: which node is which input, is it fit, and its export.

A study is read in the reference volume's local frame: the reference goes out without its parent transform, every
other volume as it lies relative to it. The result then fits under the reference's transform. No node is changed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from slicer.i18n import tr as _

from afnet.images.geometry import perpendicular
from afnet.models.manifest import Input, Manifest

from ..engine.job_folder import WHERE_TO_CHOOSE
from ..scene import hierarchy, volumes
from ..scene.sequences import Frame, current_frame
from ..scene.transforms import RIGID_TOLERANCE_MM, ijk_to_local, is_linear, linear_to_reference, rigid_to_world
from .dicom_tags import modality_of
from .evidence import explain
from .guessing import named_unlike_others, several_sets
from .volume_export import ExportError, in_frame_of, private_copy, resampled_copy, write_nrrd


class StudyError(Exception):
    """The volumes cannot be segmented; the text is one sentence that says why and what to do."""


@dataclass(frozen=True)
class ExportedStudy:
    """What `export_study` wrote. files: input name to file name in the folder; notes: sentences for the user."""

    files: dict[str, str]
    notes: list[str]


def input_problems(manifest: Manifest, inputs: Mapping[str, object]) -> dict[str, str]:
    """Return what is wrong with the chosen volume nodes: input name to one sentence; empty if all is well.

    Sentences name the inputs, not the nodes: a node's name may be a patient's.
    """
    problems: dict[str, str] = {}
    titles: dict[str, str] = {}  # node id to the title of the input that has it
    for item in manifest.inputs:
        node = inputs.get(item.name)
        problem = _problem_of(item, node)
        if not problem and node.GetID() in titles:
            problem = _("{title} and {other} are the same volume: choose another volume for one of them.").format(
                title=item.title, other=titles[node.GetID()])
        if node is not None:
            titles.setdefault(node.GetID(), item.title)
        if problem:
            problems[item.name] = problem

    if manifest.reference in problems:
        return problems
    reference = manifest.input(manifest.reference)
    reference_node = inputs[reference.name]
    problem = _frame_problem(reference, reference_node)
    if problem:
        problems[reference.name] = problem
        return problems
    for item in manifest.inputs:
        if item.name not in problems and item.name != reference.name:
            problem = _mismatch(item, inputs[item.name], reference, reference_node)
            if problem:
                problems[item.name] = problem
    return {item.name: problems[item.name] for item in manifest.inputs if item.name in problems}


def input_reasons(
    manifest: Manifest, inputs: Mapping[str, object], volume_nodes: Iterable = ()
) -> dict[str, str]:
    """Return why each chosen volume node was taken, or what to check before it is used: input name to sentences.

    volume_nodes: all that could be chosen. If they seem to be of several patients, an empty input has a sentence, too.
    """
    reference = manifest.input(manifest.reference)
    expected = hierarchy.study_item(inputs[reference.name]) if inputs.get(reference.name) else 0
    unlike = named_unlike_others(inputs, reference.name)
    reasons = {}
    for name, node in inputs.items():
        if node is not None:
            reasons[name] = explain(manifest, name, node)
            if expected and hierarchy.study_item(node) not in (0, expected):
                reasons[name] += " " + _("From a different study than {title}: check "
                                         "it.").format(title=reference.title)
            if name in unlike:
                reasons[name] += " " + _("Its name differs from the others: check that it is from the same patient.")
    several = several_sets(manifest, inputs, volume_nodes)
    if several:
        there = _("There are {count} volumes for {title} here, perhaps of several patients:").format(
            count=several.count, title=manifest.input(several.name).title)
        for name in several.other_set:
            reasons[name] += " " + _("{there} check that this one is of the same patient.").format(there=there)
        for name in several.left_empty:
            reasons[name] = _("{there} choose the one of the same patient.").format(there=there)
    return reasons


def check_inputs(manifest: Manifest, inputs: Mapping[str, object]) -> list[str]:
    """Return the sentences of `input_problems`, in the order of the model's inputs."""
    return list(input_problems(manifest, inputs).values())


def export_study(
    manifest: Manifest, inputs: Mapping[str, object], folder: Path, frames: Mapping[str, Frame] | None = None
) -> ExportedStudy:
    """Write each input as <name>.nrrd into `folder`, in the local frame of the reference.

    frames: input name to the frame that is meant, of inputs that show a sequence; by default the one that they show.
    Files are uncompressed and in the volume's own voxel type. Positions in them are LPS, as NRRD has it. The caller has
    seen to it that `check_inputs` finds nothing. Raises StudyError if a file cannot be written.
    """
    reference = inputs[manifest.reference]
    files, notes = {}, []
    for item in manifest.inputs:
        node = inputs[item.name]
        frame = (frames or {}).get(item.name) or current_frame(node)
        voxels = frame.image if frame else None
        if frame:
            notes.append(_("{title}: {frame} of a sequence was used.").format(title=item.title, frame=frame.text))
        copy = private_copy(node, voxels=voxels) if node is reference else in_frame_of(node, reference, voxels)
        if copy is None or not perpendicular(ijk_to_local(copy)[:3, :3]):
            copy = resampled_copy(node, reference, voxels)
            notes.append(
                _("{title} was resampled, because its transform deforms or shears it.").format(title=item.title)
            )
        try:
            write_nrrd(copy, Path(folder) / f"{item.name}.nrrd")
        except ExportError:
            raise StudyError(
                _("{title} could not be written to Slicer's temporary folder: free some disk space or choose another "
                  "folder in {place}.").format(title=item.title, place=WHERE_TO_CHOOSE)
            ) from None
        files[item.name] = f"{item.name}.nrrd"
    return ExportedStudy(files, notes)


def _problem_of(item: Input, node) -> str:
    """Say what is wrong with one volume by itself; empty if nothing is."""
    if node is None:
        text = _("Choose a volume for {title}.")
    elif not volumes.is_scalar(node):
        text = _("{title} is not a scalar volume: choose the {modality} volume.")
    elif volumes.is_label_map(node):
        text = _("{title} is a label map: choose the {modality} volume itself.")
    elif volumes.is_attention_map(node):
        text = _("{title} is an attention map made by this module: choose the {modality} volume itself.")
    elif not volumes.has_voxels(node):
        text = _("{title} is a volume without voxels: load it again or choose another.")
    elif not volumes.has_slices(node):
        text = _("{title} has a single slice: choose or load the whole series.")
    elif not volumes.has_known_type(node):
        text = _("{title} has the voxel type {type}: convert it with the module Cast Scalar Volume.")
    elif modality_of(node) not in ("", item.modality, "OT"):
        text = _("{title} is of the modality {found}, not {modality}: choose the {modality} volume.")
    else:
        return ""
    known = node is not None and volumes.is_scalar(node) and volumes.has_voxels(node)
    return text.format(
        title=item.title, modality=item.modality,
        type=volumes.scalar_type_name(node) if known else "", found=modality_of(node) if known else "",
    )


def _frame_problem(item: Input, node) -> str:
    """Say why the reference's local frame cannot be used; empty if it can."""
    if not perpendicular(ijk_to_local(node)[:3, :3]):
        return _("{title} has voxel axes that are not perpendicular, as from a tilted gantry: resample it with the "
                 "module Resample Scalar/Vector/DWI Volume.").format(title=item.title)
    _matrix, deviation = rigid_to_world(node)
    if deviation <= RIGID_TOLERANCE_MM:
        return ""
    if is_linear(node.GetParentTransformNode()):
        return _("{title} is under a transform that scales, shears or mirrors it by up to {mm:.1f} mm: harden the "
                 "transform in the Data module, or take the volume out of it.").format(title=item.title, mm=deviation)
    return _("{title} is under a non-linear transform that deforms it by up to {mm:.1f} mm, as Slicer adds to series "
             "with tilted or unevenly spaced slices: harden the transform in the Data module, or load the complete "
             "series again."
             ).format(title=item.title, mm=deviation)


def _mismatch(item: Input, node, reference: Input, reference_node) -> str:
    """Say why a volume does not belong to the reference; empty if it does."""
    if hierarchy.known_apart(node, reference_node):
        return _("{title} and {other} are of different patients: choose volumes of one patient.").format(
            title=item.title, other=reference.title)
    if not _overlaps(node, reference_node):
        return _("{title} lies beside {other}, without overlap: register them first, for instance with the module "
                 "General Registration (BRAINS), or choose another volume.").format(
                     title=item.title, other=reference.title)
    return ""


def _overlaps(node, reference) -> bool:
    """Tell whether the boxes of two volumes overlap; True if a non-linear transform makes that hard to tell."""
    between = linear_to_reference(node, reference)
    if between is None:
        return True
    own, other = between @ ijk_to_local(node), ijk_to_local(reference)
    return _reaches_into(own, node, other, reference) and _reaches_into(other, reference, own, node)


def _reaches_into(matrix: np.ndarray, node, other_matrix: np.ndarray, other) -> bool:
    """Tell whether the corners of a volume reach into the index range of another along each of its axes."""
    size = np.array(node.GetImageData().GetDimensions())
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in size], indexing="ij")).reshape(3, -1)
    into = np.linalg.inv(other_matrix) @ matrix
    index = into[:3, :3] @ corners + into[:3, 3:]
    limits = np.array(other.GetImageData().GetDimensions())
    return bool(((index.max(axis=1) > 0) & (index.min(axis=1) < limits - 1)).all())
