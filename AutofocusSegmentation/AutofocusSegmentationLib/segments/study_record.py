"""What a segmentation remembers of its study, so that it can be computed again: the images, and how they were.

Kept with the segmentation node and so with the scene: a node reference for every input, and an attribute with a
checksum of its voxels and the place of its corners in the local frame of the reference.
"""

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import slicer
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from afnet.models.manifest import Manifest
from afnet.output.segment_tags import MODEL_ID, WEIGHTS_SHA256

from ..scene import hierarchy
from ..scene.sequences import Frame
from ..scene.transforms import combined, ijk_to_local, moved_by, moved_points, transform_between
from ..scene.volumes import has_voxels, is_usable

STUDY_ATTRIBUTE = "AutofocusSegmentation.Study"
"""Attribute of the segmentation node: the text of `record`."""

SEGMENTED_INPUT_ROLE = "AutofocusSegmentation.Input."
"""Node reference role from the segmentation to an input is this followed by the input's name: `…Input.t1c`."""

PLACE_TOLERANCE_MM = 0.05
"""How far a corner may have moved (the rounding of a saved scene) and count as where it was."""


def record(manifest: Manifest, inputs: Mapping[str, object], frames: Mapping[str, Frame] | None = None) -> str:
    """Return the state of the volume nodes `inputs` (input name to node) as text; reads all voxels.

    frames: input name to the frame that is meant, of inputs that show a sequence.
    """
    reference, images = inputs[manifest.reference], {name: frame.image for name, frame in (frames or {}).items()}
    states = {name: _state(node, reference, images.get(name)) for name, node in inputs.items()}
    states[manifest.reference]["reference"] = True
    return json.dumps(states)


def remember(segmentation, inputs: Mapping[str, object], text: str) -> None:
    """Keep with a segmentation of which volume nodes it was made, and what `record` said when the run began."""
    segmentation.SetAttribute(STUDY_ATTRIBUTE, text)
    for name, node in inputs.items():
        segmentation.SetNodeReferenceID(SEGMENTED_INPUT_ROLE + name, node.GetID())


def inputs_of(segmentation, manifest: Manifest) -> dict:
    """Return input name to the volume node that a segmentation was made of; None where it is gone."""
    return {item.name: segmentation.GetNodeReference(SEGMENTED_INPUT_ROLE + item.name) for item in manifest.inputs}


def images_of(segmentation) -> list:
    """Return the volume nodes that a segmentation was made of, without those that are gone."""
    roles = (segmentation.GetNthNodeReferenceRole(n) for n in range(segmentation.GetNumberOfNodeReferenceRoles()))
    nodes = [segmentation.GetNodeReference(role) for role in roles if role.startswith(SEGMENTED_INPUT_ROLE)]
    return [node for node in nodes if node is not None]


def reference_image(segmentation):
    """Return the volume node that a segmentation was made from; None if it is no longer in the scene, or not known.

    A clone made in the Data module has lost it, until `find_images_again` has found it.
    """
    return segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())


def is_of_study(volume, segmentation) -> bool:
    """Tell whether a volume node (None: False) is an image that a segmentation was made of, or of the same patient."""
    image = reference_image(segmentation)
    if volume is None or image is None:
        return False
    return volume in (image, *images_of(segmentation)) or hierarchy.same_patient(image, volume)


def made_of_another(segmentation):
    """Return the volume node that a segmentation was made of, if it has since got the geometry of a volume that is
    neither of its study nor of the same patient (as by Specify geometry in the Segment Editor); else None."""
    present = reference_image(segmentation)
    original = segmentation.GetNodeReference(SEGMENTED_INPUT_ROLE + (_reference_name(_recorded(segmentation)) or ""))
    if original is None or present in (None, *images_of(segmentation)) or hierarchy.same_patient(original, present):
        return None
    return original


def find_images_again(segmentation) -> None:
    """Give a segmentation back the references to its images that it lost; a clone made in the Data module has none.

    The images are recognised by their voxels and place. Quick if none is lost; else the voxels of those volumes are
    read that have the size and place of a lost one.
    """
    geometry, before = segmentation.GetReferenceImageGeometryReferenceRole(), _recorded(segmentation)
    wanted = [geometry, *(SEGMENTED_INPUT_ROLE + name for name in before)] if before else []
    lost = any(segmentation.GetNodeReference(role) is None for role in wanted)
    # During an import the references are still to come.
    main_input = _reference_name(before) if lost and not slicer.mrmlScene.IsImporting() else None
    if main_input is None:
        return
    inputs = {name: segmentation.GetNodeReference(SEGMENTED_INPUT_ROLE + name) for name in before}
    reference = inputs.get(main_input) or _found(segmentation, before.get(main_input))
    if reference is None:
        return
    for name, node in (inputs | {main_input: reference}).items():
        node = node or _found(segmentation, before.get(name), reference)
        if node is not None:
            segmentation.SetNodeReferenceID(SEGMENTED_INPUT_ROLE + name, node.GetID())
    if segmentation.GetNodeReference(geometry) is None:
        segmentation.SetNodeReferenceID(geometry, reference.GetID())


def _found(segmentation, before: object, reference=None):
    """Return the volume node that is as an image was recorded, relative to `reference` (None: to itself), or None.

    If there are several, as when a scan was loaded twice, they must not be known to be of different patients.
    """
    nodes = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
             if is_usable(node) and not hierarchy.known_apart(segmentation, node)
             and _same(before, _form(node, reference or node), ("type", "size"))
             and _same(before, _state(node, reference or node))]
    return nodes[0] if nodes and not hierarchy.known_apart(*nodes) else None


def _reference_name(before: dict) -> str | None:
    """Return the name of the input that the others lie on; None if the record, which may be damaged, has none."""
    return next((name for name, state in before.items() if isinstance(state, dict) and state.get("reference")), None)


def _recorded(segmentation) -> dict:
    """Return input name to what `record` said of it; the text comes with a scene, and may be damaged."""
    try:
        before = json.loads(segmentation.GetAttribute(STUDY_ATTRIBUTE) or "{}")
    except (ValueError, RecursionError):
        return {}
    return before if isinstance(before, dict) else {}


def study_key(segmentation) -> str:
    """Return a short text that is the same for all that was computed of this study by these weights."""
    text = f"{segmentation.GetAttribute(WEIGHTS_SHA256)} {segmentation.GetAttribute(STUDY_ATTRIBUTE)}"
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def missing(segmentation, manifest: Manifest) -> str:
    """Say what the segmentation lacks to be computed again; empty if nothing. Quick: reads no voxel."""
    if not segmentation.GetAttribute(STUDY_ATTRIBUTE):
        return _("This segmentation does not say which images it was made of: segment the study again.")
    if segmentation.GetAttribute(MODEL_ID) != manifest.id or (
            segmentation.GetAttribute(WEIGHTS_SHA256) != manifest.weights_sha256):
        return _("This segmentation was made by another version of its model: segment the study again.")
    for item in manifest.inputs:
        node = segmentation.GetNodeReference(SEGMENTED_INPUT_ROLE + item.name)
        if node is None:
            return _("{title} is not in the scene, or has changed since it was segmented: segment the study again."
                     ).format(title=item.title)
        if not has_voxels(node):  # a scene whose file of the image is gone
            return _("{title} has no voxels: load it again.").format(title=item.title)
    return ""


def changed(segmentation, manifest: Manifest) -> str:
    """Say which image is no longer as it was segmented; empty if all are. Reads all voxels."""
    problem = missing(segmentation, manifest)
    if problem:
        return problem
    inputs, before = inputs_of(segmentation, manifest), _recorded(segmentation)
    for item in manifest.inputs:
        was, now = before.get(item.name), _state(inputs[item.name], inputs[manifest.reference])
        if _same(was, now):
            continue
        # Hardening moves it too: the network would see it on other points of its own frame than the segmentation's.
        moved = _alike(was, now) and np.isfinite(_apart_mm(was, now))
        text = _("{title} was moved, or its transform hardened, since it was segmented: segment the study again.") if (
            moved) else _("{title} has changed since it was segmented: segment the study again.")
        return text.format(title=item.title)
    return ""


def _state(node, reference, image=None) -> dict:
    image = image or node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        return {}
    voxels = vtk_to_numpy(image.GetPointData().GetScalars())
    checksum = hashlib.blake2b(np.ascontiguousarray(voxels), digest_size=16).hexdigest()
    return {"voxels": checksum, **_form(node, reference, image)}


def _form(node, reference, image=None) -> dict:
    """Return the part of the state that can be told without reading voxels."""
    image = image or node.GetImageData()
    size = image.GetDimensions()
    points = combined((0.0, (n - 1) / 2, n - 1.0) for n in size)
    between = transform_between(node.GetParentTransformNode(), reference.GetParentTransformNode())
    places = moved_points(between, moved_by(ijk_to_local(node), points))
    return {
        "type": image.GetScalarTypeAsString(),
        "size": list(size),
        "places": np.round(places, 3).tolist(),
    }


def _same(before: object, now: dict, keys: tuple[str, ...] = ("voxels", "type", "size")) -> bool:
    """Tell whether what a scene says of an image (anything, if it is damaged) is its `_state` now, in `keys` and place.
    """
    return _alike(before, now, keys) and _apart_mm(before, now) <= PLACE_TOLERANCE_MM


def _alike(before: object, now: dict, keys: tuple[str, ...] = ("voxels", "type", "size")) -> bool:
    return isinstance(before, dict) and bool(now) and all(before.get(key) == now[key] for key in keys)


def _apart_mm(before: dict, now: dict) -> float:
    """Return how far a corner of an image has moved at most; infinite where the scene does not say where it was."""
    try:
        return float(np.abs(np.array(before.get("places"), float) - np.array(now["places"])).max())
    except (TypeError, ValueError, OverflowError):
        return np.inf
