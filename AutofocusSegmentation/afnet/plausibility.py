"""Whether a result can be what the model is made for: volumes, densities and positions that its manifest expects.

The rules stand in the manifest under `plausibility`, made before any result was seen; a model without them is not
judged. They find a scan of something else (a woman's pelvis for a model of men's, a chest) and organs that the scan
cuts off; they do not tell a good contour from a bad one. Positions are mm, LPS.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .manifest import Manifest

AXES = {"left": (0, 1), "posterior": (1, 1), "superior": (2, 1), "right": (0, -1), "anterior": (1, -1),
        "inferior": (2, -1)}
"""Axis of LPS and its sign, for each direction."""

EDGE_SLICES = 1
"""Slices at each end of a scan in which an organ counts as cut off."""


@dataclass(frozen=True)
class _Found:
    """One structure of a result: its volume, centroid (mm, LPS), median of the image, and the ends that cut it."""

    volume_ml: float
    centre: np.ndarray
    median: float
    cut: tuple[str, ...]


def implausible(labels: sitk.Image, image: sitk.Image, manifest: Manifest) -> list[str]:
    """Return notes for the report: that the scan does not look as expected and why, and what its ends cut off.

    `labels` (the result) and `image` (the reference input, HU for CT) lie on the same grid. Empty if all is plausible
    or the manifest has no rules.
    """
    rules = manifest.raw.get("plausibility")
    if not rules:
        return []
    names = {item["code"]: item["name"] for item in manifest.raw["labelmap"]}
    found = _structures(labels, image, [item["code"] for item in rules["structures"]])
    beyond = _beyond(labels, found, rules)
    reasons = []
    for item in rules["structures"]:
        code = item["code"]
        if code in found:
            reasons += _wrong_size(names[code], found[code], item) + _wrong_density(names[code], found[code], item)
        elif item["required"] and code not in beyond:
            reasons.append(f"no {names[code].lower()} was found")
    for item in rules["positions"]:
        reasons += _misplaced(names, found, item)
    notes = []
    if reasons:
        notes.append(f"The scan does not look like {rules['looks_like']} ({'; '.join(reasons)}); "
                     "check that it shows one, and correct every segment.")
    for end in ("inferior", "superior"):
        cut = [names[code] for code, item in found.items() if end in item.cut]
        if cut:
            notes.append(f"Cut off at the scan's {end} end: {', '.join(cut)}; "
                         "volumes are those of the part that the scan shows.")
        missing = [names[code] for code, where in beyond.items() if where == end]
        if missing:
            notes.append(f"The scan seems to end before: {', '.join(missing)}; scan further to the "
                         f"{'feet' if end == 'inferior' else 'head'} to segment it.")
    return notes


def _structures(labels: sitk.Image, image: sitk.Image, codes: list[int]) -> dict[int, _Found]:
    array, values = sitk.GetArrayViewFromImage(labels), sitk.GetArrayViewFromImage(image)
    voxel_ml = float(np.prod(labels.GetSpacing())) / 1000
    axis, first, last = _ends(labels)
    found = {}
    for code in codes:
        where = np.nonzero(array == code)
        if not where[0].size:
            continue
        index = [float(indices.mean()) for indices in where[::-1]]
        along = where[2 - axis]
        cut = [first] if along.min() < EDGE_SLICES else []
        cut += [last] if along.max() >= labels.GetSize()[axis] - EDGE_SLICES else []
        found[code] = _Found(where[0].size * voxel_ml, np.array(labels.TransformContinuousIndexToPhysicalPoint(index)),
                             float(np.median(values[where])), tuple(cut))
    return found


def _ends(image: sitk.Image) -> tuple[int, str, str]:
    """The index axis (x, y, z) that runs along the patient, and which end of him its first and last slice are."""
    along = np.array(image.GetDirection()).reshape(3, 3)[2]
    axis = int(np.abs(along).argmax())
    return axis, *(("inferior", "superior") if along[axis] > 0 else ("superior", "inferior"))


def _wrong_size(name: str, found: _Found, rule: dict) -> list[str]:
    low, high = rule["volume_ml"]
    if found.volume_ml > high or (found.volume_ml < low and not found.cut):
        return [f"{name.lower()} of {found.volume_ml:.0f} ml, expected {low:g} to {high:g}"]
    return []


def _wrong_density(name: str, found: _Found, rule: dict) -> list[str]:
    ranges = rule.get("median_hu", [])
    if not ranges or any(low <= found.median <= high for low, high in ranges):
        return []
    expected = " or ".join(f"{low:g} to {high:g}" for low, high in ranges)
    return [f"{name.lower()} of {found.median:.0f} HU, expected {expected}"]


def _place(found: dict[int, _Found], codes: list[int]) -> np.ndarray | None:
    """Middle of the centroids of `codes`; None unless all were found."""
    if not set(codes) <= set(found):
        return None
    return np.mean([found[code].centre for code in codes], axis=0)


def _misplaced(names: dict[int, str], found: dict[int, _Found], rule: dict) -> list[str]:
    origin = _place(found, rule["of"])
    if origin is None or rule["code"] not in found:
        return []
    axis, sign = AXES[rule["direction"]]
    distance = sign * float((found[rule["code"]].centre - origin)[axis])
    low, high = rule["distance_mm"]
    if low <= distance <= high:
        return []
    other = " and ".join(names[code].lower() for code in rule["of"])
    return [f"{names[rule['code']].lower()} {distance:.0f} mm {rule['direction']} to {other}, "
            f"expected {low:g} to {high:g}"]


def _beyond(labels: sitk.Image, found: dict[int, _Found], rules: dict) -> dict[int, str]:
    """Codes that were not found and whose place, told from those found, lies past an end of the scan."""
    axis, *_ = _ends(labels)
    ends = [[0.5 * (n - 1) for n in labels.GetSize()] for _ in range(2)]
    ends[0][axis], ends[1][axis] = 0.0, float(labels.GetSize()[axis] - 1)
    low, high = sorted(labels.TransformContinuousIndexToPhysicalPoint(end)[2] for end in ends)
    beyond = {}
    for rule in rules["positions"]:
        along, sign = AXES[rule["direction"]]
        if along != 2:
            continue
        middle = sign * sum(rule["distance_mm"]) / 2
        for code, partner, shift in ((rule["code"], _place(found, rule["of"]), middle),
                                     *((c, _place(found, [rule["code"]]), -middle) for c in rule["of"])):
            if code in found or partner is None:
                continue
            level = partner[2] + shift
            if level < low or level > high:
                beyond[code] = "inferior" if level < low else "superior"
    return beyond
