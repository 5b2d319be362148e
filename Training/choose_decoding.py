"""From which probability on there is whole tumour, and how small an island may be: chosen and scored by the folds.

    python Training/choose_decoding.py --packs Training/packs/brain --run Training/runs/brain

Every patient is computed by the network that was not trained on the fold (folder/fold-N/averaged.pt), on the working
grid. For each fold the pair is taken that gives the best mean Dice of whole tumour on the other folds; printed is what
it gives on this one, so that no patient has a say in the choice for itself. Islands are judged by `afnet.decoding`
(`smallest_part`). The honest scores still come from cross_validate.py.
"""

import argparse
import itertools
from dataclasses import replace
from pathlib import Path

import repository

import numpy as np
import SimpleITK as sitk
import torch
from brain_folds import FOLDS
from write_bundle import trained_network

from afnet.decoding import clean
from afnet.evaluation import dice
from afnet.learning.packed_case import Case, load_case
from afnet.models.manifest import Manifest, find_model
from afnet.tensors import to_numpy, to_torch

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SMALLEST_PARTS = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
AS_IT_IS = (0.5, 0.0)


@torch.inference_mode()
def whole_tumour(network: torch.nn.Module, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Probability and truth (z, y, x) of whole tumour."""
    channels = to_torch(case.channels)[None].contiguous(memory_format=torch.channels_last_3d)
    return to_numpy(torch.sigmoid(network(channels)[0, 0]).contiguous()), case.truth[0] > 0.5


def without_islands(found: np.ndarray, smallest_part: float, manifest: Manifest) -> np.ndarray:
    """What `afnet.decoding.clean` leaves of a mask (z, y, x) under that rule alone."""
    rule = {"decoding": {"kind": "nested", "smallest_part": smallest_part}}
    image = sitk.GetImageFromArray(found.astype(np.uint8))
    cleaned, _ = clean(image, replace(manifest, raw=rule))
    return sitk.GetArrayFromImage(cleaned) > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packs", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    options = parser.parse_args()
    manifest = find_model("brain-tumour-mri")
    pairs = list(itertools.product(THRESHOLDS, SMALLEST_PARTS))
    table, folds = [], []
    for number, patients in enumerate(FOLDS, start=1):
        if not (options.run / f"fold-{number}" / "averaged.pt").exists():
            continue
        network = trained_network(options.run / f"fold-{number}" / "averaged.pt").eval()
        network.to(memory_format=torch.channels_last_3d)
        for name in patients:
            probability, truth = whole_tumour(network, load_case(options.packs / f"BraTS2021_{name}.npz"))
            table.append([dice(without_islands(probability > threshold, part, manifest), truth)
                          for threshold, part in pairs])
            folds.append(number)
    table, folds = np.array(table), np.array(folds)
    before, chosen = table[:, pairs.index(AS_IT_IS)], np.empty(len(folds))
    for number in sorted(set(folds.tolist())):
        best = int(table[folds != number].mean(0).argmax())
        chosen[folds == number] = table[folds == number, best]
        print(f"fold {number}: {pairs[best]}, Dice {before[folds == number].mean():.3f} -> "
              f"{chosen[folds == number].mean():.3f}")
    gain = chosen - before
    print(f"all: {before.mean():.3f} -> {chosen.mean():.3f}, paired gain {gain.mean():+.3f} ± "
          f"{gain.std(ddof=1) / len(gain) ** 0.5:.3f} (standard error)")
    print("all patients, which choose what is shipped (rows: probability, columns: smallest part):", SMALLEST_PARTS)
    for threshold, row in zip(THRESHOLDS, table.mean(0).reshape(len(THRESHOLDS), -1)):
        print(threshold, row.round(3).tolist())


if __name__ == "__main__":
    main()
