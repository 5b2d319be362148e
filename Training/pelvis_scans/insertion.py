"""Prostate and vesicles put into a real scan in the place of his own, and other contents for bladder and rectum."""

import numpy as np
from scipy import ndimage

from .deformation import smooth_noise
from .organs import draw_prostate, draw_vesicles
from .packs import BLADDER, PROSTATE, RECTUM, SPACING, VESICLES
from .texture import draw_texture

MARGIN = 12  # voxels around the treatment volume

BASE_MM = 6.0
"""His own vesicles may begin this far below the new prostate's base."""


def insert_prostate(rng: np.random.Generator, ct, labels, possible, weight, ptv, texture):
    """Copies of a scan, its labels, `possible` and weights with a prostate and vesicles by formula instead of the man's
    own, of the scan's own `texture`.

    What was soft tissue of his prostate and lies outside the new one becomes the loose fat around a prostate,
    in places almost as bright as the organ, so that its border is partly invisible. All codes are known around the new
    organs but above the base, where what stays as it was may be the man's own vesicles.
    """
    ct, labels, possible, weight = ct.copy(), labels.copy(), possible.copy(), weight.copy()
    where = np.argwhere(ptv > 0)
    low = np.maximum(where.min(0) - MARGIN, 0)
    high = np.minimum(where.max(0) + MARGIN + 1, ct.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    hu, codes, bits = ct[box], labels[box], possible[box]
    core = np.argwhere(codes == PROSTATE) + low
    centre, apex, back = core.mean(0), core[:, 0].min(), core[:, 1].max()
    z, y, x = np.meshgrid(*[((np.arange(a, b) - m) * SPACING).astype(np.float32)
                            for a, b, m in zip(low, high, centre, strict=True)], indexing="ij")
    bend = smooth_noise(rng, hu.shape, 22.0, 3) * rng.uniform(0.5, 2.0)
    z, y, x = z + bend[0], y + bend[1], x + bend[2]
    undecided = (bits & 0b110) > 0  # where prostate or vesicles may be
    fixed = (codes == BLADDER) | (codes == RECTUM)
    # In a scan whose voxels are too large; a smaller one would leave the bladder without its floor.
    volume = float(np.clip(np.exp(rng.normal(np.log(85), 0.3)), 50, 150))
    prostate, base, back = draw_prostate(rng, z, y, x, volume, (apex - centre[0]) * SPACING,
                                         (back - centre[1]) * SPACING)
    vesicles = draw_vesicles(rng, z, y, x, base, back, base - float(z[prostate].min()))
    soft = ndimage.binary_dilation(undecided, iterations=2) | ((hu < -20) & (hu > -250))
    prostate &= ~(codes == RECTUM) & (soft | (codes == BLADDER))
    prostate &= ~(ndimage.binary_erosion(codes == BLADDER, iterations=3))
    vesicles &= ~fixed & ~prostate & soft & ~ndimage.binary_dilation(codes == RECTUM)
    tissue = hu[undecided & (codes == PROSTATE)]
    brightness = float(np.median(tissue)) + rng.normal(0, 6)
    patches = smooth_noise(rng, hu.shape, 14.0)[0]
    was = ndimage.binary_dilation(codes == PROSTATE)  # what is prostate for certain must not stay and be called none
    clear = 1 / (1 + np.exp(-2.0 * (patches + rng.uniform(-1.0, 0.8) + 2.5 * was)))  # 1 fat, 0 as bright as it was
    fat = rng.uniform(-85, -20) + 12 * smooth_noise(rng, hu.shape, 9.0)[0]
    empty = undecided & ~prostate & ~vesicles
    share_of_fat = ndimage.gaussian_filter((empty * clear).astype(np.float32), 0.6)
    noise = draw_texture(rng, hu.shape, *texture)
    hu += share_of_fat * (fat + noise - hu)
    grain = rng.uniform(1, 4) * smooth_noise(rng, hu.shape, 14.0)[0] + noise
    for mask, mean in ((vesicles, brightness + rng.normal(-8, 6)), (prostate, brightness)):
        share = ndimage.gaussian_filter(mask.astype(np.float32), rng.uniform(0.5, 0.8))
        hu += share * (mean + grain - hu)
    his = codes == VESICLES
    codes[(codes == PROSTATE) | his] = 0
    codes[prostate], codes[vesicles] = PROSTATE, VESICLES
    own = empty & (share_of_fat < 0.5) & (his | (z > base - BASE_MM) & ((bits & 1 << VESICLES) > 0))
    changed = undecided | prostate | vesicles
    bits[changed] = np.left_shift(1, codes[changed])
    bits[own] = 1 | 1 << VESICLES
    codes[own & his], bits[own & his] = VESICLES, 1 << VESICLES
    weight[box][changed & ~own] = 100
    return ct, labels, possible, weight


def change_contents(rng: np.random.Generator, hu: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Sometimes contrast in the bladder, gas or stool in the rectum of a real scan (HU, same shape)."""
    bladder, rectum = labels == BLADDER, labels == RECTUM
    if bladder.any() and rng.random() < 0.3:
        share = ndimage.gaussian_filter(bladder.astype(np.float32), 0.6)
        contrast = rng.uniform(40, 400) if rng.random() < 0.25 else rng.normal(0, 8)
        hu = hu + share * contrast
    if rectum.any() and rng.random() < 0.6:
        lumen = ndimage.binary_erosion(rectum, iterations=1)
        level = smooth_noise(rng, hu.shape, 30.0)[0]
        if rng.random() < 0.5:
            lumen &= ndimage.binary_erosion(rectum, np.ones((1, 1, 3), bool), iterations=2)
        part = (lumen & (level > rng.uniform(-0.5, 1.0))).astype(np.float32)
        share = ndimage.gaussian_filter(part, 0.6)
        if rng.random() < 0.55:
            hu = hu + share * (rng.uniform(-950, -700) - hu)
        else:
            grain = rng.uniform(10, 60) * smooth_noise(rng, hu.shape, 8.0)[0]
            hu = hu + share * (rng.uniform(-60, 60) + grain - hu)
    return hu
