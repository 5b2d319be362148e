"""From images to the network's working grid. SimpleITK throughout; positions in mm, LPS.

The working grid (grid.py) is cropped to the patient and a margin.
Arrays are (depth, height, width) = (z towards the head, y towards the back, x towards the left).
"""

import itertools
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..hounsfield import AIR
from ..images.geometry import corner_points, same_grid, side_lengths
from ..models.manifest import Manifest
from .exchanged_inputs import exchanged
from .foreground import body_mask, brain_mask, check_hounsfield
from .grid import WorkingGrid
from .normalisation import normalise_channels, z_score
from .resolution import shown_on

CT_CEILING = 3000.0
"""HU above which metal says nothing more."""

THICK_SLICES = 9.9
"""mm: from here the user is told. With 10 mm the Dice of a bladder was 0.88."""

SAME_IMAGE = 0.9999
"""Correlation above which two images are one (at most 0.79 in 23 patients of BraTS 2021)."""

MINIMUM_OVERLAP = 0.5
"""Part of the patient in the reference image that every other image must cover."""

REGISTERED_DICE = 0.95
"""Dice of two images' brains below which the user is told. Of 23 patients of BraTS 2021 it was 0.999 or more within
each, 0.962 to 0.970 where one of the brains was stripped 1 mm wider or tighter all round (2 mm: 0.93 to 0.947), and at
most 0.944 between two patients (253 pairs); 0.8 to 0.94 in images of one head that were not registered.
"""


@dataclass(frozen=True)
class Prepared:
    """What the network sees: `channels` (C, z, y, x) float32 on `grid`, and the patient's `mask` there.

    `notes`: what was done to the images; `doubts`: what the user should check of them.
    """

    channels: np.ndarray
    mask: np.ndarray
    grid: WorkingGrid
    notes: tuple[str, ...]
    doubts: tuple[str, ...] = ()


def lattice_around(image: sitk.Image, spacing: float, margin: float) -> WorkingGrid:
    """Return the grid of the world lattice that covers every voxel centre of `image` and `margin` mm more."""
    corners = corner_points(image)
    # Rounding keeps a corner that lies on the lattice there, whatever the last bit of the header says.
    first = np.floor(np.round((corners.min(axis=0) - margin) / spacing, 6)).astype(int)
    last = np.ceil(np.round((corners.max(axis=0) + margin) / spacing, 6)).astype(int)
    return WorkingGrid(tuple(map(int, first)), tuple(map(int, last - first + 1)), spacing)


@dataclass(frozen=True)
class Scaled:
    """A study's images on their own grids, in units that the network knows: σ within the brain for MR, HU for CT.

    `masks` (0 or 1) say where each MR image shows the patient; a CT's patient is found on the working grid.
    """

    images: dict[str, sitk.Image]
    masks: dict[str, sitk.Image]
    notes: tuple[str, ...]


def prepare(images: dict[str, sitk.Image], manifest: Manifest) -> Prepared:
    """Bring the images of one study to the model's working grid and normalise them.

    `images` maps every input's name to an image in any orientation and spacing. Raises InputError if they do
    not show what the model needs: no patient, no overlap, not Hounsfield units, a head that is not stripped.
    """
    return on_working_grid(scale(images, manifest), manifest)


def scale(images: dict[str, sitk.Image], manifest: Manifest) -> Scaled:
    """Do what `prepare` does before the working grid, once for models that compute on two. Raises as it does."""
    if manifest.inputs[0].modality == "CT":
        image = images[manifest.reference]
        check_hounsfield(image)
        hounsfield = sitk.Clamp(image, sitk.sitkFloat32, AIR, CT_CEILING)
        return Scaled({manifest.reference: hounsfield}, {}, tuple(_thick_slices(images, manifest)))
    scaled, masks = {}, {}
    for item in manifest.inputs:
        image = sitk.Cast(images[item.name], sitk.sitkFloat32)
        inside = brain_mask(image, item.title)
        masks[item.name] = like(inside.astype(np.float32), image)
        try:
            scaled[item.name] = like(z_score(sitk.GetArrayViewFromImage(image), inside), image)
        except ValueError:
            raise InputError(
                f"{item.title} has the same value everywhere in the brain; choose the scan."
            ) from None
    _refuse_copies(scaled, manifest)
    return Scaled(scaled, masks, tuple(_grid_notes(images, manifest) + _thick_slices(images, manifest)))


def _refuse_copies(scaled: dict[str, sitk.Image], manifest: Manifest) -> None:
    """Raise InputError where two inputs are one image, whatever its unit: one of them was given for the other."""
    for one, other in itertools.combinations(manifest.inputs, 2):
        a, b = (sitk.GetArrayViewFromImage(scaled[item.name]).ravel() for item in (one, other))
        if a.size == b.size and abs(a @ b) > SAME_IMAGE * np.sqrt((a @ a) * (b @ b)):
            raise InputError(f"{one.title} and {other.title} hold the same image; give each input its own.")


def on_working_grid(scaled: Scaled, manifest: Manifest) -> Prepared:
    """Do what `prepare` does on the grid of `manifest`. Raises InputError where two images do not overlap."""
    grid = lattice_around(scaled.images[manifest.reference], manifest.spacing, manifest.margin)
    doubts: list[str] = []
    if scaled.masks:
        mask, doubts = _brain(scaled.masks, manifest, grid)
        grid, cut = grid.crop(mask, manifest.margin)
        resampled = {name: shown_on(grid, image, 0.0) for name, image in scaled.images.items()}
    else:
        image = scaled.images[manifest.reference]
        hounsfield = shown_on(grid, image, AIR)
        mask = body_mask(hounsfield, grid.spacing, min(side_lengths(image)))
        grid, cut = grid.crop(mask, manifest.margin)
        resampled = {manifest.reference: hounsfield[cut]}
    channels, patient = normalise_channels(resampled, manifest), mask[cut]
    if not doubts:  # correlations of images that are not registered say nothing
        doubts += filter(None, [exchanged(channels, patient, manifest)])
    return Prepared(channels, patient, grid, scaled.notes, tuple(doubts))


def _brain(masks: dict[str, sitk.Image], manifest: Manifest, grid: WorkingGrid) -> tuple[np.ndarray, list[str]]:
    """Where any image shows the brain (z, y, x), and a note on each that shows it elsewhere than the reference.

    Each must show most of what the reference shows.
    """
    inside = {name: grid.resample(mask, 0.0) >= 0.5 for name, mask in masks.items()}
    reference = inside[manifest.reference]
    title, notes = manifest.input(manifest.reference).title, []
    for item in manifest.inputs:
        common = (inside[item.name] & reference).sum()
        if common < MINIMUM_OVERLAP * reference.sum():
            raise InputError(
                f"{item.title} and {title} do not show the same place; register {item.title} to {title} first."
            )
        if 2 * common < REGISTERED_DICE * (inside[item.name].sum() + reference.sum()):
            notes.append(
                f"{item.title} and {title} show the brain in different places; check that they are registered "
                "and of one patient."
            )
    return np.logical_or.reduce(list(inside.values())), notes


def like(array: np.ndarray, image: sitk.Image) -> sitk.Image:
    """Wrap an array (z, y, x) as an image in the geometry of `image`."""
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result


def extent_of(image: sitk.Image) -> sitk.Image:
    """Return 1 in every voxel of `image` (uint8): resampled, it says which places lie in it."""
    ones = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    ones.CopyInformation(image)
    return ones


def _thick_slices(images: dict[str, sitk.Image], manifest: Manifest) -> list[str]:
    spacing = max(images[manifest.reference].GetSpacing())
    return [] if spacing < THICK_SLICES else [
        f"{manifest.input(manifest.reference).title} has slices {spacing:.3g} mm apart, so the contours are coarse; "
        "use a finer series if there is one."
    ]


def _grid_notes(images: dict[str, sitk.Image], manifest: Manifest) -> list[str]:
    reference = images[manifest.reference]
    title = manifest.input(manifest.reference).title
    return [
        f"{item.title} is on a different grid from {title} and was resampled by its position."
        for item in manifest.inputs
        if not same_grid(images[item.name], reference)
    ]
