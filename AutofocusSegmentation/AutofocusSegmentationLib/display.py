"""Showing a segmentation in 3D and handing it to the Segment Editor, through MRML nodes alone."""

import slicer

_CLOSED_SURFACE = "Closed surface"
"""Name of the representation, as in vtkSegmentationConverter::GetSegmentationClosedSurfaceRepresentationName()."""

_EDITOR_SINGLETON = "SegmentEditor"
"""Tag of the parameter node that Slicer's Segment Editor module uses."""


def is_shown_in_3d(segmentation) -> bool:
    """Whether the 3D views show `segmentation` (vtkMRMLSegmentationNode or None) as surfaces."""
    if segmentation is None or segmentation.GetDisplayNode() is None:
        return False
    return bool(
        segmentation.GetSegmentation().ContainsRepresentation(_CLOSED_SURFACE)
        and segmentation.GetDisplayNode().GetVisibility3D()
    )


def show_in_3d(segmentation, shown: bool) -> None:
    """Make the surfaces of `segmentation` and show them, or remove them.

    They are removed, not hidden, because Slicer would go on computing them after every stroke of the editor.
    """
    if not shown:
        segmentation.RemoveClosedSurfaceRepresentation()
        return
    segmentation.CreateDefaultDisplayNodes()
    segmentation.CreateClosedSurfaceRepresentation()
    display = segmentation.GetDisplayNode()
    display.SetPreferredDisplayRepresentationName3D(_CLOSED_SURFACE)
    display.SetVisibility(True)
    display.SetVisibility3D(True)


def prepare_segment_editor(segmentation, volume) -> None:
    """Make `segmentation` and its source `volume` (may be None) what the Segment Editor shows when it opens."""
    scene = slicer.mrmlScene
    editor = scene.GetSingletonNode(_EDITOR_SINGLETON, "vtkMRMLSegmentEditorNode")
    if editor is None:
        editor = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
        editor.UnRegister(None)
        editor.SetSingletonTag(_EDITOR_SINGLETON)
        editor = scene.AddNode(editor)
    editor.SetAndObserveSegmentationNode(segmentation)
    if volume is not None:
        editor.SetAndObserveSourceVolumeNode(volume)
