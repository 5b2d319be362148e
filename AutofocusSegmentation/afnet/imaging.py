"""From images to the network's working grid, and back. SimpleITK throughout; positions in mm, LPS.

The working grid is axis aligned with the patient (LPS), isotropic, and its voxel centres lie at integer
multiples of the model's spacing: a lattice fixed in the world, so that flipping the array, turning its
axes or adding air around the patient changes nothing. It is cropped to the patient and a margin.
Arrays are (depth, height, width) = (z towards the head, y towards the back, x towards the left).
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .foreground import body_mask, brain_mask, check_hounsfield
from .manifest import Manifest

FWHM_TO_SIGMA = 1 / (2 * np.sqrt(2 * np.log(2)))
"""σ of a Gaussian from its full width at half maximum."""

CT_OUTSIDE = -1000.0
"""HU of air, given to everything outside the scan; scanners' padding (−1024, −2000, −3024) is raised to it."""

CT_CEILING = 3000.0
"""HU above which metal says nothing more."""

MINIMUM_OVERLAP = 0.5
"""Part of the patient in the reference image that every other image must cover."""


@dataclass(frozen=True)
class Grid:
    """The working grid: `first` lattice index and `size` along x, y, z; `spacing` in mm."""

    first: tuple[int, int, int]
    size: tuple[int, int, int]
    spacing: float

    @property
    def origin(self) -> tuple[float, float, float]:
        """Centre of the first voxel in mm, LPS."""
        return tuple(index * self.spacing for index in self.first)

    def image(self, array: np.ndarray) -> sitk.Image:
        """Wrap an array (z, y, x) as an image on this grid."""
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((self.spacing,) * 3)
        image.SetOrigin(self.origin)
        return image

    def resample(self, image: sitk.Image, outside: float, interpolator=sitk.sitkLinear) -> np.ndarray:
        """Sample `image` at the voxel centres of this grid; `outside` beyond its extent."""
        return sitk.GetArrayFromImage(
            sitk.Resample(
                image, self.size, sitk.Transform(), interpolator, self.origin, (self.spacing,) * 3,
                (1, 0, 0, 0, 1, 0, 0, 0, 1), outside, sitk.sitkFloat32,
            )
        )

    def crop(self, mask: np.ndarray, margin: float) -> tuple["Grid", tuple[slice, slice, slice]]:
        """Return the grid around `mask` (z, y, x) with `margin` mm, and the slices that cut it from this grid."""
        border = int(np.ceil(margin / self.spacing))
        slices = [
            slice(max(side.start - border, 0), min(side.stop + border, size))
            for side, size in zip(bounding_box(mask), mask.shape)
        ]
        first = tuple(int(self.first[i] + slices[2 - i].start) for i in range(3))
        size = tuple(int(slices[2 - i].stop - slices[2 - i].start) for i in range(3))
        return Grid(first, size, self.spacing), tuple(slices)


@dataclass(frozen=True)
class Prepared:
    """What the network sees: `channels` (C, z, y, x) float32 on `grid`, and the patient's `mask` there."""

    channels: np.ndarray
    mask: np.ndarray
    grid: Grid
    notes: tuple[str, ...]


def lattice_around(image: sitk.Image, spacing: float, margin: float) -> Grid:
    """Return the grid of the world lattice that covers every voxel centre of `image` and `margin` mm more."""
    corners = np.array([
        image.TransformContinuousIndexToPhysicalPoint([end * (n - 1) for end, n in zip(ends, image.GetSize())])
        for ends in np.ndindex(2, 2, 2)
    ])
    # Rounding keeps a corner that lies on the lattice there, whatever the last bit of the header says.
    first = np.floor(np.round((corners.min(axis=0) - margin) / spacing, 6)).astype(int)
    last = np.ceil(np.round((corners.max(axis=0) + margin) / spacing, 6)).astype(int)
    return Grid(tuple(map(int, first)), tuple(map(int, last - first + 1)), spacing)


def smooth_for(image: sitk.Image, spacing: float) -> sitk.Image:
    """Blur `image` along the axes that are finer than `spacing` mm, so that resampling does not alias.

    σ² = (spacing² − native²) / (2√(2 ln 2))², the point spread that turns one resolution into the other
    (Cardoso et al., Scale factor point spread function matching, MICCAI 2015).
    """
    variances = [max(spacing**2 - native**2, 0.0) * FWHM_TO_SIGMA**2 for native in image.GetSpacing()]
    if not any(variances):
        return image
    return sitk.DiscreteGaussian(image, variances, 32, 0.01, True)


def prepare(images: dict[str, sitk.Image], manifest: Manifest) -> Prepared:
    """Bring the images of one study to the model's working grid and normalise them.

    `images` maps every input's name to an image in any orientation and spacing. Raises InputError if they do
    not show what the model needs: no patient, no overlap, not Hounsfield units, a head that is not stripped.
    """
    if manifest.inputs[0].modality == "CT":
        resampled, mask, grid = _prepare_ct(images[manifest.reference], manifest)
        notes = []
    else:
        resampled, mask, grid = _prepare_mr(images, manifest)
        notes = _grid_notes(images, manifest)
    grid, cut = grid.crop(mask, manifest.margin)
    channels = normalise_channels({name: array[cut] for name, array in resampled.items()}, manifest)
    return Prepared(channels, mask[cut], grid, tuple(notes))


def _prepare_ct(image: sitk.Image, manifest: Manifest):
    check_hounsfield(image)
    hounsfield = sitk.Clamp(sitk.Cast(image, sitk.sitkFloat32), sitk.sitkFloat32, CT_OUTSIDE, CT_CEILING)
    grid = lattice_around(image, manifest.spacing, manifest.margin)
    array = grid.resample(smooth_for(hounsfield, manifest.spacing), CT_OUTSIDE)
    return {manifest.reference: array}, body_mask(array, manifest.spacing), grid


def _prepare_mr(images: dict[str, sitk.Image], manifest: Manifest):
    grid = lattice_around(images[manifest.reference], manifest.spacing, manifest.margin)
    resampled, masks = {}, {}
    for item in manifest.inputs:
        image = sitk.Cast(images[item.name], sitk.sitkFloat32)
        inside = brain_mask(image, item.title)
        masks[item.name] = grid.resample(like(inside.astype(np.float32), image), 0.0) >= 0.5
        normalised = like(z_score(sitk.GetArrayViewFromImage(image), inside), image)
        resampled[item.name] = grid.resample(smooth_for(normalised, manifest.spacing), 0.0)
    reference = masks[manifest.reference]
    for item in manifest.inputs:
        if (masks[item.name] & reference).sum() < MINIMUM_OVERLAP * reference.sum():
            title = manifest.input(manifest.reference).title
            raise InputError(
                f"{item.title} and {title} do not show the same place; register {item.title} to {title} first."
            )
    return resampled, np.logical_or.reduce(list(masks.values())), grid


def bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """Return the slices of the smallest box that holds `mask`, one an axis; None if the mask is empty."""
    box = []
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not filled.size:
            return None
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


def like(array: np.ndarray, image: sitk.Image) -> sitk.Image:
    """Wrap an array (z, y, x) as an image in the geometry of `image`."""
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result


def z_score(array: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return zero mean and unit variance inside the mask, and exactly 0 outside, as the paper normalises brains."""
    values = array[inside].astype(np.float64)
    result = np.zeros(array.shape, np.float32)
    result[inside] = (values - values.mean()) / max(values.std(), 1e-12)
    return result


def normalise_channels(arrays: dict[str, np.ndarray], manifest: Manifest) -> np.ndarray:
    """Return the network's channels (C, z, y, x) from the inputs on the working grid: z-scores, or HU for CT.

    Outside (air, or the background of a stripped head) becomes exactly 0, the value that convolutions pad with.
    """
    channels = []
    for item in manifest.raw["channels"]:
        array = arrays[item["input"]]
        if item["normalisation"] == "z-score":
            limit = item.get("clip", np.inf)
            channels.append(np.clip(array, -limit, limit))
        else:
            low, high = item["window_hu"]
            channels.append((np.clip(array, low, high) - np.float32(low)) / np.float32(high - low))
    return np.stack(channels)


def _grid_notes(images: dict[str, sitk.Image], manifest: Manifest) -> list[str]:
    reference = images[manifest.reference]
    title = manifest.input(manifest.reference).title
    return [
        f"{item.title} lies on another grid than {title} and was resampled by its position."
        for item in manifest.inputs
        if not same_grid(images[item.name], reference)
    ]


def same_grid(a: sitk.Image, b: sitk.Image, tolerance: float = 1e-3) -> bool:
    """True where both images have the same size and their corners agree within `tolerance` mm."""
    if a.GetSize() != b.GetSize():
        return False
    return all(
        np.allclose(
            a.TransformContinuousIndexToPhysicalPoint(corner), b.TransformContinuousIndexToPhysicalPoint(corner),
            rtol=0, atol=tolerance,
        )
        for corner in ([0.0, 0.0, 0.0], [float(n - 1) for n in a.GetSize()], [float(a.GetSize()[0] - 1), 0.0, 0.0])
    )
