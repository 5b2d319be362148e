"""Organs of the small pelvis, drawn by formula into a man of whom only bones and muscles are known.

Positions are mm from the middle between the femoral heads: z to the head, y to the back, x to the left. They
follow the four men whose organs are drawn: prostate's apex 38 mm below and its back 24 mm behind, a large one's up to
52; the rectum from 70 mm below to 60 mm above, 35 mm behind at the apex and 54 mm in the ampulla. It is drawn down to
27, 30 and 39 mm below the apex, not to the anus, and its front is 6 mm before the prostate's back to 18 mm behind it;
25 mm below the apex its axis is 11, 27 and 43 mm behind the prostate's back. The bladder lies on the prostate and
before its upper third to half: in all four, and in nearly half of the loose slices, one axial slice shows both.
"""

import numpy as np
from scipy import ndimage

from .deformation import largest_piece, smooth_noise
from .floor import draw_cleft, draw_floor
from .packs import BLADDER, PROSTATE, RECTUM, SPACING, VESICLES
from .tissues import BONES, CODE

CENTRE_LINE = np.array([
    (-85, 52), (-62, 48), (-46, 40), (-32, 36), (-15, 42), (0, 48), (15, 54), (30, 55), (45, 52), (60, 46), (80, 34),
    (100, 20)], float)  # z, y of the rectum and the first sigmoid
STRAIGHT_MUSCLES = [CODE["muscle"], CODE["levator"]]
BOX_LOW, BOX_HIGH = np.array([-120, -117, -75]), np.array([105, 105, 75])  # mm


MIDDLE_LOBE = 0.35
"""Part of the prostates with a lobe that bulges into the bladder."""


BACK_MM, DEPTH_MM, BACKWARDS = 22.0, 38.0, 0.9
"""A prostate's back lies 22 mm behind the heads' middle; of depth beyond 38 mm nine tenths are added. In fourteen men:
15 to 27 mm of depth 18 to 24, 30 to 42 mm 18 to 24, 48 mm 23 to 38, and the two of 57 mm 42 and 52."""


def draw_prostate(rng: np.random.Generator, z, y, x, volume_ml: float, apex: float = -38.0, back: float | None = None):
    """Prostate of about `volume_ml`, narrow at its apex: (mask, base z, back y). `back`: about where its back lies
    (None: further back the deeper it is)."""
    ratio = np.array([1.0, 0.9, 1.15]) * rng.normal(1, 0.1, 3)  # height, depth, width
    c, b, a = ratio * np.cbrt(volume_ml * 1000 * 3 / (4 * np.pi) / ratio.prod())
    apex += rng.normal(0, 4)
    if back is None:
        back = BACK_MM + BACKWARDS * max(2 * b - DEPTH_MM, 0) + rng.normal(0, 5)
    else:
        back += rng.normal(0, 3)
    height = (z - apex - c) / c
    taper = 0.84 + 0.18 * np.clip(height, -1, 1)
    power = rng.uniform(2.0, 2.9)
    inside = (np.abs(height) ** power + np.abs((y - back + b) / (b * taper)) ** power
              + np.abs((x - rng.normal(0, 2)) / (a * taper)) ** power) < 1
    base = apex + 2 * c
    if rng.random() < MIDDLE_LOBE:
        radius = b * rng.uniform(0.35, 0.75)
        level, depth = base - radius * rng.uniform(-0.4, 0.8), back - b * rng.uniform(0.7, 1.3)
        inside |= (z - level) ** 2 + (y - depth) ** 2 + (x - rng.normal(0, 4)) ** 2 < radius**2
    return inside, base, back


VESICLES_DROP = (0.0, 0.5)
"""How far below a large prostate's base the vesicles begin, as part of its height beyond SMALL_MM. Of the drawn men
they begin at the base where it is 24 to 33 mm high (18 ml) and 15 mm below it in umea (57 mm, 87 ml); in five of the
eight slices that show them they lie behind the prostate."""

SMALL_MM = 20.0


def draw_vesicles(rng: np.random.Generator, z, y, x, base: float, back: float, height: float) -> np.ndarray:
    """Two lobulated horns from the base of a prostate of `height` mm, or behind its upper part, sideways and upwards
    behind the bladder; 3 to 20 ml together."""
    result = np.zeros(z.shape, bool)
    rise, spread, radius = rng.uniform(4, 20), rng.uniform(18, 32), rng.uniform(4, 7)
    backwards = rng.uniform(-2, 10)
    drop = rng.uniform(*VESICLES_DROP) * max(height - SMALL_MM, 0)
    root = back - 7 + min(drop / 6, 1) * (7 + 0.5 * radius)
    for side in (-1, 1):
        reach, thick = rng.normal(1, 0.12), radius * rng.normal(1, 0.12)
        for t in np.linspace(0, 1, 9):
            centre = (base - drop + rng.normal(0, 1) + rise * t**1.3, root + backwards * t,
                      side * (3 + spread * t) * reach)
            size = thick * (0.75 + 0.5 * np.sin(np.pi * min(t + 0.15, 1))) * rng.uniform(0.8, 1.15)
            result |= (((z - centre[0]) / 1.25) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) < size**2
    return result


def draw_bladder(rng: np.random.Generator, z, y, x, base: float, front: float, volume_ml: float) -> np.ndarray:
    """Bladder on the prostate's base and, as its floor slopes to the front, before the prostate's upper part; broad and
    flat when nearly empty, high when full, and then often with corners, for it fills what is free, and bumps."""
    back = rng.normal(14, 4)
    full = np.clip(volume_ml / 300, 0.15, 1.3)
    cube = volume_ml * 1000 * 3 / (4 * np.pi)
    depth = min(np.cbrt(cube) * rng.normal(1.05, 0.08), (back - front) / 2)
    width = np.clip(np.cbrt(cube) * rng.normal(1.1, 0.1), 15, 52)
    height = np.clip(cube / depth / width, 9, 62)
    middle = base + height * rng.uniform(0.75, 0.95)
    lean = rng.normal(-0.25, 0.15) * full  # a full bladder leans forward
    slope = rng.uniform(0.1, 0.8) * np.clip((middle - z) / height, 0, 1)  # of the floor; the dome is level
    up = (z + slope * np.clip(back - 6 - y, 0, 40) - middle) / height
    power = rng.uniform(2.0, 2.5) if rng.random() < 0.4 else rng.uniform(2.5, 4.5)
    uneven = smooth_noise(rng, z.shape, 28.0)[0] * rng.uniform(0, 0.2)
    inside = (np.abs(up) ** power + np.abs((y - back + depth - lean * (z - middle)) / depth) ** power
              + np.abs((x - rng.normal(0, 5)) / (width * (0.95 + 0.12 * np.clip(up, -1, 1)))) ** power)
    return inside + uneven < 1


LEVELS = np.arange(BOX_LOW[0], BOX_HIGH[0] + 1, 3.0)
"""Heights (mm) at which the rectum's course is drawn."""


def draw_rectum(rng: np.random.Generator, z, y, x, back: float | np.ndarray, base: float, apex: float = -38.0,
                collapsed: bool = False):
    """Rectum and canal: distance from the axis over the radius; radius and axis along z; top, lower end and anal verge
    (mm). From the prostate's apex to its base it lies behind `back`, one for all LEVELS or one for each.

    A `collapsed` one is narrow and wider than deep. In the twenty slices the drawn area is that of a circle of 10 to
    17 mm, and the two narrowest, of solid tissue, are 25 mm wide and 15 to 18 mm deep.
    """
    levels = LEVELS
    wander = np.cumsum(rng.normal(0, 1.0, levels.size))
    drift = np.interp(levels, [-80, 0, 100], [0, rng.normal(0, 3), rng.normal(-10, 16)])
    drift += 0.5 * (wander - wander.mean())
    ampulla = rng.uniform(8.5, 14) if collapsed else rng.uniform(10, 22)
    waves = np.interp(levels, levels[::4], rng.normal(1, 0.15, levels[::4].size))
    radius = np.interp(levels, [-90, -60, -42, -15, 15, 45, 70, 100],
                       [6, 9, 10.5, 0.8 * ampulla + 2, ampulla, 0.9 * ampulla, 12, 12]) * np.clip(waves, 0.7, 1.35)
    axis = np.interp(levels, *CENTRE_LINE.T) + rng.normal(0, 3)
    axis += np.interp(levels, levels[::8], rng.normal(0, 2, levels[::8].size))
    flat = np.interp(levels, levels[::8], np.exp(rng.normal(0, 0.12, levels[::8].size)))
    axis += np.clip(apex + 8 - levels, 0, 40) / 40 * rng.uniform(-16, 14)  # the canal's way to the skin
    flat *= np.exp(-rng.uniform(0, 0.45) * np.interp(levels, [-75, -50, -20, 5], [0, 1, 1, 0]))  # between the levators
    if collapsed:
        flat *= np.exp(rng.uniform(0, 0.35) * np.interp(levels, [-25, 0], [0, 1]))
    along = (levels > apex - 2) & (levels < base + 5)
    gap = rng.uniform(0, 7)
    axis[along] = np.maximum(axis, back + gap + 0.85 * radius / flat)[along]
    axis, radius = ndimage.gaussian_filter1d(axis, 1.5), ndimage.gaussian_filter1d(radius, 1.0)
    at = z[:, :1, :1]
    r, cy, cx, f = (np.interp(at, levels, v).astype(np.float32) for v in (radius, axis, drift, flat))
    distance = np.sqrt(((y - cy) / (r / f)) ** 2 + ((x - cx) / (r * f)) ** 2)
    end = apex - rng.uniform(26, 38)
    return distance, r, cy, rng.uniform(48, 74), end, end - rng.uniform(8, 26)


def fill_pelvis(rng: np.random.Generator, tissue: np.ndarray, labels: np.ndarray, heads: np.ndarray) -> None:
    """Draw prostate, vesicles, bladder, rectum and the pelvic floor into `tissue` and `labels` (in place).

    `tissue` holds bones, muscles and, inside the muscular hull, pelvic fat; `heads` (2, 3) voxels.
    """
    middle = heads.mean(0)
    low = np.maximum(np.round(middle + BOX_LOW / SPACING).astype(int), 0)
    high = np.minimum(np.round(middle + BOX_HIGH / SPACING).astype(int), tissue.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    t, organ = tissue[box], labels[box]
    z, y, x = np.meshgrid(*[((np.arange(a, b) - m) * SPACING).astype(np.float32)
                            for a, b, m in zip(low, high, middle, strict=True)], indexing="ij")
    bend = smooth_noise(rng, t.shape, 22.0, 3) * rng.uniform(0.5, 2.0)
    z, y, x = z + bend[0], y + bend[1], x + bend[2]
    bone = np.isin(t, [CODE[name] for name in BONES])
    free = (t != CODE["air"]) & ~bone & (t != CODE["muscle"])
    volume = float(np.clip(np.exp(rng.normal(np.log(50), 0.6)), 13, 170))
    prostate, base, back = draw_prostate(rng, z, y, x, volume)
    prostate &= ~bone
    apex = float(z[prostate].min())
    vesicles = draw_vesicles(rng, z, y, x, base, back, base - apex) & free & ~prostate
    front = float(np.percentile(y[free & (np.abs(x) < 20) & (z > base) & (z < base + 40)], 4)) + 6
    urine_ml = float(np.clip(np.exp(rng.normal(np.log(190), 0.65)), 35, 700))
    bladder = draw_bladder(rng, z, y, x, base, front, urine_ml) & free & ~prostate
    pubis = bone & (np.abs(x) < 20) & (y < 5)
    belly_wall = np.isin(t, STRAIGHT_MUSCLES) & (np.abs(x) < 25) & (y < -30)
    bladder &= ~_before(pubis, y, 4) & ~_before(belly_wall, y, 3)
    bladder = largest_piece(ndimage.binary_opening(bladder & ~ndimage.binary_dilation(vesicles)))
    wall = np.where(vesicles & (np.abs(x) < 18), y, back).max((1, 2))
    behind = np.interp(LEVELS, z[:, 0, 0], wall)
    contents = str(rng.choice(list(CONTENTS), p=list(CONTENTS.values())))
    distance, radius, axis, top, end, verge = draw_rectum(rng, z, y, x, behind, base, apex, contents == "collapsed")
    in_tube = (distance < 1) & ~bone & (t != CODE["air"]) & (free | (z < -35)) & ~prostate & ~vesicles & ~bladder
    rectum = in_tube & (z > end) & (z < top)
    canal = in_tube & (z > verge) & (z <= end)
    draw_floor(rng, t, z, y, x, free, prostate | ((distance < 1) & (z > verge)), axis, apex, verge)
    draw_cleft(rng, t, z, y, x, verge, float(np.interp(verge, z[:, 0, 0], axis[:, 0, 0])))
    near = ndimage.distance_transform_edt(~prostate) * SPACING
    plexus = (near < rng.uniform(3, 11)) & (smooth_noise(rng, t.shape, 13.0)[0] > rng.uniform(-0.5, 1.2))
    t[free & plexus & (t == CODE["pelvic_fat"])] = CODE["plexus"]
    sigmoid = in_tube & (z >= top)
    t[sigmoid & (distance * radius > radius - 3.5)] = CODE["bowel"]
    t[sigmoid & (distance * radius <= radius - 3.5)] = CODE["stool" if rng.random() < 0.6 else "gas"]
    t[rectum | canal] = CODE["rectal_wall"]
    _fill_rectum(rng, contents, t, rectum & (distance * radius < radius - rng.uniform(2.5, 4.5)), y - axis, radius)
    t[bladder] = CODE["urine"]
    if rng.random() < 0.6:
        t[bladder & ~ndimage.binary_erosion(bladder)] = CODE["bladder_wall"]
    t[vesicles], t[prostate] = CODE["vesicles"], CODE["prostate"]
    for code, mask in ((RECTUM, rectum), (BLADDER, bladder), (VESICLES, vesicles), (PROSTATE, prostate)):
        organ[mask] = code


def _before(wall: np.ndarray, y: np.ndarray, room_mm: float) -> np.ndarray:
    """What lies, slice by slice, less than `room_mm` behind the back of `wall`, or before it."""
    return y < np.where(wall, y, -np.inf).max((1, 2), keepdims=True) + room_mm


CONTENTS = {"collapsed": 0.3, "stool": 0.27, "gas": 0.15, "both": 0.28}
"""What a rectum holds, and how often."""


def _fill_rectum(rng: np.random.Generator, kind: str, tissue, lumen, behind, radius) -> None:
    """Nothing, stool, gas, or stool below a gas bubble in parts of the length (gas rises to the front)."""
    if kind == "collapsed":
        return
    level = smooth_noise(rng, tissue.shape, 45.0)[0]
    if kind in ("stool", "both"):
        tissue[lumen & (level > -0.8)] = CODE["stool"]
    if kind in ("gas", "both"):
        height = rng.uniform(-0.7, 0.5)
        tissue[lumen & (behind < height * radius) & (level > rng.uniform(-0.8, 0.4))] = CODE["gas"]
