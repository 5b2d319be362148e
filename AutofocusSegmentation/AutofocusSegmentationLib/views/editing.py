"""The hand-over to Slicer's Segment Editor, through its parameter node: what it shows when it opens."""

import slicer

from afnet.models.manifest import Manifest

_EDITOR_SINGLETON = "SegmentEditor"
"""Tag of the parameter node that Slicer's Segment Editor module uses."""


def regions_overlap(segmentation, manifest: Manifest | None) -> bool:
    """Tell whether segments share voxels by intention; without a manifest, whether any can (they lie in layers)."""
    if manifest is None:
        labelmap = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
        return segmentation.GetSegmentation().GetNumberOfLayers(labelmap) > 1
    labels = [label for structure in manifest.structures for label in structure.labels]
    return len(set(labels)) < len(labels)


def edited_segmentation():
    """Return the segmentation node that the Segment Editor module has; None if it has none."""
    editor = slicer.mrmlScene.GetSingletonNode(_EDITOR_SINGLETON, "vtkMRMLSegmentEditorNode")
    return editor.GetSegmentationNode() if editor is not None else None


def prepare_segment_editor(segmentation, volume=None, segment_id: str = "", overlap: bool = False) -> None:
    """Make `segmentation`, its source `volume` and a selected segment what the Segment Editor shows when it opens.

    volume: None if its image is not known: the one that the editor has then goes too, for it may be another patient's.
    overlap: the regions lie in each other. The editor's default would then erase the outer ones under the first
    stroke in an inner one, so painting leaves other segments alone. For another segmentation the default comes back.
    To be called before the module is chosen: it reads its node when it opens.
    """
    scene = slicer.mrmlScene
    editor = scene.GetSingletonNode(_EDITOR_SINGLETON, "vtkMRMLSegmentEditorNode")
    if editor is None:
        editor = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
        editor.UnRegister(None)
        editor.SetSingletonTag(_EDITOR_SINGLETON)
        editor = scene.AddNode(editor)
    other = editor.GetSegmentationNode() is not segmentation
    editor.SetAndObserveSegmentationNode(segmentation)
    editor.SetAndObserveSourceVolumeNode(volume)
    segments = segmentation.GetSegmentation()
    if segment_id and segments.GetSegment(segment_id) is not None:
        editor.SetSelectedSegmentID(segment_id)
    elif segments.GetNumberOfSegments() and segments.GetSegment(editor.GetSelectedSegmentID() or "") is None:
        editor.SetSelectedSegmentID(segments.GetNthSegmentID(0))
    if overlap:
        editor.SetOverwriteMode(editor.OverwriteNone)
    elif other:
        editor.SetOverwriteMode(editor.OverwriteAllSegments)
