"""The attention of every autofocus layer as volumes on the working grid.

Per layer: the focus map, the expected reach Σ_k Λ^k r_k in mm, and one map per rate.
"""

from pathlib import Path

import numpy as np
import torch

from .autofocus import AutofocusLayer
from .imaging import Grid
from .tensors import to_numpy
from .writing import write_volume

ATTENTION_STEPS = 255
"""A stored map's value for an attention of 1."""


class AttentionMaps:
    """Collects the maps of a pass as uint8, K × voxels per layer."""

    def __init__(self, shape: tuple[int, int, int]):
        self.shape = shape
        self.maps: dict[str, np.ndarray] = {}
        self.rates: dict[str, tuple[int, ...]] = {}

    def __call__(self, name: str, layer: AutofocusLayer, start: int, maps: torch.Tensor) -> None:
        if name not in self.maps:
            self.maps[name] = np.zeros((len(layer.rates), *self.shape), np.uint8)
            self.rates[name] = layer.rates
        values = to_numpy((maps * ATTENTION_STEPS).round().to(torch.uint8))
        axis = next((axis for axis in range(3) if values.shape[1 + axis] != self.shape[axis]), 0)
        place = (slice(None),) * (1 + axis) + (slice(start, start + values.shape[1 + axis]),)
        self.maps[name][place] = values

    def focus_mm(self, name: str, spacing: float) -> np.ndarray:
        """Return the expected reach (z, y, x) in mm, float32."""
        maps = self.maps[name].astype(np.float32)
        rates = np.array(self.rates[name], np.float32).reshape(-1, 1, 1, 1)
        return spacing * (maps * rates).sum(0) / np.maximum(maps.sum(0), 1)

    def write(self, folder: Path, grid: Grid) -> list[Path]:
        """Write <layer>-focus-mm.nrrd (float32, mm) and <layer>-rate<r>.nrrd (uint8, 255 = 1); return the files."""
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for name, maps in self.maps.items():
            volumes = {f"{name}-focus-mm": self.focus_mm(name, grid.spacing)}
            volumes |= {f"{name}-rate{rate}": maps[k] for k, rate in enumerate(self.rates[name])}
            for stem, array in volumes.items():
                files.append(folder / f"{stem}.nrrd")
                write_volume(files[-1], grid.image(array), compress=True)
        return files
