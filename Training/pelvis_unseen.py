"""Score a model on generated scans of a patient who is in no sample of its training: a smoke test, chooses nothing.

    python Training/pelvis_unseen.py --model FOLDER --source umea --out scores.json [--count 12] [--seed 9001]

The organs are drawn anew in the patient's own bones, fat and bowel, so that all of them are known; the scans are
written as files of 3 mm and scored as a patient's.
"""

import argparse
import tempfile
from pathlib import Path

import repository

import numpy as np
import SimpleITK as sitk
from pelvis_scans.generator import NEW_ORGANS, Sample, weighted_sample
from pelvis_scans.packs import SPACING, known
from score import score, write_scores

ORGANS = {1: "prostate", 2: "seminal_vesicles", 3: "bladder", 4: "rectum"}
LEAST_VOXELS = 100
"""Of each organ but the vesicles, of which a fifth suffices: the window or the scan's end may cut them off."""


def all_drawn(sample: Sample) -> bool:
    """Whether every organ of the small pelvis is there, and known everywhere."""
    organs = sum(1 << code for code in ORGANS)
    if (~known(sample.possible) & ((sample.possible & organs) > 0)).any():
        return False
    return all((sample.labels == code).sum() >= LEAST_VOXELS // (5 if code == 2 else 1) for code in ORGANS)


def write_patient(sample: Sample, folder: Path) -> None:
    """Write the scan (`ct`, HU) and its labels into `folder`, as a patient's files."""
    for name, array in (("ct", np.rint(sample.hu).astype(np.int16)), ("labels", sample.labels)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing([SPACING] * 3)
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--source", choices=tuple(NEW_ORGANS), required=True, help="whose anatomy")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=9001)
    options = parser.parse_args()
    results, number = [], 0
    while len(results) < options.count:
        sample = weighted_sample(np.random.default_rng([options.seed, number]), source=options.source, spacing=SPACING)
        number += 1
        if not all_drawn(sample):
            continue
        with tempfile.TemporaryDirectory(suffix=f"-{number - 1}") as folder:
            write_patient(sample, Path(folder))
            results.append(score(options.model, Path(folder), ",".join(ORGANS.values())))
        print(number - 1, [row["dice"] for row in results[-1]["rows"] if row["dice"] is not None], flush=True)
    write_scores(options.out, results)


if __name__ == "__main__":
    main()
