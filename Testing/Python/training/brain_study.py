"""Generated brain patients as files, and runs of a network whose answer is known, for the programs that score them."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from afnet.networks import AutofocusNetwork, NetworkPlan

CONTRASTS = ("t1", "t1c", "t2", "flair")
SIDES, SPACING_MM = (32, 34, 30), 4.0
BRAIN_MM, TUMOUR_MM = 54.0, 30.0
"""Radii of the brain and of the tumour in its middle, balls both."""


def distance_mm() -> np.ndarray:
    """Of every voxel (z, y, x) from the middle of the volume."""
    axes = np.meshgrid(*(np.arange(side) - side / 2 for side in SIDES), indexing="ij")
    return SPACING_MM * np.sqrt(sum(axis**2 for axis in axes))


def image(array: np.ndarray) -> sitk.Image:
    made = sitk.GetImageFromArray(array)
    made.SetSpacing((SPACING_MM,) * 3)
    return made


def write_patient(folder: Path, seed: int = 0) -> Path:
    """Write t1, t1c, t2, flair and labels: oedema (2), core (1) and enhancing tumour (4), one inside the other."""
    rng, distance = np.random.default_rng(seed), distance_mm()
    labels = np.select([distance < part * TUMOUR_MM for part in (0.4, 0.7, 1)], [4, 1, 2], 0).astype(np.uint8)
    folder.mkdir(parents=True)
    # Noise that most contrasts share, as in a brain: they correlate about as the model's document says.
    shared = rng.normal(0, 50, SIDES)
    for name, likeness in zip(CONTRASTS, (1.0, 0.5, -0.4, 0.3)):
        grey = 500 + likeness * shared + rng.normal(0, 50, SIDES) + 100 * (labels > 0) * (name != "t1")
        seen = np.where(distance < BRAIN_MM, grey, 0).astype(np.float32)
        sitk.WriteImage(image(seen), str(folder / f"{name}.nii.gz"))
    sitk.WriteImage(image(labels), str(folder / "labels.nii.gz"))
    return folder


def tumour_ml() -> float:
    """Volume of every patient's whole tumour."""
    return float((distance_mm() < TUMOUR_MM).sum()) * SPACING_MM**3 / 1000


def write_run(folder: Path, probabilities: tuple[float, ...] = (0.9, 0.1, 0.1), seed: int = 0) -> Path:
    """Leave averaged.pt and plan.json as a training does, of a network that answers `probabilities` everywhere.

    Returns the weights' file.
    """
    torch.manual_seed(seed)
    network = AutofocusNetwork(NetworkPlan("AFN-1", 4, 3, (4,) * 8))
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.copy_(torch.logit(torch.tensor(probabilities)))
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(asdict(network.plan)))
    torch.save(network.state_dict(), folder / "averaged.pt")
    return folder / "averaged.pt"
