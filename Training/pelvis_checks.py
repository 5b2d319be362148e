"""Plausibility of a pelvic label map without any truth: `python Training/pelvis_checks.py CT LABELS`.

The limits were fixed before any model was looked at. They judge anatomy, not accuracy: a map can pass and be wrong.
Prints a table; exit code 1 where a check fails.
"""

import argparse
import sys
from dataclasses import dataclass

import repository

import numpy as np
import SimpleITK as sitk
from pelvis_scans.packs import BLADDER, LEFT, PROSTATE, RECTUM, RIGHT, VESICLES
from scipy import ndimage

from afnet.models.manifest import find_model

NAMES = {code: name.lower() for code, name in find_model("pelvis-ct").code_names.items()}
VOLUMES_ML = {1: (8, 200), 2: (1, 40), 3: (20, 1000), 4: (15, 350), 5: (40, 350), 6: (40, 350)}
"""Smallest and largest volume of each organ that is wholly in the scan."""


@dataclass(frozen=True)
class Check:
    name: str
    value: str
    passed: bool | None  # None: could not be judged, an organ is absent


def _centres(labels: np.ndarray) -> dict[int, np.ndarray]:
    return {code: np.argwhere(labels == code).mean(0) for code in NAMES if (labels == code).any()}


def check(hu: np.ndarray, labels: np.ndarray, spacing: tuple[float, float, float]) -> list[Check]:
    """All checks of one scan. Arrays (z, y, x) in LPS: z to the head, y to the back, x to the left; spacing in mm."""
    results = []
    centre = _centres(labels)
    voxel_ml = float(np.prod(spacing)) / 1000
    for code, name in NAMES.items():
        mask = labels == code
        volume = mask.sum() * voxel_ml
        low, high = VOLUMES_ML[code]
        cut = bool(mask[0].any() or mask[-1].any())
        text = f"{volume:.0f} ml" + (" (at the scan's end)" if cut else "")
        results.append(Check(f"{name}: {low} to {high} ml", text, (volume >= low or cut) and volume <= high))
    for code in (PROSTATE, BLADDER, LEFT, RIGHT):
        if code in centre:
            parts, count = ndimage.label(labels == code)
            share = np.bincount(parts.ravel())[1:].max() / (labels == code).sum()
            results.append(Check(f"{NAMES[code]}: one piece (95 %)", f"{share:.2f} in {count}", bool(share >= 0.95)))

    def median(code: int, name: str, judge) -> None:
        value = float(np.median(hu[labels == code])) if code in centre else None
        results.append(Check(name, "absent" if value is None else f"{value:.0f} HU",
                             None if value is None else judge(value)))

    median(BLADDER, "bladder: -10 to 25 HU, or contrast over 60", lambda v: -10 <= v <= 25 or v > 60)
    median(PROSTATE, "prostate: 10 to 110 HU", lambda v: 10 <= v <= 110)
    median(LEFT, "left femur: over 150 HU", lambda v: v > 150)
    median(RIGHT, "right femur: over 150 HU", lambda v: v > 150)

    def apart(name: str, first: int, second: int, axis: int, least: float) -> None:
        """Centre of `first` at least `least` mm further along `axis` than that of `second`."""
        if first not in centre or second not in centre:
            results.append(Check(name, "absent", None))
            return
        distance = float((centre[first] - centre[second])[axis] * spacing[axis])
        results.append(Check(name, f"{distance:.0f} mm", distance >= least))

    apart("rectum behind the bladder", RECTUM, BLADDER, 1, 10)
    apart("rectum behind the prostate", RECTUM, PROSTATE, 1, 5)
    apart("bladder above the prostate", BLADDER, PROSTATE, 0, 5)
    apart("vesicles above the prostate", VESICLES, PROSTATE, 0, 0)
    apart("vesicles behind the bladder", VESICLES, BLADDER, 1, 0)
    apart("left femur left of the right (100 mm)", LEFT, RIGHT, 2, 100)
    if {LEFT, RIGHT, PROSTATE} <= set(centre):
        middle = (centre[LEFT] + centre[RIGHT]) / 2
        aside = abs(float((centre[PROSTATE] - middle)[2] * spacing[2]))
        results.append(Check("prostate midway between the femora (20 mm)", f"{aside:.0f} mm", aside <= 20))
    return results


def read_lps(path: str) -> sitk.Image:
    """An image turned to LPS axes. Raises RuntimeError (SimpleITK) if it cannot be read."""
    return sitk.DICOMOrient(sitk.ReadImage(path), "LPS")


def main() -> int:
    parser = argparse.ArgumentParser(description="Check a pelvic label map for plausibility, without truth.")
    parser.add_argument("ct", help="CT in HU")
    parser.add_argument("labels", help="label map on the CT's grid, codes 1 to 6")
    options = parser.parse_args()
    ct, labels = read_lps(options.ct), read_lps(options.labels)
    if ct.GetSize() != labels.GetSize():
        print("The label map does not lie on the CT's grid; segment this CT again.", file=sys.stderr)
        return 2
    results = check(sitk.GetArrayFromImage(ct), sitk.GetArrayFromImage(labels), ct.GetSpacing()[::-1])
    width = max(len(r.name) for r in results)
    for r in results:
        print(f"{r.name:{width}s}  {r.value:28s} {'-' if r.passed is None else 'ok' if r.passed else 'FAILED'}")
    return int(any(r.passed is False for r in results))


if __name__ == "__main__":
    sys.exit(main())
