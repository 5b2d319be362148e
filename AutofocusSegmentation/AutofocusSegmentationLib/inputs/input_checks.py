"""Is each chosen volume fit for its place as an input of a model, and why was it taken? No node is changed."""

from collections.abc import Iterable, Mapping

import numpy as np
from slicer.i18n import tr as _

from afnet.images.geometry import perpendicular
from afnet.models.manifest import Input, Manifest

from ..scene import hierarchy, volumes
from ..scene.transforms import (
    RIGID_TOLERANCE_MM,
    combined,
    ijk_to_local,
    is_linear,
    linear_to_reference,
    moved_by,
    rigid_to_world,
)
from .dicom_tags import modality_of
from .evidence import explain
from .guessing import fitting_nodes, named_unlike_others, several_sets


def input_problems(manifest: Manifest, inputs: Mapping[str, object]) -> dict[str, str]:
    """Return what is wrong with the chosen volume nodes: input name to one sentence, in the
    order of the model's inputs; empty if all is well.

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
    manifest: Manifest, inputs: Mapping[str, object], volume_nodes: Iterable = (), backgrounds: Iterable = ()
) -> dict[str, str]:
    """Return why each chosen volume node was taken, or what to check before it is used: input name to sentences.

    volume_nodes: all that could be chosen. If they seem to be of several patients, an empty input has a sentence, too.
    backgrounds: those that the views show, which the user may believe to be the chosen ones.
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
            if name == reference.name:
                reasons[name] += _other_sex(manifest, node)
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
    if len(manifest.inputs) == 1 and reasons:
        reasons[reference.name] += _other_volumes(manifest, inputs[reference.name], volume_nodes, [*backgrounds])
    return reasons


def _problem_of(item: Input, node) -> str:
    """Say what is wrong with one volume by itself; empty if nothing is."""
    title, modality = item.title, item.modality
    if node is None:
        return _("Choose a volume for {title}.").format(title=title)
    if not volumes.is_scalar(node):
        return _("{title} is not a scalar volume: choose the {modality} volume.").format(title=title, modality=modality)
    if volumes.is_label_map(node):
        return _("{title} is a label map: choose the {modality} volume itself.").format(title=title, modality=modality)
    if volumes.is_attention_map(node):
        return _("{title} is an attention map made by this module: choose the {modality} volume itself.").format(
            title=title, modality=modality)
    if not volumes.has_voxels(node):
        return _("{title} is a volume without voxels: load it again or choose another.").format(title=title)
    if not volumes.has_slices(node):
        return _("{title} has a single slice: choose or load the whole series.").format(title=title)
    if not volumes.has_known_type(node):
        return _("{title} has the voxel type {type}: convert it with the module Cast Scalar Volume.").format(
            title=title, type=volumes.scalar_type_name(node))
    if modality_of(node) not in ("", modality, "OT"):
        return _("{title} is of the modality {found}, not {modality}: choose the {modality} volume.").format(
            title=title, found=modality_of(node), modality=modality)
    return ""


def _other_sex(manifest: Manifest, node) -> str:
    """Say if DICOM says that the patient is not of the sex that the model is made for; else empty."""
    told = {("M", "F"): _("DICOM says that this patient is a woman, but the model is made for men."),
            ("F", "M"): _("DICOM says that this patient is a man, but the model is made for women.")}
    text = told.get((manifest.sex, hierarchy.patient_sex(node)))
    return f" {text}" if text else ""


def _other_volumes(manifest: Manifest, node, volume_nodes: Iterable, backgrounds: list) -> str:
    """Say if others fit a model's only input, as after the next patient was loaded: nothing else tells which one is
    meant. Empty if all views show the chosen `node`."""
    others = [each for each in fitting_nodes(manifest, volume_nodes) if each is not node]
    if not others or backgrounds == [node]:
        return ""
    text = _("There are {count} volumes for {title} here: check that this is the one you mean.")
    seen = next((each for each in backgrounds if each in others), None)
    if seen is not None:
        text = _("There are {count} volumes for {title} here, and the views show {name}: check that this is the one "
                 "you mean.")
    return " " + text.format(count=len(others) + 1, title=manifest.inputs[0].title,
                             name=volumes.name_of(seen) if seen else "")


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
    size = node.GetImageData().GetDimensions()
    index = moved_by(np.linalg.inv(other_matrix) @ matrix, combined((-0.5, n - 0.5) for n in size))
    limits = np.array(other.GetImageData().GetDimensions())
    return bool(((index.max(axis=0) > 0) & (index.min(axis=0) < limits - 1)).all())
