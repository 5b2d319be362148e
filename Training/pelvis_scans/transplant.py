"""Other organs in a real man: his bones, muscles, skin and fat stay, the small pelvis is drawn anew.

What was organ becomes fat and bowel, then `organs.py` draws prostate, vesicles, bladder, rectum and pelvic floor
as in a synthetic man, and the result is blended into the scan with the scan's own noise. All codes are known there
afterwards.
"""

import numpy as np
from scipy import ndimage

from .deformation import smooth_noise
from .organs import BOX_HIGH, BOX_LOW, fill_pelvis
from .packs import SPACING
from .synthesis import paint
from .texture import draw_texture
from .tissues import CODE

LARGEST_MARROW = 170
"""Voxels of 3 mm in an axial slice: a femoral head has about 150."""

RING_MM = 12.0
"""Soft tissue nearer than this to an old organ may be overdrawn; what is further is muscle, and stays."""


def new_organs(rng: np.random.Generator, ct, labels, possible, weight, heads, texture):
    """Copies of a real scan (HU), its labels, possible codes and weights with new organs around `heads` (2, 3).

    `texture` is the scan's, from `texture_of`.
    """
    ct, labels, possible, weight = ct.copy(), labels.copy(), possible.copy(), weight.copy()
    middle = heads.mean(0)
    low = np.maximum(np.round(middle + BOX_LOW / SPACING).astype(int) - 4, 0)
    high = np.minimum(np.round(middle + BOX_HIGH / SPACING).astype(int) + 4, ct.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    hu, codes, bits = ct[box], labels[box], possible[box]
    smooth = ndimage.gaussian_filter(hu, 0.5)
    organ = ((codes >= 1) & (codes <= 4)) | ((bits & 0b0011110) > 0)
    old = ndimage.binary_dilation(organ, iterations=2) & (codes < 5) & (smooth < 150)
    tissue = _tissues(rng, smooth, old, organ)
    before = tissue.copy()
    fresh = np.where(codes >= 5, codes, 0).astype(np.uint8)
    fill_pelvis(rng, tissue, fresh, heads - low.astype(np.float32))
    painted = paint(rng, np.where(tissue == CODE["cortex"], CODE["muscle"], tissue))
    painted += draw_texture(rng, hu.shape, *texture)
    share = ndimage.gaussian_filter(((tissue != before) | old).astype(np.float32), 0.5)
    share[before == CODE["cortex"]] = 0
    hu += share * (painted - hu)
    codes[:] = fresh
    known = codes < 5
    bits[known] = np.left_shift(1, codes[known])
    weight[box][known] = 100
    # Beyond the box nothing that was drawn or undecided before can be what it was.
    inside = np.zeros(labels.shape, bool)
    inside[box] = True
    weight[~inside & ((possible & 0b0011110) > 0)] = 0
    return ct, labels, possible, weight


def _tissues(rng: np.random.Generator, hu: np.ndarray, old: np.ndarray, organ: np.ndarray) -> np.ndarray:
    """Tissue codes of a real scan as `fill_pelvis` wants them: what it may overdraw is neither bone nor muscle."""
    tissue = np.full(hu.shape, CODE["pelvic_fat"], np.uint8)
    far = ndimage.distance_transform_edt(~organ) * SPACING > RING_MM
    soft = (hu > -30) & (hu < 150)
    tissue[soft & far] = CODE["muscle"]
    tissue[soft & ~far] = CODE["levator"]
    tissue[whole_bones(hu >= 150)] = CODE["cortex"]
    tissue[hu < -300] = CODE["air"]
    tissue[old] = CODE["pelvic_fat"]
    loops = old & (smooth_noise(rng, hu.shape, 22.0)[0] > rng.uniform(0.0, 1.5))
    loops[:hu.shape[0] // 2] = False  # bowel hangs down to the bladder, not to the pelvic floor
    tissue[loops] = CODE["bowel"]
    return tissue


def whole_bones(cortex: np.ndarray) -> np.ndarray:
    """Bones with the marrow that `cortex` (z, y, x) encloses in axial slices, without what a ring of bones holds."""
    result = cortex.copy()
    for z, cut in enumerate(ndimage.binary_closing(cortex, np.ones((1, 3, 3)))):
        holes, count = ndimage.label(ndimage.binary_fill_holes(cut) & ~cortex[z])
        small = np.flatnonzero(np.bincount(holes.ravel(), minlength=count + 1)[1:] <= LARGEST_MARROW) + 1
        result[z] |= np.isin(holes, small)
    return result
