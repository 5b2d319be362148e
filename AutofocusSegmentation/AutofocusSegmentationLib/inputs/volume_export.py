"""Write volume nodes as uncompressed NRRD files without touching the nodes: private copies that share the voxels."""

from pathlib import Path

import numpy as np
import slicer
import vtk

from ..scene.transforms import ijk_to_local, linear_to_reference, rigid_to_world, transform_between
from ..scene.volumes import SIGNED_BYTES

LARGEST_RESAMPLED = 2**28
"""Voxels of a resampled volume above which the reference's own grid is taken instead of a finer one."""


class ExportError(Exception):
    """A volume could not be written."""


def private_copy(volume, ijk_to_ras: np.ndarray | None = None, voxels=None):
    """Return a volume node outside any scene with the voxels of `volume` (shared, not copied) and no transform.

    ijk_to_ras: 4x4 matrix that places it; the volume's own by default. voxels: vtkImageData, taken in place of the
    volume's own.
    """
    image = vtk.vtkImageData()
    image.ShallowCopy(voxels or volume.GetImageData())
    return _private_node(image, ijk_to_local(volume) if ijk_to_ras is None else ijk_to_ras)


def resampled_copy(volume, reference, voxels=None):
    """Return a volume node outside any scene: `volume`, under any transforms, sampled over the box of `reference`.

    The grid is the reference's local one, with each voxel divided along an axis where the volume is finer. Linear
    interpolation; outside the volume its background value (the median of its corners). voxels: as above.
    """
    matrix, size = _finer_grid(volume, reference)
    to_input = vtk.vtkGeneralTransform()
    to_input.PostMultiply()
    to_input.Concatenate(slicer.util.vtkMatrixFromArray(matrix))
    if reference.GetParentTransformNode() is not volume.GetParentTransformNode():
        to_world, _ = rigid_to_world(reference)
        to_input.Concatenate(slicer.util.vtkMatrixFromArray(to_world))
        to_input.Concatenate(transform_between(None, volume.GetParentTransformNode()))
    to_input.Concatenate(slicer.util.vtkMatrixFromArray(np.linalg.inv(ijk_to_local(volume))))

    image = vtk.vtkImageData()
    image.ShallowCopy(voxels or volume.GetImageData())
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(image)
    reslice.SetResliceTransform(to_input)
    reslice.SetInterpolationModeToLinear()
    reslice.SetBackgroundLevel(volume.GetImageBackgroundScalarComponentAsDouble(0))
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputExtent(0, size[0] - 1, 0, size[1] - 1, 0, size[2] - 1)
    reslice.Update()
    result = vtk.vtkImageData()
    result.ShallowCopy(reslice.GetOutput())
    return _private_node(result, matrix)


def in_frame_of(volume, reference, voxels=None):
    """Return a private copy of `volume`, placed in the local frame of `reference`; None if that takes resampling."""
    matrix = linear_to_reference(volume, reference)
    return None if matrix is None else private_copy(volume, matrix @ ijk_to_local(volume), voxels)


def write_nrrd(private_node, path: Path) -> None:
    """Write a private node to an uncompressed NRRD file, in its own voxel type. Raises ExportError.

    The storage node is not the user's and is in no scene: saving through the user's would point it to this file.
    """
    if private_node.GetImageData().GetScalarType() in SIGNED_BYTES:
        private_node = _as_short(private_node)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetUseCompression(0)
    storage.SetFileName(str(path))
    image = private_node.GetImageData()
    voxel_bytes = image.GetNumberOfPoints() * image.GetScalarSize()
    # The size is checked too: on a full disk the writers do not always notice what they could not write.
    if not storage.WriteData(private_node) or not path.is_file() or path.stat().st_size <= voxel_bytes:
        raise ExportError(path.name)


def _private_node(image: vtk.vtkImageData, ijk_to_ras: np.ndarray):
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ijk_to_ras))
    return node


def _as_short(private_node):
    cast = vtk.vtkImageCast()
    cast.SetInputData(private_node.GetImageData())
    cast.SetOutputScalarTypeToShort()
    cast.Update()
    return _private_node(cast.GetOutput(), ijk_to_local(private_node))


def _finer_grid(volume, reference) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return IJK to local RAS and size of a grid over the reference's box, about as fine as `volume` is."""
    matrix, size = ijk_to_local(reference), np.array(reference.GetImageData().GetDimensions())
    finest = np.linalg.norm(ijk_to_local(volume)[:3, :3], axis=0).min()
    parts = np.maximum(1, np.round(np.linalg.norm(matrix[:3, :3], axis=0) / finest)).astype(int)
    if np.prod((size * parts).astype(float)) > LARGEST_RESAMPLED:
        parts = np.ones(3, int)
    # A voxel divided into n parts: the first part's centre lies (n - 1) / 2n of a voxel before the voxel's own.
    into = np.diag([*(1 / parts), 1.0])
    into[:3, 3] = (1 / parts - 1) / 2
    return matrix @ into, tuple(int(count) for count in size * parts)
