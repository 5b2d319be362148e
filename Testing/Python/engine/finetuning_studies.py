"""Small generated patients for fine-tuning: two scanners, one body each time, and a base model that knows the first.

A patient is an elliptic body with a bladder and two femoral heads, each somewhere else and of another size. The second
scanner shows the same organs with other intensities.
"""

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from phantoms import CT_BOX, empty_grid, like, world
from tiny_model import tiny_document

from afnet.manifest import Manifest, read_manifest
from afnet.model_bundle import plan_of, save_bundle
from afnet.networks import AutofocusNetwork

GRID = {"spacing_mm": 6.0, "margin_mm": 6.0}
"""Working grid on which a patient is a cube of some thirty voxels."""

CODES = {"bladder": 3, "femur_left": 5, "femur_right": 6}

KNOWN_SCANNER = {"muscle": 60.0, "bladder": 0.0, "bone": 500.0}
OTHER_SCANNER = {"muscle": 0.0, "bladder": 75.0, "bone": 250.0}
"""HU; on the other scanner the bladder is brighter than the muscle (contrast agent)."""


def patient(seed: int, scanner: dict) -> tuple[sitk.Image, sitk.Image]:
    """CT (HU, int16) and label map of the `seed`-th patient on a scanner; 4 mm voxels."""
    rng = np.random.default_rng(seed)
    grid = empty_grid(CT_BOX, 4.0)
    points = world(grid)
    x, y, _ = np.moveaxis(points, -1, 0)
    ellipse = (x / 80) ** 2 + (y / 60) ** 2
    values, codes = np.full(x.shape, -1000.0), np.zeros(x.shape, np.uint8)
    values[ellipse <= 1] = -100.0
    values[ellipse <= 0.8] = scanner["muscle"]
    places = {"bladder": (0, -16, 4), "femur_left": (46, 6, 0), "femur_right": (-46, 6, 0)}
    for name, place in places.items():
        centre = np.array(place) + rng.uniform(-5, 5, 3)
        inside = ((points - centre) ** 2).sum(-1) <= rng.uniform(18, 24) ** 2
        values[inside] = scanner["bladder" if name == "bladder" else "bone"]
        codes[inside] = CODES[name]
    values += rng.normal(0, 10, x.shape)
    return like(values.astype(np.int16), grid), like(codes, grid)


def write_patient(folder: Path, seed: int, scanner: dict, keep: tuple[str, ...] = tuple(CODES)) -> dict:
    """Write a patient; return its entry of cases.json, with the structures of `keep` drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    image, labels = patient(seed, scanner)
    array = sitk.GetArrayFromImage(labels)
    array[~np.isin(array, [0, *(CODES[name] for name in keep)])] = 0
    sitk.WriteImage(image, str(folder / "ct.nrrd"))
    sitk.WriteImage(like(array, labels), str(folder / "labels.nrrd"))
    return {
        "name": f"case {seed}", "inputs": {"ct": str(folder / "ct.nrrd")}, "segmentation": str(folder / "labels.nrrd"),
    }


def write_cases(folder: Path, seeds, scanner: dict, **document) -> Path:
    """Write patients and their cases.json; return its path."""
    cases = [write_patient(folder / str(seed), seed, scanner) for seed in seeds]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.json").write_text(json.dumps({"cases": cases} | document))
    return folder / "cases.json"


def document_of_three(**changes) -> dict:
    """The tiny pelvis model's document with bladder and femora alone."""
    document = tiny_document("pelvis-ct", grid=GRID, weights_sha256="0" * 64, **changes)
    document["structures"] = [item for item in document["structures"] if item["id"] in CODES]
    document["labelmap"] = [item for item in document["labelmap"] if item["code"] in CODES.values()]
    document["decoding"] = {"kind": "argmax", "codes": [0, 3, 5, 6], "minimum_ml": 0.0}
    document["network"] |= {"name": "AFN-1", "widths": [8] * 8, "rates": [1, 2, 4]}
    return document


def write_base(folder: Path, network: AutofocusNetwork, **changes) -> Manifest:
    return save_bundle(folder, document_of_three(**changes), network)


def empty_network(folder: Path) -> AutofocusNetwork:
    """The untrained network of `document_of_three`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(document_of_three()))
    return AutofocusNetwork(plan_of(read_manifest(folder)))
