"""How a segmentation looks: surfaces in 3D, and outer structures through which the inner ones are seen."""

import slicer

from afnet.models.manifest import Manifest

from ..segments.nesting import nested_pairs
from ..segments.tags import other_results

OUTERMOST_OPACITY, BETWEEN_OPACITY = 0.3, 0.6
"""Opacity in 3D of a structure that others lie in, and of one that also lies in another itself."""


def is_shown_in_3d(segmentation) -> bool:
    """Whether the 3D views show `segmentation` (vtkMRMLSegmentationNode or None) as surfaces."""
    if segmentation is None or segmentation.GetDisplayNode() is None:
        return False
    return bool(
        segmentation.GetSegmentation().ContainsRepresentation(_surface())
        and segmentation.GetDisplayNode().GetVisibility()
        and segmentation.GetDisplayNode().GetVisibility3D()
    )


def show_in_3d(segmentation, shown: bool) -> None:
    """Make the surfaces of `segmentation` and show them, or remove them.

    They are removed, not hidden, because Slicer would go on computing them after every stroke of the editor; but where
    all else is made from them, they are the segments.
    """
    segmentation.CreateDefaultDisplayNodes()
    display = segmentation.GetDisplayNode()
    if not shown:
        if segmentation.GetSegmentation().GetSourceRepresentationName() == _surface():
            display.SetVisibility3D(False)
        else:
            segmentation.RemoveClosedSurfaceRepresentation()
        return
    segmentation.CreateClosedSurfaceRepresentation()
    display.SetPreferredDisplayRepresentationName3D(_surface())
    display.SetVisibility(True)
    display.SetVisibility3D(True)


def let_inner_structures_be_seen(segmentation, manifest: Manifest, segments: dict[str, str]) -> None:
    """Make the structures that others lie in translucent in 3D, and the outermost ones an outline in 2D.

    segments: structure id to segment id of those that are to be changed.
    """
    segmentation.CreateDefaultDisplayNodes()
    display = segmentation.GetDisplayNode()
    pairs = nested_pairs(manifest)
    inner = {structure.id for structure, _ in pairs}
    for structure in {outer.id for _, outer in pairs} & set(segments):
        between = structure in inner
        display.SetSegmentOpacity3D(segments[structure], BETWEEN_OPACITY if between else OUTERMOST_OPACITY)
        display.SetSegmentVisibility2DFill(segments[structure], between)


def is_shown(segmentation, segment_id: str) -> bool:
    """Whether the views show a segment: both it and the segmentation as a whole can be hidden."""
    display = segmentation.GetDisplayNode()
    return bool(display.GetVisibility() and display.GetSegmentVisibility(segment_id))


def set_visible(segmentation, segment_id: str, shown: bool) -> None:
    """Show or hide a segment in all views. If the segmentation as a whole was hidden, it is shown with this one."""
    display = segmentation.GetDisplayNode()
    if shown and not display.GetVisibility():
        display.SetAllSegmentsVisibility(False)
        display.SetVisibility(True)
    display.SetSegmentVisibility(segment_id, shown)


def show_alone(segmentation) -> None:
    """Show a result and hide the others, which would lie over it or over its image; never what a user drew."""
    segmentation.CreateDefaultDisplayNodes()
    segmentation.GetDisplayNode().SetVisibility(True)
    for other in other_results(segmentation):
        if other.GetDisplayNode() is not None:
            other.GetDisplayNode().SetVisibility(False)


def _surface() -> str:
    return slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
