"""The inside of a synthetic man's hips: marrow of the femora, and the joints that the label maps' bones lack.

Arrays are (z, y, x) at 3 mm in LPS.
"""

import numpy as np
from scipy import ndimage

from .deformation import smooth_noise
from .packs import LEFT, RIGHT, SPACING
from .tissues import BONES, CODE

AROUND_HEAD = 1.5
"""Radii of a femoral head around its centre, in which its joint lies."""


def draw_femoral_marrow(rng: np.random.Generator, tissue, labels, heads, radius_mm: float) -> None:
    """Dense trabeculae in the heads, then marrow that turns fatty to the shaft, where the cortex gets dense (in place).

    The levels are drawn for each man: were they tied to the label's border, a network would look for them there.
    """
    uneven = 8 * smooth_noise(rng, tissue.shape, 20.0)[0]
    z, y, x = (np.arange(n, dtype=np.float32) for n in tissue.shape)
    dense, neck = rng.uniform(0.85, 1.15) * radius_mm, rng.uniform(1.0, 1.5) * radius_mm
    shaft = rng.uniform(1.4, 2.8) * radius_mm
    middle = heads[:, 2].mean()
    marrow = tissue == CODE["marrow"]
    for code, head, side in ((LEFT, heads[0], x > middle), (RIGHT, heads[1], x < middle)):
        distance = SPACING * np.sqrt(((z - head[0]) ** 2)[:, None, None] + ((y - head[1]) ** 2)[None, :, None]
                                     + ((x - head[2]) ** 2)[None, None]) + uneven
        below = SPACING * (head[0] - z)[:, None, None] + uneven
        femur = (labels == code) | ((tissue == CODE["shaft_marrow"]) & side[None, None])
        tissue[femur & marrow & (distance < dense)] = CODE["head_marrow"]
        inner = femur & (marrow | (tissue == CODE["shaft_marrow"])) & (distance > neck)
        tissue[inner] = CODE["neck_marrow"]
        tissue[inner & (below > shaft)] = CODE["shaft_marrow"]
        bone = ndimage.binary_dilation(femur) & (tissue == CODE["cortex"])
        tissue[bone & (below > radius_mm)] = CODE["shaft_cortex"]


def draw_hip_joints(rng: np.random.Generator, tissue, labels, heads, radius_mm: float) -> None:
    """Dense bone on both sides of the hip joints, and mostly a gap of cartilage between it (in place).

    In the label maps head and socket touch, so that marrow would pass from one into the other.
    """
    reach = AROUND_HEAD * radius_mm / SPACING
    plate, gap = rng.random() < 0.85, rng.random() < 0.75
    for code, head in zip((LEFT, RIGHT), heads, strict=True):
        box = tuple(slice(max(int(c - reach), 0), int(c + reach) + 2) for c in head)
        t, femur = tissue[box], labels[box] == code
        bone = np.isin(t, [CODE[name] for name in BONES])
        socket = bone & (labels[box] == 0)
        t[~bone & ndimage.binary_dilation(femur, iterations=2) & ndimage.binary_dilation(socket, iterations=2)] = (
            CODE["cartilage"]
        )
        rim, facing = femur & ndimage.binary_dilation(socket), socket & ndimage.binary_dilation(femur)
        roof = socket & ndimage.binary_dilation(facing) & ~facing
        if plate:
            t[rim] = CODE["subchondral"]
        t[facing] = CODE["cartilage" if gap else "cortex"]
        if gap:
            t[roof] = CODE["cortex"]
