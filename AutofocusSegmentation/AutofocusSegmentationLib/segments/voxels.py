"""The voxels of a segment on the grid of its reference volume: read, hashed, and made into a label map again.

Slicer keeps a segment's label map on an extent of its own and may share it between segments. Here a segment is always
the same array, whatever the extent.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..scene.grids import LATTICE_TOLERANCE, VoxelGrid, matrix_of_image
from ..scene.transforms import volume_factor


class OffLattice(Exception):
    """A label map's voxels are not voxels of the grid."""


@dataclass(frozen=True)
class Voxels:
    """A segment's voxels: `mask` [k, j, i], cut to their box, whose first voxel is `start` (i, j, k) on the grid."""

    start: tuple[int, int, int]
    mask: np.ndarray

    @property
    def count(self) -> int:
        return int(self.mask.sum())


def segments_of(segmentation) -> list[tuple[str, object]]:
    """Return (segment id, vtkSegment) of the segments of a segmentation node, in their order."""
    segments = segmentation.GetSegmentation()
    return [(segment_id, segments.GetSegment(segment_id)) for segment_id in segments.GetSegmentIDs()]


def name_of_segment(segmentation, segment_id: str) -> str:
    """Return the name of a segment of a segmentation node."""
    return segmentation.GetSegmentation().GetSegment(segment_id).GetName()


def cut_to_box(mask: np.ndarray) -> Voxels:
    """Return the voxels of a mask [k, j, i] that covers its grid."""
    in_plane = mask.any(axis=0)
    used = [in_plane.any(axis=0).nonzero()[0], in_plane.any(axis=1).nonzero()[0], mask.any(axis=(1, 2)).nonzero()[0]]
    if not used[0].size:
        return _EMPTY
    start = tuple(int(axis[0]) for axis in used)
    box = tuple(slice(int(axis[0]), int(axis[-1]) + 1) for axis in reversed(used))
    return Voxels(start, np.ascontiguousarray(mask[box]))


def holds_surfaces(segmentation) -> bool:
    """Tell whether the segments of a segmentation node are surfaces, from which its voxels, if any, are made."""
    label_maps = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    return segmentation.GetSegmentation().GetSourceRepresentationName() != label_maps


def own_grid(segmentation, segment_id: str) -> VoxelGrid | None:
    """Return the grid of a segment's own label map, in the segmentation's local frame; None if it has none.

    Its voxels may lie anywhere on it, before its origin, too.
    """
    image = _representation(segmentation, segment_id)
    return None if image is None else VoxelGrid(matrix_of_image(image), image.GetDimensions())


def with_label_maps(segmentation):
    """Return a segmentation node whose segments are label maps: this one or, where some must be made of surfaces, a
    copy outside any scene and under no transform. What cannot be made is missing there."""
    if all(_representation(segmentation, segment_id) for segment_id, _segment in segments_of(segmentation)):
        return segmentation
    copy = slicer.vtkMRMLSegmentationNode()
    copy.GetSegmentation().DeepCopy(segmentation.GetSegmentation())
    copy.CreateBinaryLabelmapRepresentation()
    return copy


def segment_voxels(segmentation, segment_id: str, grid: VoxelGrid | None) -> Voxels:
    """Return a segment's voxels on `grid`, None for that of its own label map.

    Raises OffLattice if it is kept on other voxels, or not as a label map.
    """
    image, kept = slicer.vtkOrientedImageData(), _representation(segmentation, segment_id)
    if kept is None:
        raise OffLattice
    if min(kept.GetDimensions()) < 1:
        return _EMPTY
    if not segmentation.GetBinaryLabelmapRepresentation(segment_id, image):
        raise OffLattice
    if min(image.GetDimensions()) < 1 or image.GetPointData().GetScalars() is None:
        return _EMPTY
    extent = image.GetExtent()
    mask = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]) != 0
    matrix = matrix_of_image(image)
    grid = grid or own_grid(segmentation, segment_id)
    matrix[:3, 3] += matrix[:3, :3] @ np.array(extent[0::2])
    return _on_grid(mask, matrix, grid)


def voxel_hash(segment_id: str, voxels: Voxels) -> str:
    """Return a SHA-256 of a segment's id and voxels on its grid; how much air is kept around them does not matter.

    The id is part of it so that a copy, which has the original's tags, does not pass as ours.
    """
    digest = hashlib.sha256(segment_id.encode("utf-8"))
    digest.update(np.array([*voxels.start, *voxels.mask.shape], "<i8").tobytes())
    digest.update(np.packbits(voxels.mask).tobytes())
    return digest.hexdigest()


def label_map(voxels: Voxels, grid: VoxelGrid):
    """Return a new vtkOrientedImageData, 1 in the segment, on the box of its voxels."""
    k, j, i = voxels.mask.shape
    start = voxels.start
    image = slicer.vtkOrientedImageData()
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(grid.matrix))
    image.SetExtent(start[0], start[0] + i - 1, start[1], start[1] + j - 1, start[2], start[2] + k - 1)
    if voxels.mask.size:
        scalars = numpy_to_vtk(voxels.mask.astype(np.uint8).ravel(), deep=1, array_type=vtk.VTK_UNSIGNED_CHAR)
        scalars.SetName("ImageScalars")
        image.GetPointData().SetScalars(scalars)
    else:
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    return image


def replace_voxels(segmentation, segment_id: str, voxels: Voxels, grid: VoxelGrid) -> None:
    """Give a segment new voxels; its surface, if shown, follows. Other segments keep theirs, overlap or not.

    Raises RuntimeError if Slicer refuses.
    """
    if not voxels.count:  # eight voxels of air: VTK makes no surface, and an error, of fewer
        voxels = Voxels((0, 0, 0), np.zeros((2, 2, 2), bool))
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    if not logic.SetBinaryLabelmapToSegment(label_map(voxels, grid), segmentation, segment_id, logic.MODE_REPLACE):
        raise RuntimeError(f"segment {segment_id} took no voxels")


def segment_volumes(segmentation) -> dict[str, float]:
    """Return segment id to volume in ml as it is now: voxels times voxel size. Segments kept as surfaces are left out.

    A transform above the node that scales is counted, as in the files and the views; one that bends is not.
    """
    volumes, factor = {}, volume_factor(segmentation.GetParentTransformNode())
    for segment_id, segment in segments_of(segmentation):
        image = _representation(segmentation, segment_id)  # shared between segments, told apart by their label values
        if image is None:
            continue
        scalars = image.GetPointData().GetScalars()
        count = 0
        if scalars is not None and min(image.GetDimensions()) > 0:
            count = int(np.count_nonzero(vtk_to_numpy(scalars) == segment.GetLabelValue()))
        volumes[segment_id] = count * factor * abs(float(np.linalg.det(matrix_of_image(image)[:3, :3]))) / 1000
    return volumes


_EMPTY = Voxels((0, 0, 0), np.zeros((0, 0, 0), bool))


def _representation(segmentation, segment_id: str):
    """Return the image in which a segment is kept; None if there is no such segment, or it is kept otherwise."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    name = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    return segment.GetRepresentation(name) if segment is not None else None


def _on_grid(mask: np.ndarray, matrix: np.ndarray, grid: VoxelGrid) -> Voxels:
    """Bring a mask [k, j, i], whose index-to-RAS matrix is given, to the indices of `grid`, cut to its voxels."""
    between = np.linalg.inv(grid.matrix) @ matrix
    offset = np.round(between[:3, 3]).astype(int)
    reach = max(mask.shape)
    if np.abs(between[:3, :3] - np.eye(3)).max() * reach > LATTICE_TOLERANCE:
        raise OffLattice
    if np.abs(between[:3, 3] - offset).max() > LATTICE_TOLERANCE:
        raise OffLattice
    voxels = cut_to_box(mask)
    if not voxels.count:
        return _EMPTY
    return Voxels(tuple(int(a + b) for a, b in zip(voxels.start, offset, strict=True)), voxels.mask)
