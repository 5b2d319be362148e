"""Volumes that are the proxy of a sequence: they show one frame of it, and change when it is played."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from .grids import VoxelGrid, grid_of_volume
from .volumes import has_voxels


@dataclass(frozen=True)
class Frame:
    """What a sequence's proxy showed at one time. text: 'frame 3 of 10 (time 2 s)'. image: vtkImageData, its voxels,
    which stay when the proxy moves on. grid: where they lie."""

    text: str
    image: object
    grid: VoxelGrid


class FrameWatch(VTKObservationMixin):
    """Calls `changed` when one of the watched volume nodes shows other voxels, as another frame of its sequence."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed

    def watch(self, nodes: Iterable) -> None:
        """Watch these nodes (None is passed over) and no others."""
        self.removeObservers()
        for node in {node for node in nodes if node is not None}:
            self.addObserver(node, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, self._voxels_changed)

    def _voxels_changed(self, caller, event) -> None:
        self._changed()


def current_frame(node) -> Frame | None:
    """Return the frame that a sequence's proxy shows; None for other nodes."""
    browser = slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(node)
    if browser is None or not has_voxels(node):
        return None
    sequence = browser.GetMasterSequenceNode() or browser.GetSequenceNode(node)
    selected = browser.GetSelectedItemNumber()
    if sequence is None or not 0 <= selected < sequence.GetNumberOfDataNodes():
        return None
    index = " ".join(
        part for part in (sequence.GetIndexName(), sequence.GetNthIndexValue(selected), sequence.GetIndexUnit()) if part
    )
    text = _("frame {number} of {count} ({index})").format(
        number=selected + 1, count=sequence.GetNumberOfDataNodes(), index=index)
    image = vtk.vtkImageData()
    image.ShallowCopy(node.GetImageData())
    return Frame(text, image, grid_of_volume(node))
