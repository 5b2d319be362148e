"""Dice of a left-out patient on the working grid, for the log while training; the honest scores come from score.py."""

import torch
from kernels.acceleration import unmeasured
from pelvis_scans.packs import AIR, SPACING, load_pack
from pelvis_tensors import class_masks, hu_on_coarser_grid, windowed
from torch.nn import functional as F

from afnet.learning.training import Training
from afnet.models.manifest import Manifest
from afnet.tensors import to_torch

MULTIPLE = 24
"""Sides of the volume are filled up to a multiple with what is outside: on every grid they are even then, which a GPU
likes, and the coarser grids end where this one does."""


class HeldOutPatient:
    """The pack `name`, a real scan at 3 mm, shown on a grid of `coarse` mm (4.5, 6) if that is given. Raises
    KeyError for a pack without CT."""

    def __init__(self, name: str, manifest: Manifest, coarse: float | None = None):
        pack = load_pack(name)
        self.shape = pack["ct"].shape
        ends = [number for side in reversed(self.shape) for number in (0, -side % MULTIPLE)]
        hu = F.pad(to_torch(pack["ct"]).float(), ends, value=AIR)
        self.whole = hu.shape
        if coarse:
            hu = hu_on_coarser_grid(hu, coarse / SPACING)
        self.channels = windowed(hu, manifest)
        possible = class_masks(to_torch(pack["possible"]))
        self.known = possible.sum(0) == 1
        self.truth = {code: possible[code] * self.known for code in range(1, len(possible))}
        self.names = manifest.code_names

    @torch.inference_mode()
    def __call__(self, training: Training) -> dict[str, float]:
        """Dice of each drawn structure, over the voxels whose code is known, with the averaged weights."""
        channels = self.channels[None].to(training.device).contiguous(memory_format=torch.channels_last_3d)
        with training.precision(), unmeasured():
            logits = training.average.eval()(channels).float()
        if logits.shape[2:] != self.whole:
            logits = F.interpolate(logits, self.whole, mode="trilinear")
        codes = logits[0].argmax(0).cpu()[tuple(slice(side) for side in self.shape)]
        scores = {}
        for code, truth in self.truth.items():
            if truth.any():
                found = (codes == code) & self.known
                scores[self.names[code]] = round((2 * (found * truth).sum() / (found.sum() + truth.sum())).item(), 3)
        return scores
