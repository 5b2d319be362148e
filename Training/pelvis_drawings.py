"""What two observers drew in real scans that lack contours: the loose slices of ten men, prostate and vesicles of umea,
prostate, vesicles, bladder and rectum of totalseg.

The observers are language models that looked at the pictures, no clinicians. None had a network's result or another's
contours in view; in umea they saw the bladder, the rectum and the treatment volume that came with the scan.
`pelvis_drawings.json` holds polygons in mm, x = column * spacing and y = row * spacing from the middle of the first
pixel (x to the patient's left, y to the back).
"""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
from pelvis_scans.packs import BLADDER, LEFT, PROSTATE, RECTUM, RIGHT, VESICLES
from PIL import Image, ImageDraw

DRAWINGS = Path(__file__).with_name("pelvis_drawings.json")
CODES = {"seminal_vesicles": VESICLES, "prostate": PROSTATE, "bladder": BLADDER, "rectum": RECTUM, "femur_right": RIGHT,
         "femur_left": LEFT}
"""Where contours overlap by a pixel the later name has it."""

DRAWN_WEIGHT = 60  # percent, near what is drawn
OVERSAMPLED = 4


@lru_cache(maxsize=1)
def drawings() -> dict[str, list[dict[str, dict]]]:
    """Under `slices`, `umea` and `totalseg` each of two observers' polygons, by slice and structure.

    The slices are named 1 to 20 as their files, those of umea and totalseg are counted from 0. The femora in the loose
    slices were drawn by the second observer alone.
    """
    return json.loads(DRAWINGS.read_text())


def drawn_codes(polygons: dict[str, list], shape: tuple[int, int], spacing: float) -> np.ndarray:
    """uint8 codes (y, x) of a slice's polygons, on pixels of `spacing` mm: a pixel belongs to what fills half of it."""
    codes = np.zeros(shape, np.uint8)
    for name in (name for name in CODES if name in polygons):
        canvas = Image.new("L", (shape[1] * OVERSAMPLED, shape[0] * OVERSAMPLED))
        for part in polygons[name]:
            corners = [tuple((mm / spacing + 0.5) * OVERSAMPLED for mm in point) for point in part]
            ImageDraw.Draw(canvas).polygon(corners, fill=1)
        fine = np.asarray(canvas).reshape(shape[0], OVERSAMPLED, shape[1], OVERSAMPLED)
        codes[fine.mean((1, 3)) >= 0.5] = CODES[name]
    return codes


def drawn_volume(observer: dict[str, dict], shape: tuple[int, int, int], spacing: float) -> np.ndarray:
    """uint8 codes (z, y, x) of one observer's slices of a scan, whose pixels have `spacing` mm."""
    return np.stack([drawn_codes(observer.get(str(z), {}), shape[1:], spacing) for z in range(shape[0])])
