"""Fine-tune a base on degraded patients of a fold that it was not trained on, and score the rest of the fold.

    python Training/finetune_demonstration.py --base FOLDER --work FOLDER [--tune attention,last-blocks,all]
           [--data ../shared/data/brain] [--learn 00006,00014] [--hold-out 01476,01484] [--slice-mm 5] [--gamma 0.6]
           [--epochs 6] [--samples-per-case 2] [--minutes 8] [--clean]

The degraded scanner has thick axial slices (the mean over each slice) and other grey values: every contrast's
intensities to the power of `--gamma`, for a mere factor is gone after normalisation. After `--minutes` of training a
run is asked to finish after its epoch. `--clean` also scores the base on the held-out patients as they are.
"""

import argparse
import json
import subprocess
import sys
import threading
from pathlib import Path

from repository import REPOSITORY

import SimpleITK as sitk
from score import score, summarise

CONTRASTS = ("t1", "t1c", "t2", "flair")


def thick(image: sitk.Image, slice_mm: float, interpolator: int) -> sitk.Image:
    """The image on a grid whose slices (third axis) are `slice_mm` thick, in the same place."""
    spacing, size = list(image.GetSpacing()), list(image.GetSize())
    count = int(size[2] * spacing[2] // slice_mm)
    middle = (slice_mm - spacing[2]) / 2 / spacing[2]  # index of the first thick slice's centre
    origin = image.TransformContinuousIndexToPhysicalPoint((0.0, 0.0, middle))
    return sitk.Resample(image, [size[0], size[1], count], sitk.Transform(), interpolator, origin,
                         [spacing[0], spacing[1], slice_mm], image.GetDirection(), 0.0)


def degrade(patient: Path, to: Path, slice_mm: float, gamma: float) -> dict:
    """Write the patient as the other scanner shows him, unless he is there; returns his entry of cases.json."""
    to.mkdir(parents=True, exist_ok=True)
    for name in CONTRASTS if not (to / "labels.nii.gz").exists() else ():
        image = sitk.ReadImage(str(patient / f"{name}.nii.gz"), sitk.sitkFloat32)
        radius = max(round((slice_mm / image.GetSpacing()[2] - 1) / 2), 0)
        inside = sitk.Cast(image > 0, sitk.sitkFloat32)
        mean = thick(sitk.BoxMean(image, [0, 0, radius]), slice_mm, sitk.sitkLinear)
        brain = thick(inside, slice_mm, sitk.sitkNearestNeighbor)
        sitk.WriteImage(sitk.Pow(sitk.Clamp(mean, sitk.sitkFloat32, 0.0), gamma) * brain, str(to / f"{name}.nii.gz"))
    labels = sitk.ReadImage(str(patient / "labels.nii.gz"), sitk.sitkUInt8)
    if not (to / "labels.nii.gz").exists():
        sitk.WriteImage(thick(labels, slice_mm, sitk.sitkNearestNeighbor), str(to / "labels.nii.gz"))
    return {"name": to.name, "inputs": {name: str((to / f"{name}.nii.gz").absolute()) for name in CONTRASTS},
            "segmentation": str((to / "labels.nii.gz").absolute())}


def finetune(options, tune: str, cases: Path) -> dict:
    """Run `afnet finetune` as the panel does; returns comparison.json."""
    output = options.work / f"model-{tune}"
    command = [sys.executable, str(REPOSITORY / "AutofocusSegmentation" / "afnet" / "__main__.py"), "finetune",
               "--base", str(options.base), "--cases", str(cases), "--output", str(output), "--tune", tune,
               "--epochs", str(options.epochs), "--samples-per-case", str(options.samples_per_case),
               "--hold-out", options.hold_out, "--device", options.device, "--parent-pipe"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
    clock = threading.Timer(60 * options.minutes, lambda: (process.stdin.write("finish\n"), process.stdin.flush()))
    clock.start()
    try:
        if process.wait():
            raise SystemExit(f"{tune}: afnet finetune ended with {process.returncode}")
    finally:
        clock.cancel()
    return json.loads((output / "training" / "comparison.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="model folder, trained without the patients")
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / "brain")
    parser.add_argument("--learn", default="00006,00014")
    parser.add_argument("--hold-out", default="01476,01484")
    parser.add_argument("--tune", default="attention,last-blocks,all")
    parser.add_argument("--slice-mm", type=float, default=5.0)
    parser.add_argument("--gamma", type=float, default=0.6)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--samples-per-case", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--clean", action="store_true")
    options = parser.parse_args()

    names = [*options.learn.split(","), *options.hold_out.split(",")]
    degraded = options.work / "degraded"
    listed = [
        degrade(options.data / f"BraTS2021_{name}", degraded / name, options.slice_mm, options.gamma) for name in names
    ]
    cases = options.work / "cases.json"
    cases.write_text(json.dumps({"cases": listed}))
    lines = []
    for tune in options.tune.split(","):
        comparison = finetune(options, tune, cases)
        for row in comparison["structures"]:
            lines.append(f"{tune:<12} {row['id']:<18} Dice {row['base_dice']:.3f} -> {row['new_dice']:.3f}")
        overall = comparison["overall"]
        lines.append(f"{tune:<12} {'mean':<18} Dice {overall['base_dice']:.3f} -> {overall['new_dice']:.3f}, "
                     f"{comparison['epochs']} epochs, {comparison['verdict']}")
    if options.clean:
        patients = [options.data / f"BraTS2021_{name}" for name in options.hold_out.split(",")]
        for row in summarise([score(options.base.absolute(), patient) for patient in patients]):
            lines.append(f"{'not degraded':<12} {row['id']:<18} Dice {row['dice']:.3f}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
