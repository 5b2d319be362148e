"""Seminal vesicles of a real man in whom nobody drew any, from networks that have not seen him.

    python Training/pelvis_vesicles.py --patient totalseg --model Training/runs/pelvis/no-totalseg/pair

Where a voxel may be background or vesicles, a loss over both leaves the choice to the network, and one that has seen
men in whom nothing was ever called vesicles finds none in them, and fewer in others. A network trained without the
man finds them from the generated ones. What it calls vesicles becomes the pack's only possible code there, with a
model's weight; the rest stays undecided. Run after `pelvis_anatomies.py`, which makes the packs anew.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "AutofocusSegmentation"))

from pelvis_anatomies import MODEL_WEIGHT  # noqa: E402
from pelvis_packs import PACKS, SPACING, VESICLES, load_pack  # noqa: E402
from pelvis_real_checks import segment  # noqa: E402
from pelvis_resampling import DATA, resample_labels  # noqa: E402

from afnet.imaging import lattice_around  # noqa: E402

SCANS = {"totalseg": "totalseg_example"}
"""Folder of the scan of each real man without drawn vesicles."""

UNDECIDED = 1 << 0 | 1 << VESICLES


def with_vesicles(pack: dict, found: np.ndarray) -> dict:
    """A copy of `pack` where `found` (bool, z, y, x) are vesicles, as far as the pack leaves them possible."""
    labels, possible = pack["labels"].copy(), pack["possible"].copy()
    weight = pack["weight"].copy() if "weight" in pack else np.full(labels.shape, 100, np.uint8)
    found = found & (possible & UNDECIDED == UNDECIDED)
    labels[found], possible[found], weight[found] = VESICLES, 1 << VESICLES, MODEL_WEIGHT
    return dict(pack) | dict(labels=labels, possible=possible, weight=weight)


def found_vesicles(patient: str, model: Path) -> np.ndarray:
    """Where `model` finds vesicles in a real man, on his pack's grid (bool). Raises RuntimeError where it refuses."""
    ct = DATA / SCANS[patient] / "ct.nii.gz"
    with TemporaryDirectory() as folder:
        file = Path(folder) / "labels.nii.gz"
        if not segment(model, ct, file):
            raise RuntimeError(f"{model} finds no pelvis in {ct}")
        codes = sitk.ReadImage(str(file))
    return resample_labels(codes, lattice_around(sitk.ReadImage(str(ct)), SPACING, 0.0)) == VESICLES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patient", required=True, choices=tuple(SCANS))
    parser.add_argument("--model", type=Path, required=True, help="folder of a model trained without the patient")
    options = parser.parse_args()
    pack = with_vesicles(load_pack(options.patient), found_vesicles(options.patient, options.model))
    np.savez_compressed(PACKS / f"{options.patient}.npz", **pack)
    millilitres = (pack["labels"] == VESICLES).sum() * SPACING**3 / 1000
    print(f"{options.patient}: {millilitres:.1f} ml of vesicles")


if __name__ == "__main__":
    main()
