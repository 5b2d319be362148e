"""Label-free checks of a model on every real scan and on the loose slices, as a table and a contact sheet.

    python Training/pelvis_real_checks.py --model FOLDER [--slices 20] [--sheet Training/runs/pelvis_real.png]

A loose slice is repeated over SLAB_MM, so that the network sees a short cylinder of a man: HU and order from left to
right and front to back can be judged there, volumes and levels cannot.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from repository import REPOSITORY

import numpy as np
import SimpleITK as sitk
from pelvis_checks import check, read_lps
from pelvis_contact_sheet import fit, grey
from pelvis_resampling import DATA
from PIL import Image
from score import afnet

SCANS = ("umea", "totalseg_example", "tcga_ov_female_unlabelled")
SLAB_MM = 60.0
SHEET_MM = 4.0
IN_A_SLICE = ("HU", "rectum behind", "left femur left", "midway")
"""Parts of the names of checks that mean something in a repeated slice."""


def slab(file: Path) -> sitk.Image:
    """One DICOM slice repeated over SLAB_MM, 3 mm apart."""
    cut = sitk.GetArrayFromImage(sitk.Cast(sitk.ReadImage(str(file)), sitk.sitkInt16))
    image = sitk.GetImageFromArray(np.repeat(cut, round(SLAB_MM / 3.0), axis=0))
    source = sitk.ReadImage(str(file))
    image.SetSpacing((*source.GetSpacing()[:2], 3.0))
    image.SetDirection(source.GetDirection())
    return image


def segment(model: Path, ct: Path, labels: Path) -> bool:
    """Run the engine on one file; False where it refuses (nothing of a pelvis was found)."""
    try:
        afnet("segment", "--model", str(model), "--input", f"ct={ct}", "--output", str(labels.with_name("s.seg.nrrd")),
              "--labelmap", str(labels), "--progress", "none")
    except subprocess.CalledProcessError as error:  # the engine has said why on stderr
        print(f"  refused (exit code {error.returncode})")
        return False
    return True


def tiles(ct: sitk.Image, labels: sitk.Image) -> np.ndarray:
    """Four axial cuts from the lowest to the highest label, and a coronal one."""
    size = [max(1, round(n * mm / SHEET_MM)) for n, mm in zip(ct.GetSize(), ct.GetSpacing())]
    place = (size, sitk.Transform(), sitk.sitkNearestNeighbor, ct.GetOrigin(), [SHEET_MM] * 3, ct.GetDirection())
    hu, codes = (sitk.GetArrayFromImage(sitk.Resample(image, *place, -1000.0 if image is ct else 0.0))
                 for image in (ct, labels))
    where = np.argwhere(codes > 0)
    low, middle, high = (where.min(0), where.mean(0).astype(int), where.max(0)) if len(where) else [
        np.zeros(3, int), np.array(hu.shape) // 2, np.array(hu.shape) - 1]
    cuts = [grey(hu[z], codes[z]) for z in np.linspace(low[0], high[0], 6).astype(int)[1:-1]]
    return np.concatenate([fit(cut) for cut in (*cuts, grey(hu[::-1, middle[1]], codes[::-1, middle[1]]))], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=20, help="how many of the loose slices")
    parser.add_argument("--sheet", type=Path, default=REPOSITORY / "Training" / "runs" / "pelvis_real.png")
    options = parser.parse_args()
    if not DATA.is_dir():
        parser.error(f"there is no pelvis data in {DATA}; put it there")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        jobs = [(name, DATA / name / "ct.nii.gz", False) for name in SCANS]
        for file in sorted((DATA / "loose_slices_unlabelled").glob("*.dcm"))[: options.slices]:
            sitk.WriteImage(slab(file), str(work / f"{file.stem}.nii.gz"))
            jobs.append((file.stem, work / f"{file.stem}.nii.gz", True))
        for name, file, single in jobs:
            print(name, flush=True)
            if not segment(options.model, file, work / "labels.nii.gz"):
                continue
            ct, labels = read_lps(str(file)), read_lps(str(work / "labels.nii.gz"))
            results = check(sitk.GetArrayFromImage(ct), sitk.GetArrayFromImage(labels), ct.GetSpacing()[::-1])
            if single:
                results = [r for r in results if any(part in r.name for part in IN_A_SLICE)]
            for r in results:
                verdict = "-" if r.passed is None else "ok" if r.passed else "FAILED"
                print(f"  {r.name:46s}{r.value:28s}{verdict}", flush=True)
            rows.append(tiles(ct, labels))
    if rows:
        options.sheet.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate(rows, 0)).save(options.sheet)
        print(options.sheet)


if __name__ == "__main__":
    main()
