"""A held-out case in the scene: what was drawn, and what the model found before and after the fine-tuning.

Three segmentation nodes over the case's image, told apart by colour: drawn is filled yellow, before a red outline,
after a green one. No widgets.
"""

from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from afnet.models.manifest import Manifest
from afnet.models.terminology import terminology_entry
from afnet.models.training_folder import BASE, NEW, REFERENCE, scored_file

from ..scene.grids import VoxelGrid, grid_of_segmentation, grid_of_volume, same_grid
from ..scene.node_marks import COMPARISON_ATTRIBUTE
from ..scene.volumes import has_voxels
from ..segments.file_reading import DamagedFile, read_segmentation_file
from ..segments.study_record import reference_image
from ..segments.voxels import OffLattice, label_map, segment_voxels, voxel_hash
from ..views.view_layers import BACKGROUND, FOREGROUND, LentLayers, shown, views
from .comparison import HeldOutCase

DRAWN, BEFORE, AFTER = "drawn", "before", "after"
"""Values of COMPARISON_ATTRIBUTE."""

_FILES = {DRAWN: scored_file(REFERENCE), BEFORE: scored_file(BASE), AFTER: scored_file(NEW)}
_COLORS = {DRAWN: (0.95, 0.85, 0.2), BEFORE: (0.9, 0.2, 0.15), AFTER: (0.15, 0.8, 0.3)}
_HIDDEN_ATTRIBUTE = "AutofocusSegmentation.HiddenForHeldOut"
"""Of the other segmentations that were visible: kept in the node, so that a saved scene gives them back, too."""

_IMAGE_ATTRIBUTE = "AutofocusSegmentation.HeldOutImage"

_VOXELS_ATTRIBUTE = "AutofocusSegmentation.ComparisonVoxels"
"""Of the three segmentations: `_voxels_text` as they were loaded."""


class HeldOutError(Exception):
    """A case cannot be shown; the text is one sentence that says why and what to do."""


@dataclass(frozen=True)
class Shown:
    """image: volume node. segmentations: 'drawn', 'before' and 'after' to segmentation node."""

    image: object
    segmentations: dict[str, object]


def show_held_out(case: HeldOutCase, manifest: Manifest, image=None) -> Shown:
    """Load the three segmentations of a case over `image`, its volume node.

    The image is loaded from the case's file if `image` is None, or its voxels no longer lie where they were exported.
    A case that was shown before goes, as in `hide_held_out`. Until that is called, other segmentations are hidden,
    among which nobody could tell what was drawn and what was found, and foregrounds, which may be another patient's;
    an attention map does not come back. manifest: of the new model, for names and codes.

    Raises HeldOutError; the scene is then as before.
    """
    files = {}
    for role, name in _FILES.items():
        try:
            files[role] = read_segmentation_file(case.folder / name)
        except DamagedFile:
            raise HeldOutError(_("The result for {case} is missing or damaged: fine-tune again to see it.").format(
                case=case.name)) from None
    # What a model found lies on its image; what was drawn need not, and a model that found nothing says nothing of it.
    grids = [file.grid for file in files.values()]
    loaded = image if image is not None and _lies_on_one(image, grids) else _load_image(case, grids)
    hide_held_out(keep=loaded)
    for node in _segmentations():
        if node.GetDisplayVisibility():
            node.SetAttribute(_HIDDEN_ATTRIBUTE, "true")
            node.SetDisplayVisibility(False)
    names = {DRAWN: _("{case}: drawn"), BEFORE: _("{case}: before"), AFTER: _("{case}: after")}
    segmentations = {
        role: _node(names[role].format(case=case.name), role, file, manifest, loaded) for role, file in files.items()
    }
    _layers.begin()
    for view in views():
        _layers.put(view, BACKGROUND, loaded)
        _layers.put(view, FOREGROUND, None)
    return Shown(loaded, segmentations)


def has_files(case: HeldOutCase) -> bool:
    """Tell whether the three segmentations of a case are on the disk."""
    return all((case.folder / name).is_file() for name in _FILES.values())


def is_held_out_shown() -> bool:
    """Tell whether the scene holds what `show_held_out` added."""
    return any(node.GetAttribute(COMPARISON_ATTRIBUTE) for node in _segmentations())


def hide_held_out(keep=None) -> None:
    """Remove what `show_held_out` added, but for the volume node `keep`, and show again what it hid or replaced.

    What the user works with stays: a segmentation that was edited, under a name that says so (hidden if the views then
    show another image), and an image of which there is other data.
    """
    for view in views():
        _layers.give_back(view)
    for node in _segmentations():
        if node.GetAttribute(_HIDDEN_ATTRIBUTE):
            node.RemoveAttribute(_HIDDEN_ATTRIBUTE)
            node.SetDisplayVisibility(True)
    for node in _segmentations():
        if not node.GetAttribute(COMPARISON_ATTRIBUTE):
            continue
        if node.GetAttribute(_VOXELS_ATTRIBUTE) == _voxels_text(node):
            slicer.mrmlScene.RemoveNode(node)
        else:
            _leave_to_user(node)
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute(_IMAGE_ATTRIBUTE) and node is not keep and not _is_used(node):
            slicer.mrmlScene.RemoveNode(node)


def _segmentations() -> list:
    return list(slicer.util.getNodesByClass("vtkMRMLSegmentationNode"))


def _leave_to_user(segmentation) -> None:
    segmentation.RemoveAttribute(COMPARISON_ATTRIBUTE)
    segmentation.RemoveAttribute(_VOXELS_ATTRIBUTE)
    name = _("{name}, edited").format(name=segmentation.GetName())
    segmentation.SetName(slicer.mrmlScene.GenerateUniqueName(name))
    if any(shown(view, BACKGROUND) not in (None, reference_image(segmentation)) for view in views()):
        segmentation.SetDisplayVisibility(False)


def _is_used(volume) -> bool:
    """Tell whether other data of the scene refers to a volume, such as a segmentation that was made of it."""
    return any(
        slicer.mrmlScene.IsNodeReferencingNodeID(node, volume.GetID())
        for node in slicer.util.getNodesByClass("vtkMRMLStorableNode") if not node.GetHideFromEditors()
    )


def _voxels_text(segmentation) -> str:
    """Return a text that is another after an edit of the voxels, and the same in a scene that was saved and loaded.

    Not on a left-handed grid, which Slicer turns round as it loads: there, it seems edited, and is kept.
    """
    segment_ids = sorted(segmentation.GetSegmentation().GetSegmentIDs())
    return " ".join(_segment_text(segmentation, segment_id) for segment_id in segment_ids)


def _segment_text(segmentation, segment_id: str) -> str:
    for grid in (grid_of_segmentation(segmentation), None):  # a drawing may have voxels of its own
        try:
            return voxel_hash(segment_id, segment_voxels(segmentation, segment_id, grid))
        except OffLattice:
            continue
    return f"{segment_id} is a surface"


def _lies_on_one(volume, grids: list[VoxelGrid]) -> bool:
    return has_voxels(volume) and any(same_grid(grid, grid_of_volume(volume)) for grid in grids)


def _load_image(case: HeldOutCase, grids: list[VoxelGrid]):
    """Return the case's own image: one loaded before that lies on one of `grids`, else from its file, the one that the
    case was read from, whose grid is not looked at again. A DICOM folder is left to the DICOM module."""
    known = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
             if node.GetAttribute(_IMAGE_ATTRIBUTE) == str(case.image) and _lies_on_one(node, grids)]
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
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
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
    node.SetAttribute(_VOXELS_ATTRIBUTE, _voxels_text(node))
    display = node.GetDisplayNode()
    display.SetAllSegmentsVisibility2DFill(role == DRAWN)
    display.SetAllSegmentsVisibility2DOutline(role != DRAWN)
    display.SetSliceIntersectionThickness(2 if role == AFTER else 1)
    return node


_layers = LentLayers("AutofocusSegmentation.HeldOut", BACKGROUND, end=hide_held_out)
