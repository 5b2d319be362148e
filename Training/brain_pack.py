"""Pack the brain patients: what `afnet segment` shows the network of each, and the truth on the same grid.

    python Training/brain_pack.py ../shared/data/brain Training/packs/brain
"""

import sys
from pathlib import Path

import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "AutofocusSegmentation"))

from afnet.cases import make_case, nested_truth, save_case  # noqa: E402
from afnet.imaging import prepare  # noqa: E402
from afnet.manifest import find_model  # noqa: E402


def pack(patient: Path, folder: Path) -> Path:
    """Pack one patient's folder (t1, t1c, t2, flair, labels as .nii.gz)."""
    manifest = find_model("brain-tumour-mri")
    images = {item.name: sitk.ReadImage(str(patient / f"{item.name}.nii.gz")) for item in manifest.inputs}
    prepared = prepare(images, manifest)
    truth = nested_truth(sitk.ReadImage(str(patient / "labels.nii.gz")), manifest, prepared.grid)
    return save_case(make_case(patient.name, prepared, truth), folder)


if __name__ == "__main__":
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    for patient in sorted(source.iterdir()):
        if patient.is_dir():
            print(pack(patient, target))
