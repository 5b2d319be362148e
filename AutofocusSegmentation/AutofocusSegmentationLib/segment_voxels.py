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

from .transforms import (
    ijk_to_local,
    is_linear,
    linear_to_world,
    same_frame,
    volume_factor,
)

LATTICE_TOLERANCE = 0.02
"""Largest distance, in voxels, between two grids' voxel centres that still count as the same."""


class OffLattice(Exception):
    """A label map's voxels are not voxels of the grid."""


@dataclass(frozen=True)
class VoxelGrid:
    """A node's voxel centres, in its local frame: RAS, mm, under the node's own transform. Never afnet's LPS.

    A centre is `matrix` (4x4) times (i, j, k, 1), with i, j, k from 0 below `size`.
    """

    matrix: np.ndarray
    size: tuple[int, int, int]


@dataclass(frozen=True)
class Voxels:
    """A segment's voxels: `mask` [k, j, i], cut to their box, whose first voxel is `start` (i, j, k) on the grid."""

    start: tuple[int, int, int]
    mask: np.ndarray

    @property
    def count(self) -> int:
        return int(self.mask.sum())


def grid_of_volume(volume) -> VoxelGrid:
    """Return the grid of a volume node in its local frame."""
    return VoxelGrid(ijk_to_local(volume), volume.GetImageData().GetDimensions())


def grid_of_segmentation(segmentation) -> VoxelGrid | None:
    """Return a segmentation node's reference image geometry, in its local frame; None if it has none."""
    text = segmentation.GetSegmentation().GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName())
    image = slicer.vtkOrientedImageData()
    if not text or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False):
        return None
    matrix, extent = _matrix_of_image(image), image.GetExtent()
    matrix[:3, 3] += matrix[:3, :3] @ np.array(extent[0::2])
    return VoxelGrid(matrix, tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in range(3)))


def in_world(grid: VoxelGrid, node) -> VoxelGrid | None:
    """Return the grid of a node where the views show it (world RAS); None if a transform bends it."""
    parent = node.GetParentTransformNode()
    return VoxelGrid(linear_to_world(parent) @ grid.matrix, grid.size) if is_linear(parent) else None


def same_grid(grid: VoxelGrid, other: VoxelGrid) -> bool:
    """Tell whether two grids have the same voxel centres, in the same order."""
    if tuple(grid.size) != tuple(other.size):
        return False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.size], indexing="ij")).reshape(3, -1)
    apart = (np.linalg.inv(other.matrix) @ grid.matrix - np.eye(4)) @ np.vstack([corners, np.ones(8)])
    return bool(np.abs(apart).max() <= LATTICE_TOLERANCE)


def lies_within(grid: VoxelGrid, other: VoxelGrid) -> bool:
    """Tell whether a grid has the axes of another and lies in its box; its voxels may be finer, coarser or fewer.

    Where the voxels have another length, the last one may reach out of the box by its own: Slicer rounds their number.
    """
    between = np.linalg.inv(other.matrix) @ grid.matrix
    length, size = np.diag(between)[:3], np.array(grid.size)
    turned = np.abs(between[:3, :3] - np.diag(length)).max() * max(size)
    first = between[:3, 3] - length / 2
    beyond = np.maximum(-0.5 - first, first + length * size - (np.array(other.size) - 0.5))
    allowed = np.where(np.abs(length - 1) * size > LATTICE_TOLERANCE, np.minimum(length, 1), LATTICE_TOLERANCE)
    return bool(turned <= LATTICE_TOLERANCE and (length > 0).all() and (beyond <= allowed).all())


def lies_on(segmentation, volume) -> bool:
    """Tell whether a segmentation node has the voxels of a volume node, and lies on them in the views.

    True if either has no grid.
    """
    if grid_of_segmentation(segmentation) is None or volume.GetImageData() is None:
        return True
    grids = _comparable_grids(segmentation, volume)
    return grids is not None and same_grid(*grids)


def has_own_voxels(segmentation, volume) -> bool:
    """Tell whether a segmentation node lies on a volume node as it should, but on voxels of another size or number, as
    chosen with Specify geometry in the Segment Editor."""
    if lies_on(segmentation, volume):
        return False
    grids = _comparable_grids(segmentation, volume)
    return grids is not None and lies_within(*grids)


def _comparable_grids(segmentation, volume) -> tuple[VoxelGrid, VoxelGrid] | None:
    """Return both grids in one frame, the world's if they are under different transforms; None if one of those bends.

    So an image whose transform was hardened lies where it was.
    """
    grids = grid_of_segmentation(segmentation), grid_of_volume(volume)
    if not same_frame(segmentation, volume):
        grids = in_world(grids[0], segmentation), in_world(grids[1], volume)
    return None if any(grid is None for grid in grids) else grids


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
    return None if image is None else VoxelGrid(_matrix_of_image(image), image.GetDimensions())


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
    matrix = _matrix_of_image(image)
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
    segmentation.GetSegmentation().SeparateSegmentLabelmap(segment_id)
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
        volumes[segment_id] = count * factor * abs(float(np.linalg.det(_matrix_of_image(image)[:3, :3]))) / 1000
    return volumes


_EMPTY = Voxels((0, 0, 0), np.zeros((0, 0, 0), bool))


def _representation(segmentation, segment_id: str):
    """Return the image in which a segment is kept; None if there is no such segment, or it is kept otherwise."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    name = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    return segment.GetRepresentation(name) if segment is not None else None


def _matrix_of_image(image) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


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
