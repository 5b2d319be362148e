"""Dice of a model in the twenty drawn slices (pelvis_slices.py), from the files, beside what both observers agree.

    python Training/pelvis_slices_score.py --model FOLDER [--half slices_b] [--out slices.json]

Each man's short scan is segmented as `afnet segment` does it, and compared in the two slices that are real. Honest only
for men who were not in the model's training: `--half` names the half that was left out.
"""

import argparse
import json
import tempfile
from pathlib import Path

import repository

import numpy as np
import SimpleITK as sitk
from pelvis_drawings import CODES, drawings, drawn_codes
from pelvis_real_checks import segment
from pelvis_scans.packs import SLICE_PACKS
from pelvis_slices import MEN, levels, pack_name, short_scan

from afnet.evaluation import dice


def dice_of(one: np.ndarray, other: np.ndarray) -> float | None:
    """Dice of two masks; None where both are empty, which in a slice says nothing of a structure."""
    return dice(one, other) if one.any() or other.any() else None


def score_man(man: int, model: Path, work: Path) -> list[dict]:
    """Rows of both slices: per structure the Dice with the first and the second observer and of the two, and its area
    as part of the mean of theirs; None for an observer who drew the structure in no slice of anyone.

    Where the engine refuses the scan nothing counts as found.
    """
    scan, gap = short_scan(man)
    sitk.WriteImage(scan, str(work / "ct.nii.gz"))
    result = np.zeros(scan.GetSize()[::-1], np.uint8)
    if segment(model, work / "ct.nii.gz", work / "labels.nii.gz"):
        result = sitk.GetArrayFromImage(sitk.ReadImage(str(work / "labels.nii.gz")))
    rows = []
    for number, height in ((man, 0.0), (man + 1, gap)):
        found = result[int(np.abs(levels(gap) - height).argmin())]
        codes = [drawn_codes(each[str(number)], found.shape, scan.GetSpacing()[0]) for each in drawings()["slices"]]
        for name, code in CODES.items():
            drawn = [of == code if has_drawn(who, name) else None for who, of in enumerate(codes)]
            rows.append({"slice": number, "structure": name} | compared(found == code, *drawn))
    return [row for row in rows if row["first"] is not None or row["second"] is not None]


def has_drawn(observer: int, name: str) -> bool:
    """Whether an observer of the slices drew a structure in any of them."""
    return any(name in polygons for polygons in drawings()["slices"][observer].values())


def compared(found: np.ndarray, first: np.ndarray | None, second: np.ndarray | None) -> dict[str, float | None]:
    """A row's numbers for one structure in one slice (masks; None: that observer drew no such structure)."""
    drawn = [mask for mask in (first, second) if mask is not None]
    area = np.mean([mask.sum() for mask in drawn])
    return {"first": None if first is None else dice_of(found, first),
            "second": None if second is None else dice_of(found, second),
            "observers": dice_of(first, second) if len(drawn) == 2 else None,
            "size": float(found.sum() / area) if area else None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--half", choices=tuple(SLICE_PACKS), help="only the men of this half")
    parser.add_argument("--out", type=Path, help="write every row to this file (JSON)")
    options = parser.parse_args()
    men = [man for man in MEN if not options.half or pack_name(man) in SLICE_PACKS[options.half]]
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for man in men for row in score_man(man, options.model, Path(folder))]
    for name in CODES:
        parts = []
        for key in ("first", "second", "observers", "size"):
            values = [row[key] for row in rows if row["structure"] == name and row[key] is not None]
            parts.append(f"{key} {np.mean(values):.3f}, median {np.median(values):.3f}" if values else f"{key} -")
        print(f"{name:10s}", "; ".join(parts), f"({len({r['slice'] for r in rows if r['structure'] == name})} slices)")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
