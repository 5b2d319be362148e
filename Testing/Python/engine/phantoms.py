"""Synthetic studies in world coordinates, so that one patient can lie in the array in any way, and networks whose
answer is known beforehand.

A phantom is a function of LPS positions (…, 3) in mm; `sampled` puts it on a grid. The CT body (`ct_hounsfield`) is
an elliptic cylinder along z with fat, muscle and round organs; the brain (`mr_intensity`) an ellipsoid with a
nested tumour, 0 outside, in four contrasts. The patient's left is +x, the back +y, the head +z.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from tiny_model import tiny_document

from afnet.models.manifest import Manifest, read_manifest
from afnet.models.model_bundle import plan_of, save_bundle
from afnet.networks import AutofocusNetwork


def _orientations() -> list[np.ndarray]:
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            found.append(np.eye(3)[:, order] * signs)
    return found


ORIENTATIONS = _orientations()
"""The 48 ways in which array axes can lie along the patient's: columns are the LPS directions of x, y, z index."""

OBLIQUE = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
"""A rotation far from every axis."""

CT_BOX = (np.array([-96.0, -72.0, -48.0]), np.array([96.0, 96.0, 48.0]))
"""Field of view of the CT phantom: LPS corners of its voxels in mm; multiples of 3, 4 and 6 mm."""

CT_ORGANS = {3: ((2.0, -14.0, 6.0), 25.0), 5: ((47.0, 3.0, -2.0), 22.0), 6: ((-47.0, 3.0, -2.0), 22.0)}
"""Code: centre (LPS) and radius in mm of bladder, left femur and right femur."""

CT_ORGAN_HU = {3: -5.0, 5: 500.0, 6: 500.0}

BRAIN_BOX = (np.array([-72.0, -84.0, -66.0]), np.array([72.0, 84.0, 66.0]))
BRAIN_RADII = np.array([52.0, 66.0, 48.0])
TUMOUR = {2: ((18.0, 12.0, 8.0), 24.0), 1: ((18.0, 12.0, 8.0), 16.0), 4: ((18.0, 14.0, 8.0), 9.0)}
"""Code: centre and radius in mm, each inside the one before."""

MODALITIES = ("t1", "t1c", "t2", "flair")

TISSUE = {
    "t1": (600, 450, 400, 500),
    "t1c": (620, 450, 420, 1100),
    "t2": (500, 800, 900, 700),
    "flair": (450, 900, 700, 650),
}
"""Intensity of brain, oedema (2), core (1) and enhancing tumour (4)."""


def empty_grid(box, spacing, direction=None) -> sitk.Image:
    """A float32 image over a world box. The voxel centres of every orientation of ORIENTATIONS are the same."""
    direction = np.eye(3) if direction is None else direction
    low, high = box
    extent = np.abs(direction).T @ (high - low)
    size = np.maximum(np.round(extent / spacing), 2).astype(int)
    image = sitk.Image([int(n) for n in size], sitk.sitkFloat32)
    image.SetSpacing([float(s) for s in np.broadcast_to(spacing, 3)])
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(((low + high) / 2 - direction @ ((size - 1) / 2 * spacing)).tolist())
    return image


def world(image: sitk.Image) -> np.ndarray:
    """LPS positions (z, y, x, 3) in mm of the voxel centres."""
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in image.GetSize()], indexing="ij"), axis=-1)
    matrix = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    return (index @ matrix.T + image.GetOrigin()).transpose(2, 1, 0, 3)


def like(array: np.ndarray, image: sitk.Image) -> sitk.Image:
    """Wrap `array` (z, y, x) in the geometry of `image`."""
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(image)
    return result


def sampled(image: sitk.Image, function, dtype=np.float32) -> sitk.Image:
    return like(function(world(image)).astype(dtype), image)


def _ball(points, centre, radius) -> np.ndarray:
    return ((points - np.array(centre)) ** 2).sum(-1) <= radius**2


def ct_hounsfield(points: np.ndarray) -> np.ndarray:
    """HU of a body of 1.4 l with bladder and femoral heads, on a couch."""
    x, y, _ = np.moveaxis(points, -1, 0)
    ellipse = (x / 80) ** 2 + (y / 60) ** 2
    values = np.full(x.shape, -1000.0)
    values[ellipse <= 1] = -100.0
    values[ellipse <= 0.8] = 60.0
    for code, (centre, radius) in CT_ORGANS.items():
        values[_ball(points, centre, radius)] = CT_ORGAN_HU[code]
    values[(np.abs(y - 80) < 5) & (np.abs(x) < 70)] = -150.0
    return values


def ct_codes(points: np.ndarray) -> np.ndarray:
    """Label codes of the pelvis model."""
    codes = np.zeros(points.shape[:-1])
    for code, (centre, radius) in CT_ORGANS.items():
        codes[_ball(points, centre, radius)] = code
    return codes


def ct_image(direction=None, spacing=3.0, box=CT_BOX) -> sitk.Image:
    return sampled(empty_grid(box, spacing, direction), ct_hounsfield, np.int16)


def mr_codes(points: np.ndarray) -> np.ndarray:
    """Label codes of the brain model."""
    codes = np.zeros(points.shape[:-1])
    for code, (centre, radius) in TUMOUR.items():
        codes[_ball(points, centre, radius)] = code
    return codes


def mr_intensity(points: np.ndarray, modality: str) -> np.ndarray:
    """One contrast of a brain of 690 ml with a slow gradient, 0 outside."""
    brain, oedema, core, enhancing = TISSUE[modality]
    codes = mr_codes(points)
    values = np.choose(np.searchsorted([0, 1, 2, 4], codes), [brain, core, oedema, enhancing]).astype(float)
    values += points[..., 0] + 0.5 * points[..., 2]
    return np.where(((points / BRAIN_RADII) ** 2).sum(-1) <= 1, values, 0.0)


def mr_images(direction=None, spacing=3.0) -> dict[str, sitk.Image]:
    grid = empty_grid(BRAIN_BOX, spacing, direction)
    return {name: sampled(grid, lambda points, name=name: mr_intensity(points, name), np.int16) for name in MODALITIES}


def write_images(folder: Path, images: dict[str, sitk.Image], suffix=".nrrd") -> dict[str, str]:
    """Write images to folder/<name><suffix>; return the files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: str(folder / f"{name}{suffix}") for name in images}
    for name, image in images.items():
        sitk.WriteImage(image, files[name])
    return files


def at_same_place(image: sitk.Image, grid: sitk.Image) -> np.ndarray:
    """Values (z, y, x) of a label map at the voxel centres of `grid`, nearest neighbour; 255 outside."""
    return sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 255))


def centroid(mask: np.ndarray, image: sitk.Image) -> np.ndarray:
    """Mean LPS position in mm of the voxels of `mask` (z, y, x)."""
    return world(image)[mask].mean(axis=0)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)


def carry(network: AutofocusNetwork, shift=(0, 0, 0)) -> None:
    """Set weights so that the last hidden layer holds max(x, 0) and max(−x, 0) of every channel, moved by `shift`.

    `shift` (x, y, z), −2…2 voxels: the output at p is the input at p − shift. Needs widths of twice the inputs.
    """
    inputs = network.plan.inputs
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" not in name and "attention" not in name:
                parameter.zero_()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.running_var.fill_(1 - module.eps)
        left = np.array(shift[::-1])
        for number, layer in enumerate(network.stem):
            step = np.clip(left, -1, 1)
            left = left - step
            tap = tuple(1 - step)
            for channel in range(inputs):
                pair = slice(2 * channel, 2 * channel + 2)
                layer.weight[(pair, slice(channel, channel + 1) if number == 0 else pair, *tap)] = (
                    torch.tensor([[1.0], [-1.0]]) if number == 0 else torch.eye(2)
                )
        assert not left.any(), "the two layers of the stem move by two voxels at most"


def known_network(folder: Path, model: str, logits, bias, shift=(0, 0, 0), name="AFN-2", **changes) -> Manifest:
    """Write a bundle whose logits are `logits` (R × C) times the channels at p − shift, plus `bias` (R)."""
    document = tiny_document(model, **changes)
    channels = len(document["channels"])
    document["network"] |= {"name": name, "widths": [2 * channels] * 8}
    document["weights_sha256"] = "0" * 64
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(document), encoding="utf-8")
    network = AutofocusNetwork(plan_of(read_manifest(folder)))
    carry(network, shift)
    with torch.no_grad():
        matrix = torch.tensor(np.asarray(logits, np.float32).tolist())
        weight = torch.stack([matrix, -matrix], dim=2).reshape(matrix.shape[0], -1)
        network.classifier.weight.copy_(weight[:, :, None, None, None])
        network.classifier.bias.copy_(torch.tensor(bias, dtype=torch.float32))
    return save_bundle(folder, document, network)


CT_CHANNEL = [{"input": "ct", "normalisation": "window", "window_hu": [-1000, 1000]}]
"""One channel: (HU + 1000) / 2000."""


def bone_network(folder: Path, shift=(0, 0, 0), spacing=4.0) -> Manifest:
    """A pelvis model of one channel that calls 'left femur' (5) what is above 250 HU, moved by `shift` voxels."""
    logits, bias = np.zeros((7, 1)), np.zeros(7)
    logits[5], bias[5] = 200.0, -200.0 * 0.625
    bias[[1, 2, 3, 4, 6]] = -50.0
    return known_network(
        folder,
        "pelvis-ct",
        logits,
        bias.tolist(),
        shift,
        channels=CT_CHANNEL,
        grid={"spacing_mm": spacing, "margin_mm": 12.0},
        decoding={"kind": "argmax", "codes": [0, 1, 2, 3, 4, 5, 6]},
    )
