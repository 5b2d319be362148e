"""Write a segmentation node as a .seg.nrrd file in the frame of its image, without touching the node."""

from pathlib import Path

import slicer
import vtk

from ..inputs.volume_export import ExportError
from ..scene.transforms import ijk_to_local, linear_to_reference, rigid_to_world, transform_between


class NoVoxels(ExportError):
    """The segmentation is of contours or surfaces that cannot be turned into voxels."""


def write_segmentation_node(segmentation, reference, path: Path) -> None:
    """Write all segments, with names and tags, as they lie in the local frame of the volume node `reference`.

    A segmentation of surfaces or contours (as from RTSTRUCT) is sampled on the reference's grid; one of voxels keeps
    its own grid. Raises NoVoxels, or ExportError if the file cannot be written.
    """
    copy = slicer.vtkMRMLSegmentationNode()
    copy.GetSegmentation().DeepCopy(segmentation.GetSegmentation())
    _bring_to_frame(copy.GetSegmentation(), segmentation, reference)
    _make_voxels(copy.GetSegmentation(), reference)
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(1)
    if not storage.WriteData(copy) or not path.is_file() or not path.stat().st_size:
        raise ExportError(path.name)


def _bring_to_frame(copy, segmentation, reference) -> None:
    """Move the segments from their node's local frame to the reference's."""
    if segmentation.GetParentTransformNode() is reference.GetParentTransformNode():
        return
    matrix = linear_to_reference(segmentation, reference)
    if matrix is not None:
        transform = vtk.vtkTransform()
        transform.SetMatrix(slicer.util.vtkMatrixFromArray(matrix))
        copy.ApplyLinearTransform(transform)
        return
    to_world, _ = rigid_to_world(reference)
    from_world = slicer.util.vtkMatrixFromArray(to_world)
    from_world.Invert()
    bent = vtk.vtkGeneralTransform()
    bent.PostMultiply()
    bent.Concatenate(transform_between(segmentation.GetParentTransformNode(), None))
    bent.Concatenate(from_world)
    copy.ApplyNonLinearTransform(bent)


def _make_voxels(copy, reference) -> None:
    voxels = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    if copy.GetSourceRepresentationName() == voxels:
        return
    image = slicer.vtkOrientedImageData()
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(ijk_to_local(reference)))
    image.SetExtent(reference.GetImageData().GetExtent())
    copy.SetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
        slicer.vtkSegmentationConverter.SerializeImageGeometry(image),
    )
    if copy.ContainsRepresentation(voxels):
        copy.RemoveRepresentation(voxels)  # made on another grid, perhaps before the contours were changed
    if not copy.CreateRepresentation(voxels):
        raise NoVoxels
    copy.SetSourceRepresentationName(voxels)
