"""Where the patient is: the body in a CT, the brain in a skull-stripped MR image."""

import math

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..hounsfield import BODY_THRESHOLD, FAT, HIGHEST_HU, SOFT_TISSUE

MINIMUM_BODY_ML = 1000.0
"""A body cut smaller than this shows no pelvis."""

SHORTEST_SCAN = 30.0
"""mm: what a shorter scan shows of a slim body, 330 cm² in section, is less than MINIMUM_BODY_ML."""

BRAIN_ML = (400.0, 2600.0)
"""Plausible volumes of a brain with its ventricles; adults have 1000–1700 ml."""

FAINT = 1e-3
"""Part of the brightest intensity below which a difference from the background is interpolation noise."""


LEAST_FAT = 0.05
"""Voxels of a CT between THIN_AIR and FAT (fat, skin, lung), as a part of the denser ones. 0.6 to 1.4 in 23 scans and
slices, 0.16 in the middle of one; in those stored as HU + 1024 up to 0.02, and 0.04 with noise of 50 HU."""

BONE, MOST_BONE = 500.0, 0.1
"""HU of dense bone, and its part of the voxels from FAT on that no body has: up to 0.09 in those scans, and as HU +
1024, where tissue and fat are among them, 0.18 to 0.64."""

THIN_AIR = -900.0
"""HU that padding and air stay below, the latter but for noise."""


def check_hounsfield(image: sitk.Image) -> None:
    """Raise InputError if `image` cannot be CT in Hounsfield units.

    It has neither air nor fat then; or next to no fat and too much bone, though padding or a few voxels are low; or
    values that do not fit into 16 bits with a sign. These hold every CT, metal on the extended scale (30710 HU)
    included; padding that was read without its sign, and what a damaged compressed slice is decoded to, lie beyond.
    """
    extremes = sitk.MinimumMaximumImageFilter()
    extremes.Execute(image)
    lowest, highest = extremes.GetMinimum(), extremes.GetMaximum()
    if lowest > FAT or highest < 0:
        raise InputError(
            f"The image is not CT in Hounsfield units (its values go from {lowest:g} to {highest:g}); choose the CT, "
            "with its rescale intercept applied."
        )
    if highest > HIGHEST_HU or lowest < -HIGHEST_HU - 1:
        raise InputError(
            f"The CT has values outside the Hounsfield range (from {lowest:g} to {highest:g}), for example from "
            "padding or a damaged slice; set them to air (-1000 HU), in Slicer with the module Simple Filters, or "
            "export the CT again."
        )
    values = sitk.GetArrayViewFromImage(image)
    tissue = np.count_nonzero(values >= FAT)
    fat, bone = np.count_nonzero((values > THIN_AIR) & (values < FAT)), np.count_nonzero(values > BONE)
    if fat < LEAST_FAT * tissue and bone > MOST_BONE * tissue:
        raise InputError(
            f"The image is not CT in Hounsfield units ({bone / tissue:.0%} would be dense bone, and next to none "
            "fat); choose the CT, with its rescale intercept applied."
        )


def body_mask(hounsfield: np.ndarray, spacing: float, shortest: float = math.inf) -> np.ndarray:
    """Return the body (z, y, x): the largest thing denser than air after cutting thin bridges to the couch.

    `hounsfield` lies on an isotropic grid of `spacing` mm, `shortest` is the scan's shortest side in mm. Raises
    InputError if there is no body.
    """
    dense = hounsfield > BODY_THRESHOLD
    soft = (hounsfield > SOFT_TISSUE[0]) & (hounsfield < SOFT_TISSUE[1])
    if dense.all():
        opened = dense
    else:
        binary = sitk.GetImageFromArray(dense.astype(np.uint8))
        opened = sitk.GetArrayFromImage(sitk.BinaryMorphologicalOpening(binary, [1] * 3))
    components = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(opened.astype(np.uint8))))
    body = sitk.GetArrayFromImage(components) == 1
    if body.sum() * spacing**3 / 1000 < MINIMUM_BODY_ML or (soft & body).sum() < 0.3 * body.sum():
        if shortest < SHORTEST_SCAN:
            raise InputError(
                f"The CT is too short to show a body ({shortest:.0f} mm along its shortest side); choose a CT of the "
                "whole pelvis."
            )
        raise InputError("No body was found in the CT; choose a CT of the pelvis in Hounsfield units.")
    return body


def brain_mask(image: sitk.Image, title: str) -> np.ndarray:
    """Return the brain of a skull-stripped image (z, y, x): all that differs from the constant around it.

    Raises InputError if the surroundings are not constant, or if what is left is no brain.
    """
    array = sitk.GetArrayViewFromImage(image)
    faces = np.concatenate([array[i].ravel() for i in (0, -1)] + [array[:, i].ravel() for i in (0, -1)]
                           + [array[:, :, i].ravel() for i in (0, -1)])
    values, counts = np.unique(faces, return_counts=True)
    background = values[counts.argmax()]
    contrast = np.percentile(np.abs(array - background), 99.5)
    inside = np.abs(array - background) > FAINT * contrast
    volume = inside.sum() * np.prod(image.GetSpacing()) / 1000
    # More than a brain is a head whose surroundings the scanner set to one value.
    if counts.max() < 0.5 * faces.size or inside.mean() > 0.9 or volume > BRAIN_ML[1]:
        raise InputError(
            f"{title} still shows the skull, or is not a brain MRI; remove the skull first (for example with the "
            "extension HDBrainExtraction) and use images that are 0 outside the brain."
        )
    if volume < BRAIN_ML[0]:
        raise InputError(
            f"{title} shows {volume:.0f} ml of tissue, which is not a whole brain; choose a skull-stripped MRI of the "
            "whole brain."
        )
    return inside
