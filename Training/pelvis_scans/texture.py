"""Noise of a real scan, measured in its muscle and drawn anew for what is painted into it.

An organ with more or less grain than its surroundings would give itself away, and a network would learn the grain.
"""

import numpy as np
from scipy import ndimage, optimize

FINE, MIDDLE = 0.6, 1.2
"""Widths (sigma, voxels) of the blurs between which a band of texture lies; coarser variation is anatomy."""

MUSCLE_HU = (25.0, 75.0)
CORRELATED = 1.3  # sigma, voxels


def bands(hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fine and middle texture of `hu` (z, y, x), same shape."""
    less, least = ndimage.gaussian_filter(hu, FINE), ndimage.gaussian_filter(hu, MIDDLE)
    return hu - less, less - least


def texture_of(hu: np.ndarray) -> tuple[float, float]:
    """Spread (HU) of the fine and the middle texture in the muscle of a scan, and what is as bright.

    The median of absolute values, as the spread of a normal distribution: vessels and fasciae are no noise.
    """
    smooth = ndimage.gaussian_filter(hu, MIDDLE)
    soft = ndimage.binary_erosion((smooth > MUSCLE_HU[0]) & (smooth < MUSCLE_HU[1]), iterations=3)
    if not soft.any():
        return 0.0, 0.0
    return tuple(float(np.median(np.abs(band[soft]))) / 0.6745 for band in bands(hu))


def draw_texture(rng: np.random.Generator, shape: tuple[int, ...], fine: float, middle: float) -> np.ndarray:
    """Noise (HU, float32) of `shape`, white and correlated, whose bands have these spreads as far as a sum can."""
    white = rng.standard_normal(shape, dtype=np.float32)
    correlated = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), CORRELATED)
    correlated /= correlated.std()
    powers = np.array([[float(band.var()) for band in bands(field)] for field in (white, correlated)]).T
    share = np.sqrt(optimize.nnls(powers, np.array([fine, middle]) ** 2)[0]).astype(np.float32)
    return share[0] * white + share[1] * correlated
