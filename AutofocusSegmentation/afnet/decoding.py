"""From the network's probabilities on the working grid to labels on the reference image's own grid."""

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .models.manifest import Manifest
from .preprocessing.grid import WorkingGrid, bounding_box
from .preprocessing.imaging import extent_of, like

RESTORED_SLICES = 32
"""Slices of the reference image decoded at a time, so that memory does not grow with its length."""


def restore(
    probabilities: np.ndarray, grid: WorkingGrid, reference: sitk.Image, manifest: Manifest, on_progress=None
) -> sitk.Image:
    """Interpolate probabilities (R, z, y, x) to the grid of `reference`, slab by slab, and decide there.

    Returns a uint8 label map with the codes of the manifest, in the geometry of `reference`; 0 outside the grid.
    """
    width, height, depth = reference.GetSize()
    labels = np.zeros((depth, height, width), np.uint8)
    decoding = manifest.raw["decoding"]
    outside = found_outside(manifest)
    # Nothing is known of the patient at lattice points beyond the scan. Only those inside it are interpolated, so that
    # an organ that is cut off by the end of the scan is found up to the last slice. The last image is their weight.
    known = grid.resample(extent_of(reference), 0.0, sitk.sitkNearestNeighbor)
    # Linear interpolation finds nothing between lattice points that is found at none of them: the rest stays empty.
    found = (decide(list(probabilities), decoding) > 0) & (known > 0)
    if not found.any():
        return like(labels, reference)
    images = [grid.image(channel * known) for channel in probabilities] + [grid.image(known)]
    outside.append(1.0)
    (x0, x1), (y0, y1), (z0, z1) = grid.crop(found, grid.spacing)[0].index_ranges(reference)
    for start in range(z0, z1, RESTORED_SLICES):
        stop = min(start + RESTORED_SLICES, z1)
        corner = reference.TransformContinuousIndexToPhysicalPoint([float(x0), float(y0), float(start)])
        *parts, weight = [
            sitk.GetArrayFromImage(
                sitk.Resample(
                    image, [x1 - x0, y1 - y0, stop - start], sitk.Transform(), sitk.sitkLinear, corner,
                    reference.GetSpacing(), reference.GetDirection(), absent, sitk.sitkFloat32,
                )
            )
            for image, absent in zip(images, outside)
        ]
        for part in parts:
            np.divide(part, weight, out=part, where=weight > 0)
        labels[start:stop, y0:y1, x0:x1] = np.where(weight > 0, decide(parts, decoding), 0)
        if on_progress:
            on_progress((stop - z0) / (z1 - z0))
    return like(labels, reference)


def found_outside(manifest: Manifest) -> list[float]:
    """Each output's probability where nothing was computed: background for an argmax, no region."""
    codes = manifest.output_codes
    outside = [0.0] * len(codes)
    if manifest.output_kind == "argmax":
        outside[codes.index(0)] = 1.0
    return outside


def _argmax(parts: list[np.ndarray], codes: list[int]) -> np.ndarray:
    best, labels = parts[0], np.full(parts[0].shape, codes[0], np.uint8)
    for part, code in zip(parts[1:], codes[1:]):
        higher = part > best
        best = np.maximum(part, best)
        labels[higher] = code
    return labels


def _nested(parts: list[np.ndarray], codes: list[int]) -> np.ndarray:
    """Each region lies inside the one before; the innermost region found gives the code."""
    labels = np.zeros(parts[0].shape, np.uint8)
    inside = np.ones(parts[0].shape, bool)
    for part, code in zip(parts, codes):
        inside &= part > 0.5
        labels[inside] = code
    return labels


_DECODERS = {"argmax": _argmax, "nested": _nested}


def decide(parts: list[np.ndarray], decoding: dict) -> np.ndarray:
    """Return the code of every voxel (uint8) from the outputs' probabilities, an array each, as `decoding` of the
    manifest says."""
    return _DECODERS[decoding["kind"]](parts, decoding["codes"])


def clean(labels: sitk.Image, manifest: Manifest) -> tuple[sitk.Image, list[str]]:
    """Keep the largest piece of organs that are one piece and fill their holes; drop islands below the smallest volume.

    The smallest is `minimum_ml`, and `smallest_part` of the largest island. An island is judged by its whole extent
    over all codes for nested regions, by its own code otherwise. A code whose whole volume then is below its rule's
    `below_ml` becomes the code `into`: a trace of it is more often a mistake. Islands that only `smallest_part` drops
    could be a second tumour: the second value has a sentence about them, or none.
    """
    rules, notes = manifest.raw["decoding"], []
    array = sitk.GetArrayFromImage(labels)
    voxel_ml = float(np.prod(labels.GetSpacing())) / 1000
    nested = manifest.output_kind == "nested"
    for code in [None] if nested else manifest.code_names:
        found = array > 0 if nested else array == code
        box = bounding_box(found)
        if box is None:
            continue
        part, one_piece = found[box], code in rules.get("largest_component", [])
        kept, doubtful = _islands(part, rules, voxel_ml, one_piece)
        if len(doubtful):
            notes.append(_left_out(doubtful, rules["smallest_part"]))
        array[box][part & ~kept] = 0
        if one_piece:
            array[box][_holes(kept, labels) & (array[box] == 0)] = code
    _absorb(array, rules, voxel_ml)
    return like(array, labels), notes


def _islands(part: np.ndarray, rules: dict, voxel_ml: float, one_piece: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxels of `part` (bool, not empty) that stay, of `one_piece` at most, and the ml of the islands that
    only `smallest_part` drops."""
    pieces = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(part.astype(np.uint8)), True))
    numbers = sitk.GetArrayViewFromImage(pieces)  # from 1, the largest first
    sizes = np.bincount(numbers.ravel())[1:] * voxel_ml
    sizeable = sizes[sizes >= rules.get("minimum_ml", 0.0)]
    large = int((sizeable >= rules.get("smallest_part", 0.0) * sizes[0]).sum())
    return part & (numbers <= (min(large, 1) if one_piece else large)), sizeable[large:]


def _absorb(array: np.ndarray, rules: dict, voxel_ml: float) -> None:
    """Give the codes of which hardly anything was found to those that take them in."""
    for rule in rules.get("absorbed", []):
        found = array == rule["code"]
        if found.sum() * voxel_ml < rule["below_ml"]:
            array[found] = rule["into"]


def _left_out(sizes_ml: np.ndarray, smallest_part: float) -> str:
    if len(sizes_ml) == 1:
        return (f"Removed: an island of {sizes_ml[0]:.1f} ml, less than {smallest_part:.0%} of the largest; check that "
                "it is not a second tumour.")
    return (f"Removed: {len(sizes_ml)} islands of up to {sizes_ml.max():.1f} ml, each less than {smallest_part:.0%} of "
            "the largest; check that none of them is a second tumour.")


def _holes(part: np.ndarray, image: sitk.Image) -> np.ndarray:
    """Voxels that an organ (bool, on the axes of `image`) surrounds in an axial slice: marrow, gas, a seed's shadow."""
    superior = int(np.abs(np.array(image.GetDirection()).reshape(3, 3)[2]).argmax())
    slices = [sitk.GetImageFromArray(one) for one in np.moveaxis(part, 2 - superior, 0).astype(np.uint8)]
    filled = [sitk.GetArrayFromImage(sitk.BinaryFillhole(one)) for one in slices]
    return (np.moveaxis(np.stack(filled), 0, 2 - superior) > 0) & ~part


def check_found(labels: sitk.Image, manifest: Manifest) -> list[str]:
    """Return notes on what is missing; raises InputError where the model found none of what it must find."""
    array = sitk.GetArrayViewFromImage(labels)
    present = set(np.unique(array)) - {0}
    names = manifest.code_names
    expected = manifest.raw["decoding"].get("expected", [])
    if not present & set(expected or present):
        if not expected:
            return ["Nothing was found: the segmentation is empty."]
        raise InputError(
            f"None of {', '.join(names[code].lower() for code in expected)} was found; "
            f"check that the image shows what the model is made for ({manifest.population})."
        )
    if not expected:  # a tumour may lack any of its parts
        return []
    judged = [item["code"] for item in manifest.raw.get("plausibility", {}).get("structures", []) if item["required"]]
    return [
        f"Not found: {names[code]}; the scan may not show it, or is not of the kind that the model is made for."
        for code in manifest.output_codes
        if code and code not in present and code not in judged  # plausibility tells of those, and why
    ]
