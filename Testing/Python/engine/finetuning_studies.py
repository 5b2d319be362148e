"""Small generated patients for fine-tuning, on two scanners, and a base model made by hand that knows the first.

A patient is an elliptic body with a bladder and a left femoral head, each somewhere else and of another size. The base
model takes 40…250 HU for bladder and more for bone; on the other scanner all is darker, so that it finds bladder
where bone is, and no bladder.
"""

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from phantoms import CT_BOX, CT_CHANNEL, empty_grid, known_network, like, world
from tiny_model import tiny_document

from afnet.cli import run
from afnet.learning.training import norms_of, reestimate_norms
from afnet.models.manifest import Manifest
from afnet.models.model_bundle import load_network, save_bundle
from afnet.preprocessing.imaging import prepare
from afnet.tensors import to_torch

SPACING = 8.0
CODES = {"bladder": 3, "femur_left": 5}

KNOWN_SCANNER = {"muscle": 0.0, "bladder": 140.0, "femur_left": 420.0}
OTHER_SCANNER = {"muscle": -80.0, "bladder": 30.0, "femur_left": 220.0}
"""HU."""

DIM_SCANNER = KNOWN_SCANNER | {"gain": 0.8}
"""All that is above air is darker, by one factor: what a normalisation by the images' own statistics undoes."""


def patient(seed: int, scanner: dict) -> tuple[sitk.Image, sitk.Image]:
    """CT (HU, int16) and label map of the `seed`-th patient on a scanner; 8 mm voxels."""
    rng = np.random.default_rng(seed)
    grid = empty_grid(CT_BOX, SPACING)
    points = world(grid)
    x, y, _ = np.moveaxis(points, -1, 0)
    ellipse = (x / 80) ** 2 + (y / 60) ** 2
    values, codes = np.full(x.shape, -1000.0), np.zeros(x.shape, np.uint8)
    values[ellipse <= 1] = -100.0
    values[ellipse <= 0.8] = scanner["muscle"]
    for name, place in (("bladder", (-20, -12, 4)), ("femur_left", (42, 6, 0))):
        centre = np.array(place) + rng.uniform(-5, 5, 3)
        inside = ((points - centre) ** 2).sum(-1) <= rng.uniform(22, 28) ** 2
        values[inside], codes[inside] = scanner[name], CODES[name]
    values += rng.normal(0, 5, x.shape)
    values = (values + 1000) * scanner.get("gain", 1.0) - 1000
    return like(values.astype(np.int16), grid), like(codes, grid)


def write_patient(folder: Path, seed: int, scanner: dict, drawn: tuple[str, ...] = tuple(CODES)) -> dict:
    """Write a patient; return its entry of cases.json, with the structures of `drawn` drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    image, labels = patient(seed, scanner)
    codes = sitk.GetArrayFromImage(labels)
    codes[~np.isin(codes, [CODES[name] for name in drawn])] = 0
    sitk.WriteImage(image, str(folder / "ct.nrrd"))
    sitk.WriteImage(like(codes, labels), str(folder / "labels.nrrd"))
    return {"name": f"case {seed}", "inputs": {"ct": f"{folder.name}/ct.nrrd"},
            "segmentation": f"{folder.name}/labels.nrrd"}


def write_cases(folder: Path, seeds, scanner: dict = OTHER_SCANNER, drawn=tuple(CODES), **document) -> Path:
    """Write patients and their cases.json; return its path."""
    cases = [write_patient(folder / f"patient-{seed}", seed, scanner, drawn) for seed in seeds]
    return write_list(folder, cases, **document)


def write_list(folder: Path, cases: list[dict], **document) -> Path:
    (folder / "cases.json").write_text(json.dumps({"cases": cases} | document))
    return folder / "cases.json"


def write_base(folder: Path, **changes) -> Manifest:
    """The base model: bladder where HU/2000 + 0.5 is 0.52…0.625, bone above, by logits linear in it."""
    document = tiny_document("pelvis-ct")
    known = {
        "channels": CT_CHANNEL, "grid": {"spacing_mm": SPACING, "margin_mm": SPACING},
        "decoding": {"kind": "argmax", "codes": [0, 3, 5], "minimum_ml": 0.0},
        "structures": [item for item in document["structures"] if item["id"] in CODES],
        "labelmap": [item for item in document["labelmap"] if item["code"] in CODES.values()],
        "id": "known-scanner",
    }
    logits, bias = [[0.0], [40.0], [80.0]], [0.0, -40 * 0.52, -80 * 0.5725]
    return known_network(folder, "pelvis-ct", logits, bias, name="AFN-1", **(known | changes))


def write_normalised_base(folder: Path, seeds) -> Manifest:
    """The base model with the statistics of patients of the known scanner, and the scale and shift that undo them."""
    base = write_base(folder)
    network = load_network(base)
    images = [patient(seed, KNOWN_SCANNER)[0] for seed in seeds]
    volumes = [to_torch(prepare({"ct": image}, base).channels) for image in images]
    for norm in norms_of(network):  # from the input on: the statistics of a layer are of what comes before it
        reestimate_norms(network, volumes)
        norm.weight.data.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.data.copy_(norm.running_mean)
    return save_bundle(folder, base.raw, network)


def finetune(base: Manifest | None, cases: Path | None, output: Path, *more) -> int:
    """Run `afnet finetune` in this process with few, quick steps; returns the exit code."""
    arguments = ["finetune", "--output", output, "--device", "cpu", "--progress", "none"]
    if base is not None:
        arguments += ["--base", base.folder, "--cases", cases, "--learning-rate", "0.02", "--samples-per-case", "2"]
    return run([str(argument) for argument in [*arguments, *more]])


def epochs_of(output: Path) -> list[dict]:
    """The `epoch` events of a run's log."""
    lines = (output / "training" / "log.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "epoch"]
