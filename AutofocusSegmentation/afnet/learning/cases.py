"""A training case: what inference sees of one patient, with the truth on the same working grid.

Packed by packed_case.py, which needs no SimpleITK.
"""

import numpy as np
import SimpleITK as sitk

from ..models.manifest import Manifest, Structure
from ..preprocessing.grid import WorkingGrid
from ..preprocessing.imaging import Prepared, like
from ..preprocessing.resolution import shown_on
from .packed_case import Case


def structure_on_grid(inside: sitk.Image, grid: WorkingGrid) -> np.ndarray:
    """Return the part of each grid voxel that a binary image fills, by area averaging, in [0, 1]."""
    return np.clip(shown_on(grid, sitk.Cast(inside, sitk.sitkFloat32), 0.0), 0, 1)


def truth_on_grid(
    masks: dict[str, np.ndarray], structures: tuple[Structure, ...], image: sitk.Image, grid: WorkingGrid
) -> np.ndarray:
    """Return the part of each grid voxel that is in each structure (S, z, y, x); `masks`, by its id, lie on the grid of
    `image`, and a structure without one is 0 everywhere."""
    empty = np.zeros(grid.size[::-1], np.float32)
    return np.stack([
        structure_on_grid(like(masks[item.id].astype(np.uint8), image), grid) if item.id in masks else empty
        for item in structures
    ])


def truth_of(labels: sitk.Image, manifest: Manifest, grid: WorkingGrid) -> np.ndarray:
    """Return `truth_on_grid` of the manifest's structures, from a label map with its codes."""
    array = sitk.GetArrayViewFromImage(labels)
    masks = {structure.id: np.isin(array, structure.labels) for structure in manifest.structures}
    return truth_on_grid(masks, manifest.structures, labels, grid)


def make_case(name: str, prepared: Prepared, truth: np.ndarray) -> Case:
    """Join what `imaging.prepare` returned with the truth on its grid."""
    return Case(name, prepared.channels, truth, prepared.mask, prepared.grid)
