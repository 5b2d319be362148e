"""From which probability on there is whole tumour, and how small an island may be: chosen and scored by the folds.

    python Training/choose_decoding.py --packs Training/packs/brain --run Training/runs/brain

Every patient is computed by the network that was not trained on the fold (folder/fold-N/averaged.pt), on the working
grid. For each fold the pair is taken that gives the best mean Dice of whole tumour on the other folds; printed is what
it gives on this one, so that no patient has a say in the choice for itself. Islands are judged as `afnet.decoding` does
(`smallest_part`). The honest scores still come from cross_validate.py.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "AutofocusSegmentation"))

from brain_folds import FOLDS  # noqa: E402

from afnet.networks import AutofocusNetwork, NetworkPlan  # noqa: E402
from afnet.packed_case import Case, load_case  # noqa: E402
from afnet.tensors import to_numpy, to_torch  # noqa: E402

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SMALLEST_PARTS = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
AS_IT_IS = (0.5, 0.0)


def load_fold(folder: Path) -> torch.nn.Module:
    """The network of one fold in evaluation mode."""
    network = AutofocusNetwork(NetworkPlan(**json.loads((folder / "plan.json").read_text())))
    network.load_state_dict(torch.load(folder / "averaged.pt", map_location="cpu", weights_only=True))
    return network.eval().to(memory_format=torch.channels_last_3d)


@torch.inference_mode()
def whole_tumour(network: torch.nn.Module, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Probability and truth (z, y, x) of whole tumour."""
    channels = to_torch(case.channels)[None].contiguous(memory_format=torch.channels_last_3d)
    return to_numpy(torch.sigmoid(network(channels)[0, 0]).contiguous()), case.truth[0] > 0.5


def without_islands(found: np.ndarray, smallest_part: float) -> np.ndarray:
    """What is left of a mask without the islands smaller than `smallest_part` of the largest."""
    labels, count = ndimage.label(found, np.ones((3, 3, 3)))
    if count < 2:
        return found
    sizes = np.bincount(labels.ravel())[1:]
    return np.isin(labels, 1 + np.flatnonzero(sizes >= smallest_part * sizes.max()))


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    total = found.sum() + truth.sum()
    return float(2 * (found & truth).sum() / total) if total else 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packs", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    options = parser.parse_args()
    pairs = list(itertools.product(THRESHOLDS, SMALLEST_PARTS))
    table, folds = [], []
    for number, patients in enumerate(FOLDS, start=1):
        if not (options.run / f"fold-{number}" / "averaged.pt").exists():
            continue
        network = load_fold(options.run / f"fold-{number}")
        for name in patients:
            probability, truth = whole_tumour(network, load_case(options.packs / f"BraTS2021_{name}.npz"))
            table.append([dice(without_islands(probability > threshold, part), truth) for threshold, part in pairs])
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
