"""Score the brain's fold networks, each on the patients that it was not trained on, with the command line.

    python Training/cross_validate.py --run Training/runs/brain --out Training/runs/brain/scores.json
           [--data ../shared/data/brain] [--choose-absorbed] [options of write_bundle.py, {fold} for a fold's number]

Writes folder/fold-N/bundle, segments and evaluates from the files (score.py), and prints each patient, mean and
median, and enhancing tumour by its size. Absent structures: both empty counts 1, one empty 0.

With `--choose-absorbed` it prints instead, for every fold, below which volume enhancing tumour had best become core in
the other folds' results, and what that gives on this one.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from repository import REPOSITORY

import numpy as np
from brain_folds import FOLDS
from score import score, summarise

ENHANCING = "enhancing_tumour"
SIZEABLE_ML = 2.0
CANDIDATES_ML = (0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2)


def score_folds(run: Path, data: Path, bundle_options: list[str]) -> list[dict]:
    """Score every fold that has weights; the rows of each patient, in the folds' order."""
    results = []
    for number, patients in enumerate(FOLDS, start=1):
        folder = run / f"fold-{number}"
        if not (folder / "averaged.pt").exists():
            continue
        command = [sys.executable, str(REPOSITORY / "Training" / "write_bundle.py"), "--model", "brain-tumour-mri",
                   "--weights", str(folder / "averaged.pt"), "--to", str(folder / "bundle")]
        subprocess.run(command + [option.replace("{fold}", str(number)) for option in bundle_options], check=True)
        for name in patients:
            result = score(folder / "bundle", data / f"BraTS2021_{name}")
            results.append(result | {"fold": number})
            print(name, number, [(row["dice"], row["hd95_mm"]) for row in result["rows"]], flush=True)
    return results


def enhancing(results: list[dict]) -> list[dict]:
    """The row of enhancing tumour of each patient."""
    return [next(row for row in result["rows"] if row["id"] == ENHANCING) for result in results]


def dice_if_absorbed(row: dict, below_ml: float) -> float:
    """Dice of enhancing tumour where less than `below_ml` of it becomes core."""
    if row["prediction_ml"] >= below_ml:
        return row["dice"]
    return 1.0 if row["truth_ml"] == 0 else 0.0


def choose_absorbed(results: list[dict]) -> None:
    """For each fold the volume that is best on the others, and Dice on the fold with it and without."""
    rows, folds = enhancing(results), np.array([result["fold"] for result in results])
    table = np.array([[dice_if_absorbed(row, ml) for ml in CANDIDATES_ML] for row in rows])
    chosen = np.empty(len(rows))
    for fold in sorted(set(folds)):
        best = int(table[folds != fold].mean(0).argmax())
        chosen[folds == fold] = table[folds == fold, best]
        print(f"fold {fold}: {CANDIDATES_ML[best]} ml, Dice {table[folds == fold, 0].mean():.3f} -> "
              f"{table[folds == fold, best].mean():.3f}")
    print(f"all: {table[:, 0].mean():.3f} -> {chosen.mean():.3f}; by volume on all (chooses the shipped one):",
          dict(zip(CANDIDATES_ML, table.mean(0).round(3).tolist())))


def report(results: list[dict]) -> None:
    """Print mean ± sd, median and HD95 of every structure, and enhancing tumour by its true size."""
    for line in summarise(results):
        dice = [row["dice"] for result in results for row in result["rows"] if row["id"] == line["id"]]
        print(f"{line['id']:<18} n {line['n']}  Dice {line['dice']:.3f} ± {line['dice_sd']:.3f}  "
              f"median {np.median(dice):.3f}  HD95 {line['hd95_mm']} mm")
    rows = enhancing(results)
    sizeable = [row["dice"] for row in rows if row["truth_ml"] > SIZEABLE_ML]
    absent = [round(row["prediction_ml"], 2) for row in rows if row["truth_ml"] == 0]
    if sizeable:
        print(f"enhancing over {SIZEABLE_ML} ml: n {len(sizeable)}  Dice {np.mean(sizeable):.3f}  "
              f"median {np.median(sizeable):.3f}")
    print(f"false enhancing tumour where there is none, ml: {absent}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / "brain")
    parser.add_argument("--choose-absorbed", action="store_true", help="from the scores that --out holds already")
    options, bundle_options = parser.parse_known_args()
    if options.choose_absorbed:
        choose_absorbed(json.loads(options.out.read_text())["patients"])
        return
    results = score_folds(options.run, options.data, bundle_options)
    options.out.write_text(json.dumps({"summary": summarise(results), "patients": results}, indent=1))
    report(results)


if __name__ == "__main__":
    main()
