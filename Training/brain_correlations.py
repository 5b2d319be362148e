"""How the contrasts of a brain correlate: the rows `correlations` of the model's manifest, and what they find.

    python Training/brain_correlations.py ../shared/data/brain

Prints a row for each pair of inputs, and, with each patient left out of the rows in turn, by how much log-likelihood
the right order falls short, and how many of the wrong orders `afnet segment` would tell the user of.
"""

import argparse
import json
from itertools import combinations, permutations
from pathlib import Path

import repository

import numpy as np

from afnet.images.reading import read_image
from afnet.models.manifest import Manifest, find_model
from afnet.preprocessing.exchanged_inputs import FAR_LIKELIER, FARTHEST, best_order, expected
from afnet.preprocessing.imaging import prepare


def correlations(patient: Path, manifest: Manifest) -> np.ndarray:
    """(inputs, inputs), within the brain on the working grid, of a folder with a .nii.gz for each input."""
    images = {item.name: read_image(patient / f"{item.name}.nii.gz", item.title, item.modality)
              for item in manifest.inputs}
    prepared = prepare(images, manifest)
    return np.corrcoef(prepared.channels[:, prepared.mask > 0])


def rows(names: list[str], measured: list[np.ndarray]) -> list[dict]:
    """One row of the manifest for each pair of inputs: mean and standard deviation over patients."""
    pairs = combinations(range(len(names)), 2)
    return [
        {"inputs": [names[one], names[other]],
         "mean": round(float(np.mean([matrix[one, other] for matrix in measured])), 2),
         "sd": round(float(np.std([matrix[one, other] for matrix in measured])), 2)}
        for one, other in pairs
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("patients", type=Path)
    options = parser.parse_args()
    manifest = find_model("brain-tumour-mri")
    names = [item.name for item in manifest.inputs]
    measured = [correlations(folder, manifest) for folder in sorted(options.patients.iterdir()) if folder.is_dir()]
    for row in rows(names, measured):
        print(json.dumps(row))
    others = [measured[:number] + measured[number + 1:] for number in range(len(measured))]
    models = [expected(names, rows(names, rest)) for rest in others]
    for order in permutations(range(len(names))):
        found = [best_order(matrix[np.ix_(order, order)], model)[1:] for matrix, model in zip(measured, models)]
        lacks = [lack for lack, _ in found]
        told = sum(lack > FAR_LIKELIER and distance <= FARTHEST for lack, distance in found)
        print(*(names[image] for image in order), f"lacks {min(lacks):.1f} to {max(lacks):.1f},",
              f"told of {told} of {len(found)}")


if __name__ == "__main__":
    main()
