"""Where a volume lies: its matrices, its parent transforms, and how one volume lies in another's local frame.

Positions are RAS, in mm. A volume's local frame is that of its IJK-to-RAS matrix, before its parent transform.
"""

from collections.abc import Iterable

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From afnet's frame (and DICOM's) to that of Slicer's nodes; and back, for it is its own inverse."""

RIGID_TOLERANCE_MM = 0.5
"""How far a transform may move any voxel of the reference from the best rotation and shift and count as one."""

_SAMPLES_IN_PLANE, _SAMPLES_ACROSS = 9, 512


def ijk_to_local(volume) -> np.ndarray:
    """Return a volume node's 4x4 IJK-to-RAS matrix, without its parent transform."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def transform_between(source, target) -> vtk.vtkGeneralTransform:
    """Return the transform from the frame under transform node `source` to that under `target`; None is the world."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, transform)
    return transform


def is_linear(transform_node) -> bool:
    """Tell whether a transform node and all its parents are linear; None is."""
    return transform_node is None or bool(transform_node.IsTransformToWorldLinear())


def linear_to_world(transform_node) -> np.ndarray:
    """Return the 4x4 matrix from the frame under a linear transform node (None: the world) to the world."""
    matrix = vtk.vtkMatrix4x4()
    if transform_node is not None:
        transform_node.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def volume_factor(transform_node) -> float:
    """Return how many times larger a volume is in the world than in the frame under a transform node.

    One that bends has no such number; for that it is 1.
    """
    return abs(float(np.linalg.det(linear_to_world(transform_node)[:3, :3]))) if is_linear(transform_node) else 1.0


def same_frame(node, other) -> bool:
    """Tell whether two nodes are under the same transform, or under linear ones that are equal."""
    transforms = node.GetParentTransformNode(), other.GetParentTransformNode()
    if transforms[0] is transforms[1]:
        return True
    if not all(is_linear(transform) for transform in transforms):
        return False
    difference = linear_to_world(transforms[0]) - linear_to_world(transforms[1])
    return bool(abs(difference).max() < 1e-6)


def combined(axes: Iterable) -> np.ndarray:
    """Return N x 3 points: all combinations of the coordinates along three axes, those of the last one changing first.
    """
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def moved_by(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return N x 3 points moved by a 4x4 matrix."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def moved_points(transform: vtk.vtkAbstractTransform, points: np.ndarray) -> np.ndarray:
    """Return N x 3 positions moved by a transform."""
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    before.SetDataTypeToDouble()
    after.SetDataTypeToDouble()
    before.SetData(numpy_to_vtk(np.ascontiguousarray(points, float), deep=1))
    transform.TransformPoints(before, after)
    return vtk_to_numpy(after.GetData()).copy()


def sample_points(volume) -> np.ndarray:
    """Return positions (N x 3, local RAS) spread over a volume, its corners among them.

    Every slice along k is sampled, because the transforms that Slicer puts above a series with uneven slices bend it
    from slice to slice.
    """
    size = volume.GetImageData().GetDimensions()
    counts = (_SAMPLES_IN_PLANE, _SAMPLES_IN_PLANE, _SAMPLES_ACROSS)
    axes = [np.linspace(0, n - 1, min(n, count)) for n, count in zip(size, counts, strict=True)]
    return moved_by(ijk_to_local(volume), combined(axes))


def rigid_fit(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit a rotation and shift to N x 3 points; return its 4x4 matrix and the largest distance left, in mm.

    Least squares by singular value decomposition: Arun, Huang and Blostein, PAMI 1987; a mirror image is no rotation.
    """
    centre_before, centre_after = before.mean(axis=0), after.mean(axis=0)
    u, _, vt = np.linalg.svd((before - centre_before).T @ (after - centre_after))
    proper = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    matrix = np.eye(4)
    matrix[:3, :3] = vt.T @ proper @ u.T
    matrix[:3, 3] = centre_after - matrix[:3, :3] @ centre_before
    return matrix, float(np.linalg.norm(after - moved_by(matrix, before), axis=1).max())


def rigid_to_world(volume) -> tuple[np.ndarray, float]:
    """Return the rigid 4x4 matrix closest to a volume's transform to the world, and how far off it is at most, in mm.

    For a linear transform within RIGID_TOLERANCE_MM of rigid, the matrix is the transform's own.
    """
    node = volume.GetParentTransformNode()
    if node is None:
        return np.eye(4), 0.0
    points = sample_points(volume)
    moved = moved_points(transform_between(node, None), points)
    if not np.isfinite(moved).all():
        return np.eye(4), np.inf
    matrix, deviation = rigid_fit(points, moved)
    if is_linear(node) and deviation <= RIGID_TOLERANCE_MM:
        matrix = linear_to_world(node)
    return matrix, deviation


def linear_to_reference(volume, reference) -> np.ndarray | None:
    """Return the 4x4 matrix from `volume`'s local frame to that of `reference`: inverse(T_ref) T_volume.

    None if it is not linear. The reference's own transform is taken as rigid, as `rigid_to_world` gives it; volumes
    under the same transform as the reference share its frame, whatever that transform is.
    """
    if volume.GetParentTransformNode() is reference.GetParentTransformNode():
        return np.eye(4)
    if not is_linear(volume.GetParentTransformNode()):
        return None
    to_world, _ = rigid_to_world(reference)
    return np.linalg.inv(to_world) @ linear_to_world(volume.GetParentTransformNode())
