"""A training case: what inference sees of one patient, with the truth on the same working grid.

Packed as compressed .npz without pickle: channels as int8 in steps of 1/`CHANNEL_STEPS`, truth as uint8 in steps
of 1/255.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch.nn import functional as F

from .imaging import Grid, Prepared, like, smooth_for
from .manifest import Manifest

CHANNEL_STEPS = 25
"""Quantisation of packed channels: ±5 standard deviations fit int8 at 0.04 a step."""


@dataclass(frozen=True)
class Case:
    """`channels` (C, z, y, x) and `truth` (R, z, y, x), the part of each voxel in [0, 1], float32; and the `mask`."""

    name: str
    channels: np.ndarray
    truth: np.ndarray
    mask: np.ndarray
    grid: Grid


def structure_on_grid(inside: sitk.Image, grid: Grid) -> np.ndarray:
    """Return the part of each grid voxel that a binary image fills, by area averaging, in [0, 1]."""
    return np.clip(grid.resample(smooth_for(sitk.Cast(inside, sitk.sitkFloat32), grid.spacing), 0.0), 0, 1)


def nested_truth(labels: sitk.Image, manifest: Manifest, grid: Grid) -> np.ndarray:
    """Return one channel per structure of the manifest (R, z, y, x) from a label map with its codes."""
    array = sitk.GetArrayViewFromImage(labels)
    parts = []
    for structure in manifest.structures:
        inside = like(np.isin(array, structure.labels).astype(np.uint8), labels)
        parts.append(structure_on_grid(inside, grid))
    return np.stack(parts)


def make_case(name: str, prepared: Prepared, truth: np.ndarray) -> Case:
    """Join what `imaging.prepare` returned with the truth on its grid."""
    return Case(name, prepared.channels, truth, prepared.mask, prepared.grid)


def save_case(case: Case, folder: Path) -> Path:
    """Write `case` to folder/<name>.npz and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{case.name}.npz"
    np.savez_compressed(
        file,
        channels=np.round(np.clip(case.channels, -5, 5) * CHANNEL_STEPS).astype(np.int8),
        truth=np.round(case.truth * 255).astype(np.uint8),
        mask=case.mask.astype(np.uint8),
        grid=np.array([*case.grid.first, *case.grid.size], np.int64),
        spacing=np.float64(case.grid.spacing),
    )
    return file


def load_case(file: Path) -> Case:
    """Read what `save_case` wrote."""
    with np.load(file, allow_pickle=False) as pack:
        numbers = [int(number) for number in pack["grid"]]
        return Case(
            file.stem, pack["channels"].astype(np.float32) / CHANNEL_STEPS, pack["truth"].astype(np.float32) / 255,
            pack["mask"].astype(bool), Grid(tuple(numbers[:3]), tuple(numbers[3:]), float(pack["spacing"])),
        )


def likely_classes(share: torch.Tensor) -> torch.Tensor:
    """Classes that a voxel belongs to by its shares (classes, z, y, x): what fills most of it, else the largest.

    Returns 0 or 1, float32, of the same shape; shares may add up to more than 1 where outlines overlap.
    """
    largest = F.one_hot(share.argmax(0), share.shape[0]).movedim(-1, 0)
    return ((share > 0.5) | (largest > 0)).to(torch.float32)
