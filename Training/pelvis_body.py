"""What HU alone tell of a real scan on the packs' grid: the patient's body, soft tissue, fat."""

import numpy as np
from pelvis_scans.deformation import largest_piece
from scipy import ndimage

FAT_HU = -40.0
"""Halfway from fat to an organ, blurred: below it there is no organ but the rectum with its gas, and marrow."""


def body_of(hu: np.ndarray) -> np.ndarray:
    """The patient without couch (bool; `hu` and result (z, y, x)), what each axial slice encloses filled."""
    body = largest_piece(ndimage.binary_opening(ndimage.gaussian_filter(hu, 0.5) > -300, iterations=2))
    return np.stack([ndimage.binary_fill_holes(cut) for cut in body])


def is_soft(smooth: np.ndarray) -> np.ndarray:
    """Where blurred HU are those of muscle or organs (bool)."""
    return (smooth > -30) & (smooth < 120)
