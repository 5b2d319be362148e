"""Score a model folder on patients: `afnet segment` from the files, then `afnet evaluate` on what it wrote.

    python Training/score.py --model FOLDER --out scores.json PATIENT_FOLDER…            (t1, t1c, t2, flair, labels)
    python Training/score.py --model FOLDER --out scores.json --only bladder,rectum ../shared/data/pelvis/umea

Writes the rows of every patient and, per structure, mean and standard deviation of Dice and mean HD95.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from repository import REPOSITORY

import numpy as np

from afnet.evaluation import format_table
from afnet.models.manifest import read_manifest


def afnet(*arguments: str) -> str:
    """Run one command of the engine and return what it printed."""
    command = [sys.executable, str(REPOSITORY / "AutofocusSegmentation" / "afnet" / "__main__.py"), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def score(model: Path, patient: Path, only: str = "") -> dict:
    """Segment and evaluate one patient's folder; returns its rows, seconds and peak memory.

    `only`: the structures that the truth holds, joined by commas; all of the model's if empty.
    """
    chosen = ["--only", only] if only else []  # an empty list is refused
    manifest = read_manifest(model)
    with tempfile.TemporaryDirectory() as folder:
        inputs = [f"--input={item.name}={patient / item.name}.nii.gz" for item in manifest.inputs]
        report, labels = Path(folder, "report.json"), Path(folder, "labels.nii.gz")
        afnet("segment", "--model", str(model), *inputs, "--output", str(Path(folder, "result.seg.nrrd")),
              "--labelmap", str(labels), "--report", str(report), "--progress", "none")
        rows = json.loads(afnet("evaluate", "--model", str(model), "--truth", str(patient / "labels.nii.gz"),
                                "--prediction", str(labels), *chosen, "--json"))
        facts = json.loads(report.read_text())
    return {"patient": patient.name, "rows": rows, **{key: facts[key] for key in ("seconds", "peak_memory_mb")}}


def summarise(results: list[dict]) -> list[dict]:
    """Per structure over the patients: n, mean and standard deviation of Dice, mean HD95 where it is defined.

    `hd95_n` says in how many that is, if not in all: truth and prediction must both have some of the structure.
    """
    structures = {}
    for result in results:
        for row in (row for row in result["rows"] if row["dice"] is not None):  # others are not drawn
            structures.setdefault(row["id"], []).append(row)
    summary = []
    for name, rows in structures.items():
        dice = [row["dice"] for row in rows]
        distances = [row["hd95_mm"] for row in rows if row["hd95_mm"] is not None]
        summary.append({
            "id": name, "n": len(rows),
            "dice": round(float(np.mean(dice)), 3), "dice_sd": round(float(np.std(dice)), 3),
            "hd95_mm": round(float(np.mean(distances)), 1) if distances else None,
        } | ({} if len(distances) == len(rows) else {"hd95_n": len(distances)}))
    return summary


def write_scores(file: Path, results: list[dict]) -> None:
    """Write the rows of every patient and their summary as JSON, and print the latter."""
    summary = summarise(results)
    file.write_text(json.dumps({"summary": summary, "patients": results}, indent=1))
    for row in summary:
        print(f"{row['id']:<20} n {row['n']}  Dice {row['dice']:.3f} ± {row['dice_sd']:.3f}  HD95 {row['hd95_mm']} mm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="structures that the truth holds")
    parser.add_argument("patients", type=Path, nargs="+")
    options = parser.parse_args()
    known = [structure.id for structure in read_manifest(options.model).structures]
    unknown = [name for name in options.only.split(",") if name and name not in known]
    if unknown:
        parser.error(f"the model has no structure {', '.join(unknown)}; it has {', '.join(known)}")
    results = []
    for patient in options.patients:
        results.append(score(options.model, patient, options.only))
        print(f"\n{patient.name}  {results[-1]['seconds']['total']} s  {results[-1]['peak_memory_mb']} MB")
        print(format_table(results[-1]["rows"]), flush=True)
    write_scores(options.out, results)


if __name__ == "__main__":
    main()
