"""The pelvic floor: levator sling, anal sphincter, urogenital diaphragm, bulb, natal cleft, by formula.

Positions are mm from the middle between the femoral heads (z to the head, y to the back, x to the left), as in
`organs.py`. In axial slices the levators are a drop with its point behind: they hug the prostate's apex and the
rectum from both sides and meet behind it. All is soft tissue of nearly one brightness, in which the rectum is told by
its place alone; without it a network takes the whole drop, down to the skin, for rectum.
"""

import numpy as np
from scipy import ndimage

from .deformation import smooth_noise
from .tissues import CODE


def draw_floor(rng: np.random.Generator, tissue, z, y, x, free, organs, axis, apex: float, verge: float) -> None:
    """Draw the floor around `organs` (prostate, rectum and canal) where `free` (in place).

    `axis`: y of the rectum along z, (z, 1, 1); `apex` of the prostate and anal `verge` in mm.
    """
    height = z.mean((1, 2))[:, None]
    inner = _inner_half_width(rng, y, x, organs, axis)
    inner += rng.uniform(0, 2.5) + rng.uniform(0.35, 0.8) * np.clip(height - apex - rng.uniform(8, 20), 0, None)
    outer = inner + rng.uniform(3, 6) + rng.uniform(0, 5) * np.clip(1 - (height - apex) / 30, 0, 1)
    inside, within = (np.abs(x) < side[..., None] for side in (inner, outer))
    level = (z > apex - 14) & (z < apex + rng.uniform(30, 50)) & (y > -15)
    tissue[free & within & ~inside & level] = CODE["levator"]
    tissue[free & inside & level & (z < apex + rng.uniform(2, 12))] = CODE["levator"]
    _draw_sphincter(rng, tissue, z, y, x, free, axis, apex, verge)
    diaphragm = (np.abs(x) < 22) & (y > -20) & (y < 32) & (z < apex + 4) & (z > apex + 4 - rng.uniform(10, 22))
    tissue[free & diaphragm] = CODE["levator"]
    bulb = ((z - apex + 22) / 20) ** 2 + ((y - 8) / 26) ** 2 + (x / 15) ** 2 < 1
    tissue[free & bulb] = CODE["bulb"]
    _draw_symphysis_gap(rng, tissue, z, y, x, free)


def _inner_half_width(rng: np.random.Generator, y, x, organs, axis) -> np.ndarray:
    """Half the width (mm) between the levators at each z and y: no narrower than any organ further back, and behind
    the rectum's axis running out into a point; negative beyond it."""
    widths = np.where(organs, np.abs(x), 0).max(2)
    depth = y.mean(2) - axis[:, 0]
    at_axis = np.where(np.abs(depth) < 6, widths, 0).max(1, keepdims=True)
    point = rng.uniform(28, 55)
    tail = (at_axis + 2) * (1 - np.clip(depth, 0, None) / point)
    widths = np.maximum.accumulate(widths[:, ::-1], axis=1)[:, ::-1]
    widths = np.where((depth > 0) | (widths == 0), np.maximum(widths, tail), widths)
    return ndimage.gaussian_filter(np.where(depth > point, -20.0, widths), 1.0)


def _draw_sphincter(rng: np.random.Generator, tissue, z, y, x, free, axis, apex: float, verge: float) -> None:
    """Puborectalis and sphincters around the canal, much thicker than it and mostly behind it; narrow at the verge."""
    down = np.clip((apex - z) / (apex - verge), 0, 1)
    half = rng.uniform(13, 24) * (1 - rng.uniform(0.3, 0.7) * down**2)
    behind, deep = rng.uniform(0, 8), rng.uniform(1.0, 1.35)
    ring = ((y - axis - behind) / (half * deep)) ** 2 + (x / half) ** 2 < 1
    tissue[free & ring & (z < apex + rng.uniform(0, 10)) & (z > verge - 3)] = CODE["levator"]


def _draw_symphysis_gap(rng: np.random.Generator, tissue, z, y, x, free) -> None:
    """Veins and muscle between symphysis and prostate, in half of the men."""
    blobs = smooth_noise(rng, tissue.shape, 15.0)[0]
    gap = (np.abs(x) < 14) & (y > -24) & (y < -8) & (z < -8) & (z > -36)
    if rng.random() < 0.5:
        tissue[free & gap & (blobs > 0)] = CODE["levator"]


def draw_cleft(rng: np.random.Generator, tissue, z, y, x, verge: float, behind: float) -> None:
    """The natal cleft: a sheet of skin on skin in the fat, from the anus (z, y) down and, further back, up."""
    top = rng.uniform(-25, 5)
    start = behind + np.clip((z - verge) / (top - verge), -0.8, None) * rng.uniform(45, 75)
    sheet = (np.abs(x - rng.normal(0, 2)) < rng.uniform(1.5, 4.0)) & (y > start) & (z < top)
    fat = np.isin(tissue, [CODE["fat"], CODE["pelvic_fat"]])
    tissue[fat & sheet] = CODE["skin"] if rng.random() < 0.5 else CODE["bulb"]
