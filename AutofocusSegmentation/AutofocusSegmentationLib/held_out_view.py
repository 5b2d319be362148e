"""A held-out case in the scene: what was drawn, and what the model found before and after the fine-tuning.

Three segmentation nodes over the case's image, told apart by colour: drawn is filled yellow, before a red outline,
after a green one. No widgets.
"""

from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from afnet.manifest import Manifest
from afnet.terminology import STRUCTURE_TAG, terminology_entry

from .segment_voxels import label_map
from .segmentation_reading import DamagedFile, read_segmentation_file
from .tuning_cases import COMPARISON_ATTRIBUTE
from .tuning_comparison import HeldOutCase

DRAWN, BEFORE, AFTER = "drawn", "before", "after"
"""Values of COMPARISON_ATTRIBUTE."""

_FILES = {DRAWN: "reference.seg.nrrd", BEFORE: "base.seg.nrrd", AFTER: "new.seg.nrrd"}
_COLORS = {DRAWN: (0.95, 0.85, 0.2), BEFORE: (0.9, 0.2, 0.15), AFTER: (0.15, 0.8, 0.3)}
_HIDDEN_ATTRIBUTE = "AutofocusSegmentation.HiddenForHeldOut"
"""Of the other segmentations that were visible: kept in the node, so that a saved scene gives them back, too."""

_IMAGE_ATTRIBUTE = "AutofocusSegmentation.HeldOutImage"


class HeldOutError(Exception):
    """A case cannot be shown; the text is one sentence that says why and what to do."""


@dataclass(frozen=True)
class Shown:
    """image: volume node. segmentations: 'drawn', 'before' and 'after' to segmentation node."""

    image: object
    segmentations: dict[str, object]


def show_held_out(case: HeldOutCase, manifest: Manifest, image=None) -> Shown:
    """Load the three segmentations of a case over `image`, its volume node; without one the case's file is loaded.

    Other segmentations are hidden until `hide_held_out`: nobody could tell among them what was drawn and what found.
    manifest: of the new model, for names and codes. What was shown before is removed. Raises HeldOutError; the scene
    is then as before.
    """
    files = {}
    for role, name in _FILES.items():
        try:
            files[role] = read_segmentation_file(case.folder / name, STRUCTURE_TAG)
        except DamagedFile:
            raise HeldOutError(_("The result for {case} is missing or damaged: fine-tune again to see it.").format(
                case=case.name)) from None
    loaded = image if image is not None else _load_image(case)
    hide_held_out(keep=loaded)
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if node.GetDisplayVisibility():
            node.SetAttribute(_HIDDEN_ATTRIBUTE, "true")
            node.SetDisplayVisibility(False)
    names = {DRAWN: _("{case}: drawn"), BEFORE: _("{case}: before"), AFTER: _("{case}: after")}
    segmentations = {
        role: _node(names[role].format(case=case.name), role, file, manifest, loaded) for role, file in files.items()
    }
    selection = slicer.app.applicationLogic().GetSelectionNode()
    selection.SetActiveVolumeID(loaded.GetID())
    slicer.app.applicationLogic().PropagateVolumeSelection()
    return Shown(loaded, segmentations)


def hide_held_out(keep=None) -> None:
    """Remove what `show_held_out` added, but for the volume node `keep`, and show again what it hid."""
    scene = slicer.mrmlScene
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if node.GetAttribute(_HIDDEN_ATTRIBUTE):
            node.RemoveAttribute(_HIDDEN_ATTRIBUTE)
            node.SetDisplayVisibility(True)
    nodes = [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
             if node.GetAttribute(COMPARISON_ATTRIBUTE)]
    nodes += [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
              if node.GetAttribute(_IMAGE_ATTRIBUTE) and node is not keep]
    for node in nodes:
        scene.RemoveNode(node)


def _load_image(case: HeldOutCase):
    """Load the case's own image; a DICOM folder is left to the DICOM module."""
    known = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
             if node.GetAttribute(_IMAGE_ATTRIBUTE) == str(case.image)]
    if known:
        return known[0]
    text = _("The image of {case} cannot be loaded from its file: load it with Add Data or the DICOM module.")
    if not case.image.is_file():
        raise HeldOutError(text.format(case=case.name))
    try:
        node = slicer.util.loadVolume(str(case.image), {"name": case.name, "show": False})
    except RuntimeError:
        raise HeldOutError(text.format(case=case.name)) from None
    node.SetAttribute(_IMAGE_ATTRIBUTE, str(case.image))
    slicer.mrmlScene.RemoveNode(node.GetStorageNode())  # the training's folder may be deleted
    return node


def _node(name: str, role: str, file, manifest: Manifest, image):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", slicer.mrmlScene.GenerateUniqueName(name))
    node.SetAttribute(COMPARISON_ATTRIBUTE, role)
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(image.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(image)
    for structure in manifest.structures:
        if structure.id not in file.segments:
            continue
        segment = slicer.vtkSegment()
        segment.SetName(structure.name)
        segment.SetColor(*_COLORS[role])
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), terminology_entry(structure))
        segment.AddRepresentation(
            slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName(),
            label_map(file.voxels(structure.id), file.grid),
        )
        node.GetSegmentation().AddSegment(segment, structure.id)
    display = node.GetDisplayNode()
    display.SetAllSegmentsVisibility2DFill(role == DRAWN)
    display.SetAllSegmentsVisibility2DOutline(role != DRAWN)
    display.SetSliceIntersectionThickness(2 if role == AFTER else 1)
    return node

