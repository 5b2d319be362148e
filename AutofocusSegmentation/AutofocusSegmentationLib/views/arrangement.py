"""Bring a result into view, through the slice views' MRML nodes: the image behind it, the slices through it."""

from collections.abc import Iterable

import numpy as np
import slicer

from ..scene import hierarchy
from ..scene.grids import grid_of_segmentation
from ..scene.node_marks import SEGMENTATION_ROLE
from ..scene.volumes import is_attention_map
from ..segments.study_record import images_of, is_of_study
from ..segments.voxels import OffLattice, Voxels, segment_voxels
from . import view_layers
from .view_layers import BACKGROUND, FOREGROUND

CENTRAL_PART = 0.7
"""Part of a view's width and height, around its middle, in which a structure is seen well enough not to be centred."""


def show_behind(volume, kept_of=None) -> None:
    """Make `volume` the background of all slice views. Foregrounds stay, except the same volume, and one of a patient
    who is not known to be this volume's.

    kept_of: segmentation of whose study a background stays, as FLAIR does behind a tumour made on T1. A view that
    showed another volume is fitted to this one; others keep their zoom. It is there for good: what a map or a test case
    had replaced before does not come back when that goes; nor does such a foreground.
    """
    for view in view_layers.views():
        view_layers.keep(view, BACKGROUND)
        view_layers.forget_before(view, FOREGROUND, lambda before: hierarchy.is_foreign(before, volume))
        if kept_of is not None and is_of_study(view_layers.shown(view, BACKGROUND), kept_of):
            continue
        view_layers.show(view, BACKGROUND, volume)
        foreground = view_layers.shown(view, FOREGROUND)
        if foreground is volume or hierarchy.is_foreign(foreground, volume):
            view_layers.show(view, FOREGROUND, None)


def show_no_other_image(segmentation) -> None:
    """Take all images away from behind a segmentation whose own one is not known, but for those of its study or patient
    and its own attention maps; nor do others come back when those go."""
    images = images_of(segmentation)

    def is_other(volume) -> bool:
        if is_attention_map(volume):
            return volume.GetNodeReference(SEGMENTATION_ROLE) is not segmentation
        return volume not in images and not hierarchy.same_patient(volume, segmentation)

    for view in view_layers.views():
        for layer in (BACKGROUND, FOREGROUND):
            view_layers.forget_before(view, layer, is_other)
            volume = view_layers.shown(view, layer)
            if volume is not None and is_other(volume):
                view_layers.keep(view, layer)
                view_layers.show(view, layer, None)


def show_in_slices(segmentation, segment_ids: Iterable[str] | None = None) -> bool:
    """Move all slice views to the slices that show most of some segments (None: of all).

    A view in which they would lie at the margin or outside is centred on them; others keep their field of view, so
    that the anatomy around stays where the user has it. Returns False, and moves nothing, if the segments are empty.
    """
    point = telling_point(segmentation, segment_ids)
    if point is None:
        return False
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        node.JumpSliceByOffsetting(*point)
        to_slice = np.linalg.inv(slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS()))
        across = np.abs((to_slice @ [*point, 1])[:2])  # mm from the middle of the view
        if np.any(across > CENTRAL_PART / 2 * np.array(node.GetFieldOfView()[:2])):
            node.JumpSliceByCentering(*point)
    return True


def telling_point(segmentation, segment_ids: Iterable[str] | None = None) -> np.ndarray | None:
    """Return the point (RAS, mm, world) where the three planes along the image's axes cut most of the segments.

    Each segment's area in a plane is taken relative to its largest, so that a small one counts like a large one.
    segment_ids: None for all. Returns None if they are all empty, or kept on other voxels than the image's.
    """
    grid = grid_of_segmentation(segmentation)
    if grid is None:
        return None
    wanted = segmentation.GetSegmentation().GetSegmentIDs() if segment_ids is None else segment_ids
    worth = [np.zeros(length) for length in grid.size]  # along i, j, k
    for segment_id in wanted:
        try:
            voxels = segment_voxels(segmentation, segment_id, grid)
        except OffLattice:
            continue
        for axis, area in enumerate(_areas(voxels)):
            first, last = max(voxels.start[axis], 0), min(voxels.start[axis] + len(area), grid.size[axis])
            if first < last:
                worth[axis][first:last] += area[first - voxels.start[axis] : last - voxels.start[axis]] / area.max()
    if not all(total.any() for total in worth):
        return None
    local = grid.matrix @ [*(int(total.argmax()) for total in worth), 1]
    return _to_world(segmentation, local[:3])


def _areas(voxels: Voxels) -> list[np.ndarray]:
    """Return the voxel counts of the planes of a mask across i, j and k; nothing for an empty one."""
    if not voxels.count:
        return []
    return [voxels.mask.sum(axis=axes) for axes in ((0, 1), (0, 2), (1, 2))]


def _to_world(node, point: np.ndarray) -> np.ndarray:
    moved = [0.0, 0.0, 0.0]
    node.TransformPointToWorld(point.tolist(), moved)
    return np.array(moved)
