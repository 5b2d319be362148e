"""The volumes of the benchmark: a brain with four channels, a pelvis with three. Made up; only their size counts."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Study:
    """`shape` (z, y, x) in voxels, and their `spacing` in mm (x, y, z) as images; `model` is a bundled one."""

    name: str
    model: str
    channels: int
    outputs: int
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    def scaled(self, factor: float) -> "Study":
        """Return the study with every side times `factor`."""
        shape = tuple(max(round(side * factor), 8) for side in self.shape)
        spacing = tuple(step / factor for step in self.spacing)
        return replace(self, shape=shape, spacing=spacing)

    def tensor(self, shape: tuple[int, int, int] | None = None) -> np.ndarray:
        """Return channels (C, z, y, x), float32: noise, for no kernel asks what it multiplies."""
        generator = np.random.default_rng(0)
        return generator.standard_normal((self.channels, *(shape or self.shape)), dtype=np.float32)

    def write_images(self, folder: Path) -> dict[str, str]:
        """Write the images that `segment` takes; return the files by the names of the model's inputs."""
        import SimpleITK as sitk  # 100 MB, which the network alone does not need

        names = ("ct",) if self.name == "pelvis" else ("t1", "t1c", "t2", "flair")
        files = {}
        for number, name in enumerate(names):
            image = sitk.GetImageFromArray(_patient(self.shape, self.name == "pelvis", number))
            image.SetSpacing(self.spacing)
            files[name] = str(folder / f"{name}.nrrd")
            sitk.WriteImage(image, files[name])
        return files


STUDIES = {
    "brain": Study("brain", "brain-tumour-mri", 4, 5, (140, 170, 140), (1.0, 1.0, 1.0)),
    "pelvis": Study("pelvis", "pelvis-ct", 3, 7, (85, 200, 270), (1.5, 1.5, 3.0)),
}


def _patient(shape: tuple[int, int, int], is_ct: bool, contrast: int) -> np.ndarray:
    """Return an ellipsoid (MRI, 0 outside) or an elliptic cylinder (HU) that fills the volume, int16."""
    axes = [np.linspace(-1, 1, side) for side in shape]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    noise = np.random.default_rng(contrast).normal(0, 20, shape)
    if is_ct:
        radius = x**2 + (1.2 * y) ** 2
        soft = np.where(radius < 0.7, 50, -100) + noise
        return np.where(radius < 0.95, soft, -1000).astype(np.int16)
    inside = x**2 + y**2 + z**2 <= 1
    return np.where(inside, 500 + 100 * contrast * x + noise, 0).astype(np.int16)
