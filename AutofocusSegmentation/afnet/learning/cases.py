"""A training case: what inference sees of one patient, with the truth on the same working grid.

Packed by packed_case.py, which needs no SimpleITK.
"""

import numpy as np
import SimpleITK as sitk

from ..models.manifest import Manifest
from ..preprocessing.grid import WorkingGrid
from ..preprocessing.imaging import Prepared, like
from ..preprocessing.resolution import shown_on
from .packed_case import Case


def structure_on_grid(inside: sitk.Image, grid: WorkingGrid) -> np.ndarray:
    """Return the part of each grid voxel that a binary image fills, by area averaging, in [0, 1]."""
    return np.clip(shown_on(grid, sitk.Cast(inside, sitk.sitkFloat32), 0.0), 0, 1)


def nested_truth(labels: sitk.Image, manifest: Manifest, grid: WorkingGrid) -> np.ndarray:
    """Return one channel per structure of the manifest (R, z, y, x) from a label map with its codes."""
    array = sitk.GetArrayViewFromImage(labels)
    parts = []
    for structure in manifest.structures:
        inside = like(np.isin(array, structure.labels).astype(np.uint8), labels)
        parts.append(structure_on_grid(inside, grid))
    return np.stack(parts)


def make_case(name: str, prepared: Prepared, truth: np.ndarray) -> Case:
    """Join what `imaging.prepare` returned with the truth on its grid."""
    return Case(name, prepared.channels, truth, prepared.mask, prepared.grid)
