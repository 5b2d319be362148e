"""A training case on disk. Needs numpy only.

Packed as compressed .npz without pickle: channels as int8 in steps of 1/`CHANNEL_STEPS`, truth as uint8 in steps
of 1/255.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..preprocessing.grid import WorkingGrid

UNREADABLE = (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading an .npz raises that is missing, cut, damaged (a bit may say that it is encrypted), or of another kind.
"""

CHANNEL_STEPS = 25
"""Quantisation of packed channels: ±5 standard deviations fit int8 at 0.04 a step."""


@dataclass(frozen=True)
class Case:
    """`channels` (C, z, y, x) and `truth` (R, z, y, x), the part of each voxel in [0, 1], float32; and the `mask`."""

    name: str
    channels: np.ndarray
    truth: np.ndarray
    mask: np.ndarray
    grid: WorkingGrid


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
            pack["mask"].astype(bool), WorkingGrid(tuple(numbers[:3]), tuple(numbers[3:]), float(pack["spacing"])),
        )
