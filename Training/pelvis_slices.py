"""Ten men of whom there are two loose slices each, as short scans with what `pelvis_drawings.py` holds of them.

Where the observers differ both codes are possible. Between a man's two slices, 10 to 35 mm apart, the scan goes
linearly from one to the other, and END_MM beyond each it repeats it: what lies there is no anatomy, but it looks to a
network as a short scan does, whose last slice `afnet.preprocessing.imaging` repeats.
"""

import numpy as np
import SimpleITK as sitk
from pelvis_body import FAT_HU, body_of, is_soft
from pelvis_drawings import CODES, DRAWN_WEIGHT, drawings, drawn_codes
from pelvis_resampling import DATA, resample_labels, shown
from pelvis_scans.packs import AIR, BLADDER, LEFT, PROSTATE, RECTUM, RIGHT, SPACING, VESICLES, known
from scipy import ndimage

from afnet.preprocessing.grid import WorkingGrid
from afnet.preprocessing.imaging import lattice_around

MEN = tuple(range(1, 20, 2))
"""Number of each man's first slice; the next one is his too, and lies higher."""

END_MM = 15.0  # how far each slice is repeated
SLICE_MM = 2.5
ONE_END = 0.2
"""Up to this part of the way to the other slice only the nearer one's codes are possible."""


def pack_name(man: int) -> str:
    """Name of a man's pack."""
    return f"slices_{man:02d}"


def _with_femora(polygons: dict[str, list], number: int) -> dict[str, list]:
    femora = {name: parts for name, parts in drawings()["slices"][1][str(number)].items() if CODES[name] >= LEFT}
    return femora | polygons


def read_slice(number: int) -> sitk.Image:
    """Slice `number` (1 to 20), int16 HU."""
    return sitk.Cast(sitk.ReadImage(str(DATA / "loose_slices_unlabelled" / f"Image_{number}.dcm")), sitk.sitkInt16)


def levels(gap_mm: float) -> np.ndarray:
    """Heights (mm above the lower slice) of the scan's slices."""
    return np.arange(-END_MM, gap_mm + END_MM + 0.01, SLICE_MM)


def short_scan(man: int) -> tuple[sitk.Image, float]:
    """The scan of `man` (int16 HU, LPS) and how far his two slices are apart, mm."""
    low, high = read_slice(man), read_slice(man + 1)
    gap = high.GetOrigin()[2] - low.GetOrigin()[2]
    part = np.clip(levels(gap) / gap, 0, 1)[:, None, None]
    ends = [sitk.GetArrayFromImage(image).astype(np.float32) for image in (low, high)]
    return _placed(np.rint((1 - part) * ends[0] + part * ends[1]).astype(np.int16), low), gap


def _placed(array: np.ndarray, low: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((*low.GetSpacing()[:2], SLICE_MM))
    image.SetOrigin((*low.GetOrigin()[:2], low.GetOrigin()[2] - END_MM))
    return image


def possible_codes(man: int, grid: WorkingGrid) -> tuple[np.ndarray, np.ndarray]:
    """On `grid`: the first observer's codes of the nearer slice, and the bits of all that either drew in either slice,
    without the farther slice's near an end (uint8, z, y, x)."""
    low = read_slice(man)
    gap = read_slice(man + 1).GetOrigin()[2] - low.GetOrigin()[2]
    shape, spacing = low.GetSize()[1::-1], low.GetSpacing()[0]
    pairs = [np.stack([drawn_codes(_with_femora(observer[str(number)], number), shape, spacing)
                       for number in (man, man + 1)]) for observer in drawings()["slices"]]

    def on_grid(pair: np.ndarray, change: float) -> np.ndarray:
        """Codes where the upper slice's begin at the part `change` of the way."""
        upper = levels(gap) / gap > change
        return resample_labels(_placed(pair[upper.astype(int)], low), grid)

    labels = on_grid(pairs[0], 0.5)
    bits = np.left_shift(1, labels)
    for pair in pairs:
        for change in (ONE_END, 1 - ONE_END):
            bits |= np.left_shift(1, on_grid(pair, change))
    return labels, bits


def undecided(hu: np.ndarray, labels: np.ndarray, possible: np.ndarray) -> np.ndarray:
    """`possible` (changed in place; all (z, y, x)) without organs in fat, and with what a contour leaves open: vesicles
    behind bladder and prostate where there is a bladder, and a femur's border against bone."""
    smooth = ndimage.gaussian_filter(hu, 0.5)
    soft = is_soft(smooth) & (labels == 0)
    front = np.isin(labels, (PROSTATE, BLADDER))
    near = ndimage.distance_transform_edt(~front) * SPACING <= 15
    for z in np.flatnonzero((labels == BLADDER).any((1, 2))):
        behind = np.arange(hu.shape[1])[:, None] > np.argwhere(front[z])[:, 0].mean()
        possible[z][soft[z] & near[z] & behind] |= 1 << VESICLES
    for code in (LEFT, RIGHT):
        femur = labels == code
        border = ndimage.binary_dilation(femur) & ~ndimage.binary_erosion(femur, border_value=1)
        possible[border] |= 1 | 1 << code
    fat = (smooth < FAT_HU) & (labels < LEFT)
    possible[fat] &= 1 | 1 << RECTUM
    possible[possible == 0] = 1
    return possible


def pack_man(man: int) -> dict:
    """The pack (pelvis_scans/packs.py) of one man; `femoral_heads` are the middles of what is drawn of his femora.

    `femora` hold only what is certain: `end_femora_in_planes` writes them over what is possible.
    """
    ct, _ = short_scan(man)
    grid = lattice_around(ct, SPACING, 0.0)
    hu = np.clip(shown(ct, grid, AIR), AIR, 3000)
    labels, possible = possible_codes(man, grid)
    kept = np.flatnonzero((hu > AIR).any((1, 2)))  # the grid may begin or end beyond the scan's last slice, in air
    hu, labels, possible = (array[kept[0]:kept[-1] + 1] for array in (hu, labels, possible))
    possible = undecided(hu, labels, possible)
    impossible = (np.right_shift(possible, labels) & 1) == 0
    labels[impossible] = 0
    possible[impossible] |= 1
    body = body_of(hu)
    near = ndimage.binary_dilation(possible != 1, iterations=2)
    heads = np.array([np.argwhere(labels == code).mean(0) for code in (LEFT, RIGHT)], np.float32)
    return dict(ct=np.rint(hu).astype(np.int16), labels=labels, possible=possible, body=body.astype(np.uint8),
                femora=np.where((labels >= LEFT) & known(possible), labels, 0).astype(np.uint8), femoral_heads=heads,
                weight=np.where(near, DRAWN_WEIGHT, 100).astype(np.uint8))
