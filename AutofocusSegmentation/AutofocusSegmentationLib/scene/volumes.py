"""Which volume nodes can be segmented at all."""

import slicer
import vtk
from slicer.i18n import tr as _

from .node_marks import ATTENTION_ATTRIBUTE

SCALAR_TYPES = (
    vtk.VTK_UNSIGNED_CHAR, vtk.VTK_SHORT, vtk.VTK_UNSIGNED_SHORT, vtk.VTK_INT, vtk.VTK_UNSIGNED_INT,
    vtk.VTK_FLOAT, vtk.VTK_DOUBLE,
)
"""Voxel types that Slicer's NRRD writers keep as they are."""

SIGNED_BYTES = (vtk.VTK_CHAR, vtk.VTK_SIGNED_CHAR)
"""Voxel types that Slicer's NRRD writers refuse; exported as 16 bit, without loss."""

_NOT_SCALAR = ("vtkMRMLTensorVolumeNode", "vtkMRMLDiffusionImageVolumeNode", "vtkMRMLMultiVolumeNode")


def name_of(node) -> str:
    """Return what a sentence calls a node: its name, which a user may have emptied."""
    return node.GetName() or _("(without a name)")


def is_label_map(node) -> bool:
    return bool(node.IsA("vtkMRMLLabelMapVolumeNode"))


def is_attention_map(node) -> bool:
    return node.GetAttribute(ATTENTION_ATTRIBUTE) is not None


def attention_map_ids() -> list[str]:
    """Return the ids of the scene's attention maps."""
    return [node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if is_attention_map(node)]


def has_voxels(node) -> bool:
    image = node.GetImageData()
    return image is not None and image.GetNumberOfPoints() > 0 and image.GetPointData().GetScalars() is not None


def is_scalar(node) -> bool:
    """Tell whether a node is a volume with one number a voxel; label maps are."""
    if not node.IsA("vtkMRMLScalarVolumeNode") or any(node.IsA(name) for name in _NOT_SCALAR):
        return False
    return not has_voxels(node) or node.GetImageData().GetNumberOfScalarComponents() == 1


def has_known_type(node) -> bool:
    """Tell whether the voxel type is one that can be exported without loss."""
    return node.GetImageData().GetScalarType() in (*SCALAR_TYPES, *SIGNED_BYTES)


def has_slices(node) -> bool:
    """Tell whether the volume has at least two voxels along each axis."""
    return min(node.GetImageData().GetDimensions()) >= 2


def is_usable(node) -> bool:
    """Tell whether a node is a scan that may be an input, wherever it lies."""
    return (
        is_scalar(node) and not is_label_map(node) and not is_attention_map(node)
        and has_voxels(node) and has_known_type(node) and has_slices(node)
    )


def scalar_type_name(node) -> str:
    return vtk.vtkImageScalarTypeNameMacro(node.GetImageData().GetScalarType())
