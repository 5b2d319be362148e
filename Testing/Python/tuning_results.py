"""What the engine leaves in the folder of a fine-tuned model, made by its own writers, without a training."""

import json
import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from afnet.models.manifest import find_model
from afnet.output.writing import write_segmentation

SCORES = {"bladder": (0.61, 0.80), "rectum": (0.55, 0.57)}


def make_image(file: Path, size=(30, 26, 22)) -> Path:
    """An image as exported: size (i, j, k)."""
    image = sitk.GetImageFromArray(np.full(size[::-1], -1000, np.int16))
    image.SetSpacing((2.0, 2.0, 3.0))
    image.SetOrigin((-20.0, 15.0, 40.0))
    file.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(file))
    return file


def write_case(folder: Path, name: str, image_file: Path, manifest) -> dict:
    """The three segmentations of a held-out case, and its entry of comparison.json."""
    image = sitk.ReadImage(str(image_file))
    places = {"reference": 4, "base": 8, "new": 5}
    target = folder / "training" / "comparison" / name.replace(" ", "-")
    target.mkdir(parents=True)
    for role, start in places.items():
        codes = np.zeros(image.GetSize()[::-1], np.uint8)
        for number, item in enumerate(manifest.raw["labelmap"]):
            codes[start : start + 4, 3:8, 2 + 4 * number : 5 + 4 * number] = item["code"]
        labels = sitk.GetImageFromArray(codes)
        labels.CopyInformation(image)
        write_segmentation(target / f"{role}.seg.nrrd", labels, manifest, {"structures": []})
    structures = [
        {"id": structure, "name": structure.capitalize(), "reference_ml": 200.0, "difference": round(new - base, 2),
         "base": {"dice": base, "hd95_mm": 21.0, "volume_ml": 180.0},
         "new": {"dice": new, "hd95_mm": 9.0, "volume_ml": 205.0}}
        for structure, (base, new) in SCORES.items()
    ]
    return {"name": name, "folder": target.relative_to(folder).as_posix(), "reference_input": str(image_file),
            "structures": structures, "base_dice": 0.58, "new_dice": 0.69, "difference": 0.11, "notes": []}


def write_comparison(folder: Path, cases=(), verdict="better", advice="It may be used.", **changes) -> dict:
    """training/comparison.json for the entries that `write_case` returned."""
    recommended = {"better": True, "similar": True, "worse": False}.get(verdict)
    document = {
        "verdict": verdict, "advice": advice, "recommended": recommended, "how": "held-out" if cases else "none",
        "epochs": 20, "settings": {"tune": "attention", "epochs_chosen_by": "fixed"}, "cases": list(cases),
        "structures": [
            {"id": structure, "name": structure.capitalize(), "n": len(cases), "base_dice": base, "new_dice": new,
             "difference": round(new - base, 2), "improved": 1, "worsened": 0}
            for structure, (base, new) in SCORES.items()
        ] if cases else [],
        "overall": None, "original": None, **changes,
    }
    (folder / "training").mkdir(parents=True, exist_ok=True)
    (folder / "training" / "comparison.json").write_text(json.dumps(document), encoding="utf-8")
    return document


def write_candidate(folder: Path, model="pelvis-ct", title="Pelvis of our scanner") -> Path:
    """training/candidate: the bundled model under the folder's name; the weights are its own, so its hashes fit."""
    base, target = find_model(model), folder / "training" / "candidate"
    target.mkdir(parents=True)
    for member in base.members:
        shutil.copyfile(member.weights_file, target / member.weights_name)
    document = json.loads((base.folder / "model.json").read_text(encoding="utf-8"))
    (target / "model.json").write_text(json.dumps(document | {"id": folder.name, "title": title}), encoding="utf-8")
    return target


def write_state(folder: Path, status="stopped", epoch=3, checkpoint=True, problem=None, **changes) -> None:
    """training/state.json and, as after the first pass, a checkpoint. changes: of the process (pid, started, host,
    owner), and others."""
    training = folder / "training"
    training.mkdir(parents=True, exist_ok=True)
    state = {"status": status, "base": "pelvis-ct", "tune": "attention", "run": "final", "epoch": epoch, "epochs": 20,
             "cases": 3, "problem": problem} | changes
    (training / "state.json").write_text(json.dumps(state), encoding="utf-8")
    (training / "request.json").write_text("{}", encoding="utf-8")
    if checkpoint:
        (training / "runs" / "final").mkdir(parents=True, exist_ok=True)
        (training / "runs" / "final" / "checkpoint.pt").write_bytes(b"x" * 5000)
        (training / "cache").mkdir(exist_ok=True)
        (training / "cache" / "case-0001.npz").write_bytes(b"x" * 3_000_000)
