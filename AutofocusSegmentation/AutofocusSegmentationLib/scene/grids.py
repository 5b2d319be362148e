"""Where the voxels of a volume or segmentation node lie, and whether those of two nodes are the same."""

from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from .transforms import combined, ijk_to_local, is_linear, linear_to_world, moved_by, same_frame

LATTICE_TOLERANCE = 0.02
"""Largest distance, in voxels, between two grids' voxel centres that still count as the same."""


@dataclass(frozen=True)
class VoxelGrid:
    """A node's voxel centres, in its local frame: RAS, mm, under the node's own transform. Never afnet's LPS.

    A centre is `matrix` (4x4) times (i, j, k, 1), with i, j, k from 0 below `size`.
    """

    matrix: np.ndarray
    size: tuple[int, int, int]


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
    matrix, extent = matrix_of_image(image), image.GetExtent()
    matrix[:3, 3] += matrix[:3, :3] @ np.array(extent[0::2])
    return VoxelGrid(matrix, tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in range(3)))


def matrix_of_image(image) -> np.ndarray:
    """Return the 4x4 matrix from the indices of a vtkOrientedImageData to its frame (RAS, mm)."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def in_world(grid: VoxelGrid, node) -> VoxelGrid | None:
    """Return the grid of a node where the views show it (world RAS); None if a transform bends it."""
    parent = node.GetParentTransformNode()
    return VoxelGrid(linear_to_world(parent) @ grid.matrix, grid.size) if is_linear(parent) else None


def same_grid(grid: VoxelGrid, other: VoxelGrid) -> bool:
    """Tell whether two grids have the same voxel centres, in the same order."""
    if tuple(grid.size) != tuple(other.size):
        return False
    corners = combined((0, n - 1) for n in grid.size)
    apart = moved_by(np.linalg.inv(other.matrix) @ grid.matrix, corners) - corners
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
