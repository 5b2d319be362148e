"""From a folder of DICOM files, in any order and under any names, to one image.

GDCM reads the headers and the voxels. What it does not judge is judged here: whether the stack of slices is complete,
evenly spaced and at right angles to its slices, and what its values mean. Positions in LPS, mm (DICOM PS3.3
C.7.6.2.1.1: image position, image orientation, pixel spacing).

Sentences name no tag's content but the modality, and no file, for these carry names of patients.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, is_out_of_memory
from ..hounsfield import AIR, BODY_THRESHOLD, DENSEST_BONE
from .dicom_header import MODALITIES, SEX, Slice
from .dicom_stack import ORIENTATION_TOLERANCE, ROUNDING, SPACING_TOLERANCE, count, only_stack, read_headers
from .native_stderr import native_stderr_closed
from .refusals import without_room

POSITION_TOLERANCE = 0.01
"""Distance in mm along the normal under which two slices lie at the same position."""

TILT_TOLERANCE = 1e-3
"""Largest shift of slices within their plane, in mm per mm along the normal (0.5 mm over 500 mm)."""


def read_dicom_folder(
    folder: Path, what: str, expected: str = "", tell: Callable[[str], object] = lambda text: None
) -> sitk.Image:
    """Read the one stack of slices in `folder` and below it; values are rescaled (HU for CT, in which padding is air).

    Slices are sorted along the normal of their plane, so the direction is right-handed. `what` is the subject of
    error sentences, `expected` the modality that the series must be of if it names one. `tell` is given a
    sentence if localizers are left out. The patient's sex, if stated, is the image's metadata SEX ('M', 'F', 'O').

    Raises RequestError (no DICOM, several series), InputError (damaged, missing, repeated, uneven or tilted slices,
    some without a place, links that lead nowhere, a multi-frame file, inverted values, another modality, values of
    unknown scale), OSError.
    """
    with native_stderr_closed():
        found = read_headers(folder, what)
    stack = only_stack(found, what, tell)
    _check_kind(stack, expected, what)
    _check_values(stack, what)
    ct = "CT" in (expected, stack[0].modality)
    if ct:
        _check_rescale(stack, what)
    direction, spacing, ordered = _check_stack(stack, what)
    image = _read_slices(ordered, what)
    image.SetOrigin(ordered[0].position)
    image.SetSpacing(spacing)
    image.SetDirection(direction.ravel().tolist())
    image = _narrow(_with_air(image, ordered) if ct else image)
    if len(sexes := {item.sex for item in ordered} - {""}) == 1:
        image.SetMetaData(SEX, sexes.pop())
    return image


def _check_values(stack: list[Slice], what: str) -> None:
    """Refuse slices whose stored values are not to be understood."""
    unscaled = sum(item.unscaled for item in stack)
    if unscaled:
        raise InputError(
            f"{what} has {unscaled} of {len(stack)} slices whose rescale slope or intercept is not a number or is "
            "given as a table (Modality LUT), so their values are unknown; export the series again."
        )
    if any(item.shifted for item in stack):
        raise InputError(
            f"{what} stores its values in the upper bits of its pixels (High Bit), which is not read here; export the "
            "series again."
        )


def _read_slices(ordered: list[Slice], what: str) -> sitk.Image:
    """Read the voxels; the geometry is not the image's yet."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(item.file) for item in ordered])
    pixels = {item.pixel for item in ordered}
    if len(pixels) > 1:  # else the first slice's type would clip or round the others
        reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        with native_stderr_closed():
            return reader.Execute()
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise without_room(what) from None
        raise InputError(
            f"{what} has DICOM slices that cannot be decoded; export the series again uncompressed."
        ) from None


def _with_air(image: sitk.Image, ordered: list[Slice]) -> sitk.Image:
    """Turn into air what the files call padding: stored without a sign it would be brighter than any metal. A value
    that tissue has is not padding, whatever a file says: some writers put a 0 there."""
    padding = [item.padding if item.padding and not _is_tissue(item.padding) else None for item in ordered]
    values = sitk.GetArrayViewFromImage(image)
    if values.dtype.kind == "u":  # without a sign, nothing is air
        return image
    padded = [k for k, ends in enumerate(padding) if ends and _between(values[k], ends).any()]
    for k in padded:
        plane = sitk.GetArrayFromImage(image[:, :, k])
        plane[_between(plane, padding[k])] = AIR
        image[:, :, k] = sitk.GetImageFromArray(plane)
    return image


def _is_tissue(ends: tuple[float, float]) -> bool:
    low, high = ends
    return high >= BODY_THRESHOLD and low <= DENSEST_BONE


def _between(plane: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    return (plane >= ends[0]) & (plane <= ends[1])


def _narrow(image: sitk.Image) -> sitk.Image:
    """GDCM widens to 32 bits for the rescale; go back to int16 where all values fit, which is any CT."""
    if image.GetPixelID() == sitk.sitkInt32:
        values = sitk.GetArrayViewFromImage(image)
        if values.min() >= -(2**15) and values.max() < 2**15:
            return sitk.Cast(image, sitk.sitkInt16)
    return image


def _check_kind(stack: list[Slice], expected: str, what: str) -> None:
    modality = stack[0].modality
    if expected and modality in MODALITIES - {"OT"} and modality != expected:
        raise InputError(f"{what} is a series of the modality {modality}, not {expected}; give the {expected}.")
    if any(item.inverted for item in stack):
        raise InputError(
            f"{what} is stored with inverted grey values (MONOCHROME1), which is not supported; export it as "
            "MONOCHROME2."
        )


def _check_rescale(stack: list[Slice], what: str) -> None:
    """Refuse slices without the rescale of the others: they would be 1024 HU apart. Values may differ."""
    wanted = tuple(any(there) for there in zip(*(item.rescale for item in stack), strict=True))
    without = sum(item.rescale != wanted for item in stack)
    if without:
        raise InputError(
            f"{what} has {without} of {len(stack)} slices without the rescale slope or intercept of the others, so "
            "their Hounsfield units are unknown; export the series again."
        )


def _check_stack(stack: list[Slice], what: str) -> tuple[np.ndarray, tuple[float, ...], list[Slice]]:
    """Return direction (3×3, columns are the axes), spacing in mm and the slices in order along the normal."""
    if len(stack) == 1:
        raise InputError(f"{what} has only one slice; give the folder that holds the whole series.")
    row, column = np.array(stack[0].axes[:3]), np.array(stack[0].axes[3:])
    if abs(row @ column) > ORIENTATION_TOLERANCE or min(np.linalg.norm(row), np.linalg.norm(column)) < 0.5:
        raise InputError(f"{what} has DICOM slices with an invalid orientation; export the series again.")
    row /= np.linalg.norm(row)
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    column = np.cross(normal, row)
    positions = np.array([item.position for item in stack])
    order = np.argsort(positions @ normal, kind="stable")
    positions, ordered = positions[order], [stack[index] for index in order]
    _check_positions(positions, normal, what)
    heights = positions @ normal
    step = (heights[-1] - heights[0]) / (len(heights) - 1)
    along_columns, along_rows = stack[0].spacing  # PS3.3 10.7.1.3: first between rows, then between columns
    return np.stack([row, column, normal], axis=1), (along_rows, along_columns, float(step)), ordered


def _check_positions(positions: np.ndarray, normal: np.ndarray, what: str) -> None:
    """Refuse repeated, missing, uneven or shifted slices; `positions` (slices × 3, mm) ascend along `normal`."""
    heights = positions @ normal
    steps = np.diff(heights)
    repeated = int(np.count_nonzero(steps < POSITION_TOLERANCE))
    if repeated:
        raise InputError(
            f"{what} has several slices at the same position ({repeated} of {len(heights)}), for example because "
            "phases, echoes or copies are mixed; export one of them alone."
        )
    step = float(np.median(steps))
    tolerance = max(SPACING_TOLERANCE * step, ROUNDING)
    multiples = np.rint(steps / step)
    if np.abs(steps - multiples * step).max() <= tolerance and multiples.min() >= 1 and multiples.max() > 1:
        raise InputError(
            f"{what} lacks {count(int((multiples - 1).sum()), 'slice')}, the first after slice "
            f"{int(np.argmax(multiples > 1)) + 1} of {len(heights)}; export the series again, complete."
        )
    even = np.linspace(heights[0], heights[-1], len(heights))
    if np.abs(heights - even).max() > tolerance or np.abs(steps - step).max() > tolerance:
        raise InputError(
            f"{what} has uneven distances between slices ({steps.min():.2f} to {steps.max():.2f} mm); load "
            "it in Slicer, harden the transform of the DICOM import and save the volume as NRRD."
        )
    shifts = positions - positions[0] - np.outer(heights - heights[0], normal)
    shift = float(np.linalg.norm(shifts, axis=1).max())
    if shift > max(TILT_TOLERANCE * (heights[-1] - heights[0]), ROUNDING):
        raise InputError(
            f"{what} has slices shifted against each other by up to {shift:.1f} mm, as from a tilted gantry;"
            " load it in Slicer, harden the transform of the DICOM import and save the volume as NRRD."
        )
