"""The pelvic data on the grid of the packs, blurred as the engine blurs a patient's scan."""

from repository import REPOSITORY

import numpy as np
import SimpleITK as sitk

from afnet.preprocessing.grid import WorkingGrid
from afnet.preprocessing.resolution import shown_on

DATA = REPOSITORY.parent / "shared" / "data" / "pelvis"


def shown(image: sitk.Image, grid: WorkingGrid, outside: float = 0.0) -> np.ndarray:
    """float32 values of `image` on `grid`, blurred as the engine blurs a patient's scan."""
    return shown_on(grid, sitk.Cast(image, sitk.sitkFloat32), outside)


def resample_labels(image: sitk.Image, grid: WorkingGrid) -> np.ndarray:
    """uint8 label map on `grid`: each code resampled by itself, the largest share wins, background too."""
    boxes = sitk.LabelShapeStatisticsImageFilter()
    boxes.Execute(image)
    shape = grid.size[::-1]
    best, labels, total = np.zeros(shape, np.float32), np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    for code in boxes.GetLabels():
        box = np.array(boxes.GetBoundingBox(code)).reshape(2, 3)  # one code's box alone: much less to blur
        low = np.maximum(box[0] - 6, 0)
        high = np.minimum(box[0] + box[1] + 6, image.GetSize())
        part = sitk.RegionOfInterest(image, [int(n) for n in high - low], [int(n) for n in low])
        share = shown(part == code, grid)
        total += share
        labels[share > best] = code
        best = np.maximum(best, share)
    labels[1.0 - total > best] = 0
    return labels
