"""The working grid: where the network's voxels lie. Positions in mm, LPS. (Slicer's side has RAS: grids.py.)

It is axis aligned with the patient (LPS), isotropic, and its voxel centres lie at integer multiples of the model's
spacing: a lattice fixed in the world, so that flipping the array, turning its axes or adding air around the patient
changes nothing. Arrays are (depth, height, width) = (z towards the head, y towards the back, x towards the left).

SimpleITK is imported only where an image is made or sampled: packed cases (packed_case.py) train without it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True)
class WorkingGrid:
    """A box of the lattice, in the patient's LPS: `first` lattice index and `size` along x, y, z; `spacing` in mm."""

    first: tuple[int, int, int]
    size: tuple[int, int, int]
    spacing: float

    @property
    def origin(self) -> tuple[float, float, float]:
        """Centre of the first voxel in mm, LPS."""
        return tuple(index * self.spacing for index in self.first)

    def image(self, array: np.ndarray) -> "sitk.Image":
        """Wrap an array (z, y, x) as an image on this grid."""
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(array)
        image.SetSpacing((self.spacing,) * 3)
        image.SetOrigin(self.origin)
        return image

    def resample(self, image: "sitk.Image", outside: float, interpolator: int | None = None) -> np.ndarray:
        """Sample `image` at the voxel centres of this grid, linearly unless told; `outside` beyond its extent."""
        import SimpleITK as sitk

        return sitk.GetArrayFromImage(
            sitk.Resample(
                image, self.size, sitk.Transform(), interpolator or sitk.sitkLinear, self.origin, (self.spacing,) * 3,
                (1, 0, 0, 0, 1, 0, 0, 0, 1), outside, sitk.sitkFloat32,
            )
        )

    def index_ranges(self, image: "sitk.Image", spare: int = 0) -> list[tuple[int, int]]:
        """First index and end along each axis of `image` (x, y, z) that hold this whole grid and `spare` voxels more,
        as far as the image goes."""
        corners = []
        for ends in np.ndindex(2, 2, 2):
            point = [(first + end * (n - 1)) * self.spacing for first, end, n in zip(self.first, ends, self.size)]
            corners.append(image.TransformPhysicalPointToContinuousIndex(point))
        low = np.floor(np.min(corners, axis=0)).astype(int) - 1 - spare
        high = np.ceil(np.max(corners, axis=0)).astype(int) + 2 + spare
        return [(max(int(a), 0), min(int(b), n)) for a, b, n in zip(low, high, image.GetSize())]

    def crop(self, mask: np.ndarray, margin: float) -> tuple["WorkingGrid", tuple[slice, slice, slice]]:
        """Return the grid around `mask` (z, y, x) with `margin` mm, and the slices that cut it from this grid."""
        border = int(np.ceil(margin / self.spacing))
        slices = [
            slice(max(side.start - border, 0), min(side.stop + border, size))
            for side, size in zip(bounding_box(mask), mask.shape)
        ]
        first = tuple(int(self.first[i] + slices[2 - i].start) for i in range(3))
        size = tuple(int(slices[2 - i].stop - slices[2 - i].start) for i in range(3))
        return WorkingGrid(first, size, self.spacing), tuple(slices)


def bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """Return the slices of the smallest box that holds `mask`, one an axis; None if the mask is empty."""
    box = []
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not filled.size:
            return None
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)
