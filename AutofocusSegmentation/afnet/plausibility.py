"""Whether a result can be what the model is made for: volumes, densities and positions that its manifest expects.

The limits stand in the manifest under `plausibility`; of a model without them is told only what the scan cuts off. They
find a scan of something else (a woman's pelvis for a model of men's, a chest) and organs that the scan cuts off or does
not reach; they do not tell a good contour from a bad one. Positions are mm, LPS.
"""

from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .hounsfield import AIR, HIGHEST_HU
from .models.manifest import Manifest
from .preprocessing.foreground import body_mask
from .preprocessing.grid import bounding_box
from .preprocessing.imaging import like

DIRECTIONS = {"left": (0, 1), "posterior": (1, 1), "superior": (2, 1), "right": (0, -1), "anterior": (1, -1),
              "inferior": (2, -1)}
"""Axis of LPS and its sign, for each direction."""

_METAL_SPACING = 3.0
"""mm: grid on which the body is looked for and the metal in it counted."""


@dataclass(frozen=True)
class _Found:
    """One structure of a result: volume (ml), centroid (mm, LPS), median of the image (HU), faces that cut it off."""

    volume_ml: float
    centre: np.ndarray
    median: float
    cut: tuple[str, ...]


@dataclass
class _Doubts:
    """Reasons against a result, and the codes that they speak of."""

    reasons: list[str] = field(default_factory=list)
    codes: set[int] = field(default_factory=set)

    def add(self, code: int, reason: str) -> None:
        self.reasons.append(reason)
        self.codes.add(code)


def judge(labels: sitk.Image, image: sitk.Image, manifest: Manifest) -> tuple[sitk.Image, list[str], list[int]]:
    """Return the result without what is too doubtful to show, notes (a sentence for each thing amiss), codes left out.

    `labels` (the result) and `image` (the reference input; HU for CT) lie on the same grid. A structure that the
    manifest names in `left_out_if_doubtful` goes if it breaks its own limits, or if most of the other structures that
    must be there, or all that it lies `beside`, are missing or break theirs. Nothing else is changed.
    """
    rules = manifest.raw.get("plausibility")
    if not rules:
        return labels, _cut_off_structures(labels, manifest), []
    names = manifest.code_names
    found = _measure(labels, image, names)
    beyond = _beyond(labels, found, rules)
    doubts = _doubts(found, beyond, rules, names)
    _add_gaps(doubts, labels, found, rules, names)
    left_out = _left_out(found, beyond, doubts.codes, rules)
    notes = []
    if doubts.reasons:
        notes.append(f"The scan does not look like {rules['looks_like']} ({'; '.join(doubts.reasons)}); "
                     "check that it shows one, and correct every segment.")
    metal = _metal_ml(image, rules["metal"]["above_hu"]) if "metal" in rules else 0.0
    if metal >= rules.get("metal", {}).get("ml", 1.0):
        notes.append(f"The scan shows {metal:.0f} ml of metal in the body, as of a hip prosthesis, for which this "
                     "model was not made: check every segment.")
    if left_out:
        notes.append(f"Withheld as implausible: {_listed(names, left_out)}; draw by hand any that the scan shows.")
        array = sitk.GetArrayFromImage(labels)
        array[np.isin(array, left_out)] = 0
        labels = like(array, labels)
    for face in DIRECTIONS:
        cut = [code for code, item in found.items() if face in item.cut and code not in left_out]
        if cut:
            notes.append(_cut_off(face, _listed(names, cut)))
        missing = [code for code, edge in beyond.items() if edge == face]
        if missing:
            notes.append(f"Not found because the scan ends too early: {_listed(names, missing)}; use a scan that "
                         f"extends further towards the {'feet' if face == 'inferior' else 'head'}.")
    return labels, notes, left_out


def _cut_off_structures(labels: sitk.Image, manifest: Manifest) -> list[str]:
    """Return a sentence for each face of the image that cuts structures off, which may lie in each other."""
    array, notes = sitk.GetArrayViewFromImage(labels), []
    for face, (axis, last) in _faces(labels).items():
        outermost = array.take(last, axis=2 - axis)
        cut = [item.name.lower() for item in manifest.structures if np.isin(outermost, item.labels).any()]
        if cut:
            notes.append(_may_be_cut_off(face, ", ".join(cut)))
    return notes


def _cut_off(face: str, names: str) -> str:
    return f"Cut off by the scan's {face} edge: {names}; the volumes are those of the part that the scan shows."


def _may_be_cut_off(face: str, names: str) -> str:
    """The same of an image that may end where the organ does, as one cropped to the brain."""
    return f"May be cut off by the scan's {face} edge: {names}; check that the scan shows all of it."


def _metal_ml(image: sitk.Image, above_hu: float) -> float:
    """Volume (ml) in the body above a density (HU): what lies outside, as in a couch, is nobody's prosthesis."""
    if not (sitk.GetArrayViewFromImage(image) > above_hu).any():
        return 0.0
    size = [max(1, round(n * side / _METAL_SPACING)) for n, side in zip(image.GetSize(), image.GetSpacing())]
    coarse = sitk.Resample(image, size, sitk.Transform(), sitk.sitkNearestNeighbor, image.GetOrigin(),
                           [_METAL_SPACING] * 3, image.GetDirection(), AIR)
    values = sitk.GetArrayFromImage(coarse)
    try:
        body = body_mask(values, _METAL_SPACING)
    except InputError:  # too little of it, as in two slices; a couch is told, too
        body = np.ones_like(values, bool)
    return float((body & (values > above_hu)).sum()) * _METAL_SPACING**3 / 1000


def _listed(names: dict[int, str], codes: list[int]) -> str:
    return ", ".join(names[code].lower() for code in codes)


def _measure(labels: sitk.Image, image: sitk.Image, codes) -> dict[int, _Found]:
    array, values = sitk.GetArrayViewFromImage(labels), sitk.GetArrayViewFromImage(image)
    voxel_ml = float(np.prod(labels.GetSpacing())) / 1000
    faces = _faces(labels)
    found = {}
    box = bounding_box(array > 0)
    for code in codes if box else ():
        where = np.nonzero(array[box] == code)
        if not where[0].size:
            continue
        index = [part + side.start for part, side in zip(where, box)][::-1]
        cut = {face for face, (axis, last) in faces.items() if (index[axis] == last).any()}
        centre = labels.TransformContinuousIndexToPhysicalPoint([float(part.mean()) for part in index])
        median = float(np.median(values[box][where]))
        found[code] = _Found(where[0].size * voxel_ml, np.array(centre), median, tuple(cut))
    return found


def _faces(image: sitk.Image) -> dict[str, tuple[int, int]]:
    """The six faces of an image by the direction that each looks in most: index axis (x, y, z) and outermost index."""
    matrix = np.array(image.GetDirection()).reshape(3, 3)
    faces = {}
    for face, (along, sign) in DIRECTIONS.items():
        axis = int(np.abs(matrix[along]).argmax())
        faces[face] = (axis, image.GetSize()[axis] - 1 if sign * matrix[along, axis] > 0 else 0)
    return faces


def _doubts(found: dict[int, _Found], beyond: dict[int, str], rules: dict, names: dict[int, str]) -> _Doubts:
    doubts = _Doubts()
    for item in rules["structures"]:
        code, name = item["code"], names[item["code"]].lower()
        if code not in found:
            if item["required"] and code not in beyond:
                doubts.add(code, f"no {name} was found")
            continue
        size, (low, high) = found[code].volume_ml, item["volume_ml"]
        if size > high or (size < low and not found[code].cut):
            doubts.add(code, f"{name} of {size:.0f} ml, expected {low:g} to {high:g}")
        ranges = item.get("median_hu", [])
        if ranges and not any(low <= found[code].median <= high for low, high in ranges):
            texts = (f"{low:g} to {high:g}" if high < HIGHEST_HU else f"from {low:g}" for low, high in ranges)
            expected = " or ".join(texts)
            doubts.add(code, f"{name} of {found[code].median:.0f} HU, expected {expected}")
    for item in rules["positions"]:
        origin = _place(found, item["of"])
        if origin is None or item["code"] not in found:
            continue
        axis, sign = DIRECTIONS[item["direction"]]
        distance, (low, high) = sign * float((found[item["code"]].centre - origin)[axis]), item["distance_mm"]
        if not low <= distance <= high:
            name, others = names[item["code"]].lower(), " and ".join(names[code].lower() for code in item["of"])
            doubts.add(item["code"], f"{name} {distance:.0f} mm {item['direction']} of {others}, "
                                     f"expected {low:g} to {high:g}")
    return doubts


def _add_gaps(doubts: _Doubts, labels: sitk.Image, found: dict[int, _Found], rules: dict, names) -> None:
    """Add what lies apart although it grows from each other, as the bladder's neck does from the prostate's base."""
    for item in rules.get("touching", []):
        code, (other,) = item["code"], item["of"]
        if code in found and other in found:
            gap = _gap_mm(labels, code, other)
            if gap > item["gap_mm"]:
                doubts.add(code, f"{names[code].lower()} {gap:.0f} mm from the {names[other].lower()}, expected to "
                                 "touch it")


def _gap_mm(labels: sitk.Image, code: int, other: int) -> float:
    """Least distance (mm) between the voxel centres of two codes, both of which are there."""
    array = sitk.GetArrayViewFromImage(labels)
    box = bounding_box((array == code) | (array == other))[::-1]
    part = sitk.RegionOfInterest(labels, [side.stop - side.start for side in box], [side.start for side in box])
    distance = sitk.SignedMaurerDistanceMap(part == other, squaredDistance=False, useImageSpacing=True)
    return float(sitk.GetArrayViewFromImage(distance)[sitk.GetArrayViewFromImage(part) == code].min())


def _left_out(found, beyond, doubted: set[int], rules: dict) -> list[int]:
    left_out = []
    for code in rules["left_out_if_doubtful"]:
        others = {item["code"] for item in rules["structures"] if item["required"]} - {code} - set(beyond)
        beside = {near for item in rules["structures"] if item["code"] == code for near in item.get("beside", [])}
        beside -= set(beyond)
        alone = beside and beside <= doubted
        if code in found and (code in doubted or alone or 2 * len(doubted & others) > len(others)):
            left_out.append(code)
    return left_out


def _place(found: dict[int, _Found], codes: list[int]) -> np.ndarray | None:
    """Middle of the centroids of `codes`; None unless all were found."""
    if not set(codes) <= set(found):
        return None
    return np.mean([found[code].centre for code in codes], axis=0)


def _beyond(labels: sitk.Image, found: dict[int, _Found], rules: dict) -> dict[int, str]:
    """Codes that were not found and whose level, told from those found, lies past an end of the scan: which end."""
    middle = [0.5 * (n - 1) for n in labels.GetSize()]
    ends = {}
    for face in ("inferior", "superior"):
        axis, last = _faces(labels)[face]
        point = [*middle[:axis], float(last), *middle[axis + 1:]]
        ends[face] = labels.TransformContinuousIndexToPhysicalPoint(point)[2]
    beyond = {}
    for rule in rules["positions"]:
        axis, sign = DIRECTIONS[rule["direction"]]
        if axis != 2:
            continue
        usual = sign * sum(rule["distance_mm"]) / 2
        pairs = [(rule["code"], _place(found, rule["of"]), usual)]
        pairs += [(code, _place(found, [rule["code"]]), -usual) for code in rule["of"]]
        for code, known, shift in pairs:
            if code in found or known is None:
                continue
            if known[2] + shift < ends["inferior"]:
                beyond[code] = "inferior"
            elif known[2] + shift > ends["superior"]:
                beyond[code] = "superior"
    return beyond
