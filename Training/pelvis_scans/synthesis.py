"""Synthetic men: bones and muscles of a label map, organs, bowel, vessels and fat drawn around them, then HU.

Arrays are (z, y, x) at 3 mm in LPS.
"""

from functools import lru_cache

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, Delaunay

from .deformation import eroded, smooth_noise
from .hips import draw_femoral_marrow, draw_hip_joints
from .organs import fill_pelvis
from .packs import SPACING, load_pack
from .tissues import CODE, TISSUES

THIGHS_MM = 115.0
"""How far below the heads' centres the thighs part."""

ROOM = 6  # voxels around a pack for subcutaneous fat, genitals


@lru_cache(maxsize=4)
def _prepared(name: str) -> dict:
    """A bones-and-muscles pack with the distances (mm) that every sample of it needs."""
    pack = load_pack(name)
    room = ((0, 0), (ROOM, ROOM), (ROOM, ROOM))
    tissue, labels, femora, hull, body = (
        np.pad(pack[k], room) for k in ("tissue", "labels", "femora", "hull", "body")
    )
    hull, body = hull > 0, body > 0
    body = _rounded(body, float(pack["femoral_heads"][:, 0].mean()))
    outside = ndimage.distance_transform_edt(~body) * SPACING
    cavity = hull & (tissue == 0)
    depth = ndimage.distance_transform_edt(cavity) * SPACING
    return dict(tissue=tissue, labels=labels, femora=femora, hull=hull, outline=body, cavity=cavity,
                outside=outside.astype(np.float32), depth=depth.astype(np.float32),
                radius=float(pack["head_radius_mm"]),
                heads=pack["femoral_heads"] + np.array([0, ROOM, ROOM], np.float32))


def _rounded(body: np.ndarray, level: float) -> np.ndarray:
    """The outline made convex in each axial slice above the thighs, as skin and fat make it, and smooth.

    Men lie on the couch with their buttocks pressed together: there is no air behind the anus.
    """
    body = body.copy()
    for z in range(max(0, int(level - THIGHS_MM / SPACING)), len(body)):
        points = np.argwhere(body[z])
        if len(points) > 3:
            corners = points[ConvexHull(points).vertices]
            inside = np.asarray(Delaunay(corners).find_simplex(np.argwhere(~body[z])) >= 0)
            body[z][tuple(np.argwhere(~body[z])[inside].T)] = True
    return ndimage.gaussian_filter(body.astype(np.float32), (3, 1.5, 1.5)) > 0.5


def head_centres(name: str) -> np.ndarray:
    """Centres (2, 3) of the femoral heads, left and right, in the voxels of `synthetic_man`."""
    return _prepared(name)["heads"]


def synthetic_man(rng: np.random.Generator, name: str, low: int, high: int
                  ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """One random man on the bones of pack `name`, from slice `low` to `high` and the small pelvis in any case.

    Returns tissue codes, labels and whole femora (uint8), and the slice of the pack that is their first.
    """
    man = _prepared(name)
    level = man["heads"][:, 0].mean()
    low = int(max(0, min(low, level - 33)))
    high = int(max(high, level + 36))
    cut = {key: value[low:high] for key, value in man.items() if np.ndim(value) == 3}
    man = man | cut | {"heads": man["heads"] - np.array([low, 0, 0], np.float32)}
    tissue, labels, heads = man["tissue"].copy(), man["labels"].copy(), man["heads"]
    draw_femoral_marrow(rng, tissue, labels, heads, man["radius"])
    tissue[man["cavity"]] = CODE["pelvic_fat"]
    narrow = man["cavity"] & (man["depth"] <= 4.5)  # between labelled muscles: small ones, fascia and fat
    tissue[narrow & (smooth_noise(rng, tissue.shape, 18.0)[0] > rng.uniform(-1.3, 0.7))] = CODE["muscle"]
    draw_hip_joints(rng, tissue, labels, heads, man["radius"])
    body = _body(rng, man)
    tissue[body & ~man["hull"]] = CODE["fat"]
    _draw_genitals(rng, tissue, body, heads)
    skin = body & ~eroded(body)
    _draw_bowel(rng, tissue, man)
    _draw_vessels(rng, tissue, heads)
    fill_pelvis(rng, tissue, labels, heads)
    tissue[skin & ((tissue == CODE["fat"]) | (tissue == CODE["bulb"]))] = CODE["skin"]
    return tissue, labels, man["femora"], low


def _body(rng: np.random.Generator, man: dict) -> np.ndarray:
    """The hull with a layer of fat, 4 to 40 mm, uneven, thinner where the couch presses the back flat."""
    hull = man["outline"]
    thickness = float(np.clip(np.exp(rng.normal(np.log(15), 0.5)), 4, 40))
    uneven = 1 + 0.3 * smooth_noise(rng, hull.shape, 90.0)[0]
    middle = man["heads"][:, 1].mean()
    front = np.clip((middle - np.arange(hull.shape[1])) / 30, -1, 1) * rng.uniform(0, 0.5)
    flank = np.abs(np.arange(hull.shape[2]) - man["heads"][:, 2].mean()) / 30
    behind = np.clip((np.arange(hull.shape[1]) - middle) / 15, 0, 1)
    corner = rng.uniform(0, 1.2) * behind[:, None] * np.clip(flank, 0, 1)[None]  # a back flat to its corners
    body = hull | (man["outside"] < thickness * uneven * (1 + front[:, None] + corner)[None])
    back = int(np.flatnonzero(hull.any((0, 2))).max() + rng.uniform(0.1, 0.5) * thickness / SPACING)
    body[:, back:] = False
    return (ndimage.gaussian_filter(body.astype(np.float32), 1.5) > 0.5) | man["hull"]


def _draw_genitals(rng: np.random.Generator, tissue, body, heads) -> None:
    """Penis and scrotum: soft, uneven, below and before the symphysis."""
    middle = heads.mean(0)
    centre = middle + np.array([rng.uniform(-30, -20), rng.uniform(-24, -17), rng.normal(0, 2)])
    size = rng.uniform([7, 6, 6], [13, 12, 12])
    low = np.clip(centre - 1.6 * size, 0, np.array(tissue.shape) - 2).astype(int)
    high = np.clip(centre + 1.6 * size, low + 2, tissue.shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high))
    tissue, body = tissue[box], body[box]
    z, y, x = (np.arange(a, b, dtype=np.float32) for a, b in zip(low, high))
    blob = (((z - centre[0]) / size[0]) ** 2)[:, None, None] + (((y - centre[1]) / size[1]) ** 2)[None, :, None] \
        + (((x - centre[2]) / size[2]) ** 2)[None, None]
    uneven = smooth_noise(rng, tissue.shape, 20.0)[0]
    inside = blob + 0.25 * uneven < 1
    tissue[inside & ~body] = CODE["bulb"]
    tissue[inside & (tissue == CODE["fat"]) & (uneven > 0)] = CODE["bulb"]
    body |= inside


def _draw_bowel(rng: np.random.Generator, tissue, man) -> None:
    """Loops of bowel in the abdominal cavity, some with gas or stool; fat between them."""
    floor = man["heads"][:, 0].mean() + rng.uniform(0, 55) / SPACING
    cavity = man["cavity"] & (man["depth"] > 6)
    cavity[:int(floor)] = False
    loops = smooth_noise(rng, tissue.shape, rng.uniform(18, 30))[0]
    wall = cavity & (loops > rng.uniform(-0.6, 0.5))
    tissue[wall] = CODE["bowel"]
    inner = cavity & (loops > rng.uniform(0.7, 1.1))
    content = smooth_noise(rng, tissue.shape, 60.0)[0]
    tissue[wall & (content + loops > rng.uniform(-1.5, 1.5))] = CODE["chyme"]
    tissue[inner & (content > rng.uniform(0.2, 1.4))] = CODE["gas"]
    tissue[inner & (content < rng.uniform(-1.4, -0.2))] = CODE["stool"]


def _draw_vessels(rng: np.random.Generator, tissue, heads) -> None:
    """Iliac and femoral vessels: from the spine along the pelvic brim to the groin, artery and vein side by side."""
    middle = heads.mean(0)
    path = np.array([(120, -5, 14), (75, 15, 32), (45, 2, 52), (20, -30, 68), (0, -45, 78), (-60, -48, 82)], float)
    fine = np.stack([np.interp(np.linspace(0, 5, 90), np.arange(6), path[:, i]) for i in range(3)], 1)
    radius = rng.uniform(3.0, 5.5)
    canvas = np.zeros(tissue.shape, bool)
    for side in (-1, 1):
        bend = rng.normal(0, 4, 3)
        for shift in (0.0, 2.1):
            points = fine + bend
            points[:, 1] += shift * radius * 0.6
            points[:, 2] = side * (points[:, 2] - shift * radius)
            index = np.round(points / SPACING + middle).astype(int)
            good = ((index >= 0) & (index < tissue.shape)).all(1)
            canvas[tuple(index[good].T)] = True
    tube = ndimage.binary_dilation(canvas, ndimage.generate_binary_structure(3, 1 if radius < 4 else 2))
    tissue[tube & np.isin(tissue, (CODE["pelvic_fat"], CODE["fat"], CODE["bowel"]))] = CODE["vessel"]


def paint(rng: np.random.Generator, tissue: np.ndarray) -> np.ndarray:
    """HU (float32) of a map of tissues: a mean for each tissue, coarse and fine texture, partial volume."""
    codes = len(TISSUES)
    mean, grain = np.zeros(codes, np.float32), np.zeros(codes, np.float32)
    for low_high in TISSUES.values():
        mean[low_high.code] = rng.uniform(low_high.low, low_high.high)
        grain[low_high.code] = low_high.grain * rng.uniform(0.5, 1.5)
    _relate(rng, mean)
    coarse, middle = smooth_noise(rng, tissue.shape, 40.0)[0], smooth_noise(rng, tissue.shape, 10.0)[0]
    fine = rng.standard_normal(tissue.shape, dtype=np.float32)
    hu = mean[tissue] + grain[tissue] * (0.5 * coarse + 0.6 * middle + 0.6 * fine)
    marbling = rng.uniform(0, 1) ** 2 * 90  # fat between the fibres of old muscle
    fibres = np.clip(0.6 * middle + 0.5 * fine + 0.3 * coarse - 0.7, 0, 1)
    hu -= np.where(tissue == CODE["muscle"], marbling * fibres, 0)
    strands = rng.uniform(0, 60)  # vessels, nerves, fascia in the fat between the organs
    fat = (tissue == CODE["pelvic_fat"]).astype(np.float32) + 0.35 * (tissue == CODE["fat"])
    hu += fat * strands * np.clip(0.7 * middle + 0.5 * fine - 0.6, 0, 1.5)
    bubbles = (tissue == CODE["stool"]) & (fine + middle > rng.uniform(1.5, 3.0))
    hu[bubbles] = rng.uniform(-700, -100)
    return ndimage.gaussian_filter(hu, rng.uniform(0.45, 0.75))  # the scanner blurs the rest


def _relate(rng: np.random.Generator, mean: np.ndarray) -> None:
    """Tissues that look alike in one scan: contrast agents, prostate against muscle, wall against content. Without an
    agent urine is darker than the prostate: by 20 to 30 HU in the loose slices."""
    if rng.random() < 0.6:  # the prostate is often as bright as muscle, or a little darker
        mean[CODE["prostate"]] = mean[CODE["muscle"]] + rng.normal(-8, 7)
    mean[CODE["prostate"]] = max(mean[CODE["prostate"]], mean[CODE["urine"]] + rng.uniform(8, 18))
    mean[CODE["rectal_wall"]] = np.clip(mean[CODE["prostate"]] + rng.normal(-5, 8), 5, 65)
    if rng.random() < 0.6:
        mean[CODE["vesicles"]] = mean[CODE["prostate"]] + rng.normal(-8, 7)
    mean[CODE["levator"]] = mean[CODE["muscle"]] + rng.normal(-8, 8)
    if rng.random() < 0.2:  # contrast in the vessels, with it brighter organs
        mean[CODE["vessel"]] += rng.uniform(30, 120)
        mean[CODE["prostate"]] += rng.uniform(5, 35)
        mean[CODE["bowel"]] += rng.uniform(0, 40)
    if rng.random() < 0.08:  # contrast in the bladder
        mean[CODE["urine"]] = rng.uniform(40, 500)
    if rng.random() < 0.15:  # oral contrast
        mean[CODE["bowel"]] = rng.uniform(80, 350)
        mean[CODE["chyme"]] = rng.uniform(-20, 350)
