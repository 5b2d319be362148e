"""From images to the network's working grid, and back. SimpleITK throughout; positions in mm, LPS.

The working grid (grid.py) is cropped to the patient and a margin.
Arrays are (depth, height, width) = (z towards the head, y towards the back, x towards the left).
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .foreground import body_mask, brain_mask, check_hounsfield
from .grid import Grid
from .manifest import Manifest
from .normalisation import normalise_channels, z_score

FWHM_TO_SIGMA = 1 / (2 * np.sqrt(2 * np.log(2)))
"""σ of a Gaussian from its full width at half maximum."""

CT_OUTSIDE = -1000.0
"""HU of air, given to everything outside the scan; scanners' padding (−1024, −2000, −3024) is raised to it."""

CT_CEILING = 3000.0
"""HU above which metal says nothing more."""

MINIMUM_OVERLAP = 0.5
"""Part of the patient in the reference image that every other image must cover."""


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


def like(array: np.ndarray, image: sitk.Image) -> sitk.Image:
    """Wrap an array (z, y, x) as an image in the geometry of `image`."""
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result


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
