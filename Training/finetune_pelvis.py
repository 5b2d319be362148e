"""Fine-tune the pelvic model on four generated scans of another scanner, and score others before and after.

    python Training/finetune_pelvis.py --work FOLDER [--base pelvis-ct] [--tune attention] [--learn 4] [--hold-out 2]
           [--slice-mm 6] [--gain 0.95] [--offset -35] [options of `afnet finetune` after --]

Needs the packs of pelvis_anatomies.py. The men are synthetic (`pelvis_scans`, all six organs known), new ones that
no bank holds, but of the kind the bundled weights learned from: this shows time and mechanics, not what real patients
gain. The scanner has thick slices and a calibration outside what the training varied (±2 %, ±5 HU).
"""

import argparse
import json
import resource
import time
from pathlib import Path

import repository

import numpy as np
import SimpleITK as sitk
from finetune_demonstration import thick
from pelvis_scans.generator import weighted_sample
from pelvis_scans.packs import SPACING
from score import afnet

SEED = 7_000_000
"""First word of the scans' seeds; the bank's is small."""

MEN = ("msk_001", "msk_004")
"""Anatomies in turn: the synthetic men, whose organs are all known."""

ORGANS = range(1, 7)
ENOUGH = 20
"""Voxels of 3 mm that a scan must show of each organ."""


def whole_man(number: int) -> tuple[np.ndarray, np.ndarray]:
    """HU and label codes (z, y, x; 3 mm, LPS) of the `number`-th man whose scan shows all organs."""
    for attempt in range(100):
        rng = np.random.default_rng([SEED, number, attempt])
        sample = weighted_sample(rng, source=MEN[number % len(MEN)], spacing=SPACING)
        if all(np.count_nonzero(sample.labels == code) >= ENOUGH for code in ORGANS):
            return sample.hu, sample.labels
    raise RuntimeError(f"no scan of man {number} shows all organs")


def image(array: np.ndarray) -> sitk.Image:
    made = sitk.GetImageFromArray(array)
    made.SetSpacing((SPACING,) * 3)
    return made


def write_scan(number: int, folder: Path, slice_mm: float, gain: float, offset: float) -> dict:
    """Write man `number` as the other scanner shows him, unless he is there; returns his entry of cases.json."""
    place = folder / f"man-{number}"
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "labels.nii.gz").exists():
        hu, labels = whole_man(number)
        hu = np.where(hu > -400, hu * gain + offset, hu).astype(np.float32)
        radius = max(round((slice_mm / SPACING - 1) / 2), 0)
        scan = thick(sitk.BoxMean(image(hu) + 1000.0, [0, 0, radius]), slice_mm, sitk.sitkLinear) - 1000.0
        sitk.WriteImage(sitk.Cast(scan, sitk.sitkInt16), str(place / "ct.nii.gz"))
        sitk.WriteImage(thick(image(labels), slice_mm, sitk.sitkNearestNeighbor), str(place / "labels.nii.gz"))
    return {"name": place.name, "inputs": {"ct": str((place / "ct.nii.gz").absolute())},
            "segmentation": str((place / "labels.nii.gz").absolute())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--base", default="pelvis-ct")
    parser.add_argument("--tune", default="attention")
    parser.add_argument("--learn", type=int, default=4)
    parser.add_argument("--hold-out", type=int, default=2)
    parser.add_argument("--slice-mm", type=float, default=6.0)
    parser.add_argument("--gain", type=float, default=0.95)
    parser.add_argument("--offset", type=float, default=-35.0, help="HU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("more", nargs="*", help="options of `afnet finetune`, after --")
    options = parser.parse_args()

    scans = options.work / "scans"
    cases = [write_scan(number, scans, options.slice_mm, options.gain, options.offset)
             for number in range(options.learn + options.hold_out)]
    listed = options.work / "cases.json"
    listed.write_text(json.dumps({"cases": cases}))
    held_out = ",".join(case["name"] for case in cases[options.learn :])
    output = options.work / f"model-{options.tune}"
    begin = time.monotonic()
    afnet("finetune", "--base", options.base, "--cases", str(listed), "--output", str(output), "--tune", options.tune,
          "--hold-out", held_out, "--device", options.device, *options.more)
    minutes = (time.monotonic() - begin) / 60
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    comparison = json.loads((output / "training" / "comparison.json").read_text())
    for row in comparison["structures"]:
        print(f"{row['id']:<18} Dice {row['base_dice']:.3f} -> {row['new_dice']:.3f}")
    overall = comparison["overall"]
    print(f"mean of {overall['n']} scans    Dice {overall['base_dice']:.3f} -> {overall['new_dice']:.3f}, "
          f"{comparison['epochs']} epochs, {comparison['verdict']}; {minutes:.1f} minutes, "
          f"{(used.ru_utime + used.ru_stime) / 60:.1f} of processors' time")


if __name__ == "__main__":
    main()
