"""Pack the brain patients: what `afnet segment` shows the network of each, and the truth on the same grid.

    python Training/brain_pack.py ../shared/data/brain Training/packs/brain-1.5
    python Training/brain_pack.py ../shared/data/brain Training/packs/brain --spacing 2      (the companion's grid)
"""

import argparse
from dataclasses import replace
from pathlib import Path

import repository

import SimpleITK as sitk

from afnet.learning.cases import make_case, truth_of
from afnet.learning.packed_case import save_case
from afnet.models.manifest import Manifest, find_model
from afnet.preprocessing.imaging import prepare


def pack(patient: Path, folder: Path, manifest: Manifest) -> Path:
    """Pack one patient's folder (t1, t1c, t2, flair, labels as .nii.gz)."""
    images = {item.name: sitk.ReadImage(str(patient / f"{item.name}.nii.gz")) for item in manifest.inputs}
    prepared = prepare(images, manifest)
    truth = truth_of(sitk.ReadImage(str(patient / "labels.nii.gz")), manifest, prepared.grid)
    return save_case(make_case(patient.name, prepared, truth), folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("patients", type=Path)
    parser.add_argument("packs", type=Path)
    parser.add_argument("--spacing", type=float, help="mm of the working grid, where it is not the bundled model's")
    options = parser.parse_args()
    manifest = find_model("brain-tumour-mri")
    if options.spacing:
        manifest = replace(manifest, spacing=options.spacing)
    for patient in sorted(options.patients.iterdir()):
        if patient.is_dir():
            print(pack(patient, options.packs, manifest))


if __name__ == "__main__":
    main()
