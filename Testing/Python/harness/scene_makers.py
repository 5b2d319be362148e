"""Small nodes for tests. Arrays are indexed [k, j, i]; geometry is IJK to RAS, in mm."""

from collections.abc import Mapping

import numpy as np


def oblique(spacing=(0.9, 1.1, 2.5), origin=(-31.0, 17.0, 5.0), angle=20.0) -> np.ndarray:
    """A right-handed 4x4 IJK-to-RAS matrix, turned by `angle` degrees about S and then half as much about R."""
    a, b = np.radians(angle), np.radians(angle / 2)
    about_s = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_r = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_r @ about_s @ np.diag(spacing)
    matrix[:3, 3] = origin
    return matrix


def make_volume(array=None, name="volume", ijk_to_ras=None, label=False):
    """Add a scalar volume (or label map) node. Without an array: a smooth float32 blob, 24 x 20 x 16 voxels."""
    import slicer.util

    if array is None:
        k, j, i = np.mgrid[-1:1:16j, -1:1:20j, -1:1:24j]
        array = (100 * np.exp(-3 * (i**2 + j**2 + k**2))).astype(np.float32)
    if ijk_to_ras is None:
        ijk_to_ras = oblique()
    return slicer.util.addVolumeFromArray(
        np.ascontiguousarray(array),
        ijkToRAS=np.asarray(ijk_to_ras, float),
        name=name,
        nodeClassName="vtkMRMLLabelMapVolumeNode" if label else "vtkMRMLScalarVolumeNode",
    )


def make_segmentation(volume, masks: Mapping[str, np.ndarray], name="segmentation"):
    """Add a segmentation in the geometry of `volume`; its segments have the masks' keys as id and name."""
    import slicer
    import slicer.util

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for index, (segment, mask) in enumerate(masks.items()):
        # An explicit colour: an empty one is drawn at random.
        color = [(0.9, 0.6, 0.5), (0.5, 0.7, 0.9), (0.6, 0.9, 0.5)][index % 3]
        node.GetSegmentation().AddEmptySegment(segment, segment, color)
        slicer.util.updateSegmentBinaryLabelmapFromArray(np.asarray(mask, np.uint8), node, segment, volume)
    return node


def put_under_transform(matrix, *nodes):
    """Put nodes under a new linear transform node with this 4x4 matrix (RAS, mm); returns it."""
    import slicer
    import slicer.util

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.asarray(matrix, float)))
    for node in nodes:
        node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def shift(r: float = 0.0, a: float = 0.0, s: float = 0.0) -> np.ndarray:
    """A 4x4 matrix that moves by so many mm."""
    matrix = np.eye(4)
    matrix[:3, 3] = r, a, s
    return matrix
