"""Packs of male pelvic anatomy on the working grid (3 mm isotropic, LPS), the generator's raw material.

    python Training/pelvis_anatomies.py     # ../shared/data/pelvis -> Training/packs/pelvis/*.npz

What a pack holds stands in pelvis_scans/packs.py; arrays are ordered (z, y, x).
"""

import argparse
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import repository

import numpy as np
import SimpleITK as sitk
from pelvis_body import FAT_HU, body_of
from pelvis_drawings import DRAWN_WEIGHT, drawings, drawn_volume
from pelvis_resampling import DATA, resample_labels, shown
from pelvis_scans.femora import cut_femora, femora_from_bone, head_balls
from pelvis_scans.packs import BLADDER, LEFT, PACKS, PROSTATE, RECTUM, SPACING, VESICLES, load_pack
from pelvis_scans.tissues import CODE
from pelvis_slices import MEN, pack_man, pack_name
from scipy import ndimage

from afnet.preprocessing.grid import WorkingGrid
from afnet.preprocessing.imaging import lattice_around

MODEL_WEIGHT = 30  # percent, of labels that a model drew
OBSERVED = 1 << PROSTATE | 1 << VESICLES
"""What the two observers drew in umea."""

WALL_MM = 6.0  # they left 2 to 5 mm of it between the prostate and the bladder of his contours
COLON = 20  # in TotalSegmentator's labels
RECTUM_END = 4  # slices below and above the drawn end

FEMALE_HEADS_MM = ((62, 293, 362), (56, 272, 189))
"""Left and right femoral head of the female scan, (z, y, x) from its first voxel, read off the picture."""

FEMALE_HEAD_RADIUS_MM = 21.0
FEMALE_FEMORA_MM = 132.0
"""Height of the slab, from the scan's lower end, that holds her femora and a margin."""


def _read(path: str) -> sitk.Image:
    return sitk.ReadImage(str(DATA / path))


def _femora(labels: np.ndarray) -> np.ndarray:
    return np.where(labels >= LEFT, labels, 0).astype(np.uint8)


def _observed(path: str, ct: sitk.Image, grid: WorkingGrid) -> list[np.ndarray]:
    """Codes on `grid` of what each of two observers drew in a scan (`path`: its name in the drawings)."""
    images = [sitk.GetImageFromArray(drawn_volume(observer, ct.GetSize()[::-1], ct.GetSpacing()[0]))
              for observer in drawings()[path]]
    for image in images:
        image.CopyInformation(ct)
    return [resample_labels(image, grid) for image in images]


def _possible(hu: np.ndarray, labels: np.ndarray, drawn: list[np.ndarray]) -> np.ndarray:
    """`possible` bits of a scan in which two observers drew organs; `labels` get the first one's (in place).

    Where `labels` hold a code already it is the truth. Undecided: where the observers differ, and the soft tissue that
    neither drew between bladder and prostate, the bladder's wall, which people mostly give to the prostate. Fat is
    background anywhere but in the rectum.
    """
    free = labels == 0
    smooth = ndimage.gaussian_filter(hu, 0.5)
    possible = np.left_shift(1, labels).astype(np.uint8)
    for codes in drawn:
        possible[free] |= np.where(codes > 0, np.left_shift(1, codes), 1).astype(np.uint8)[free]
    certain = free & np.all([codes > 0 for codes in drawn], 0)
    possible[certain] &= ~np.uint8(1)
    labels[free] = drawn[0][free]
    prostate, bladder = (ndimage.distance_transform_edt(labels != code) * SPACING for code in (PROSTATE, BLADDER))
    wall = free & (possible == 1) & (prostate <= WALL_MM) & (bladder <= WALL_MM)
    possible[wall] |= 1 << PROSTATE
    fat = free & (smooth < FAT_HU)
    possible[fat] &= 1 | 1 << RECTUM
    possible[possible == 0] = 1
    labels[fat & (labels != RECTUM)] = 0
    return possible


def pack_umea() -> dict:
    """Real CT; bladder, rectum, heads drawn; femora completed on the bone, prostate and vesicles by two observers."""
    ct, drawn = _read("umea/ct.nii.gz"), _read("umea/labels.nii.gz")
    hu = sitk.GetArrayFromImage(ct).astype(np.float32)
    codes = sitk.GetArrayFromImage(drawn)
    drawn_ml = (codes >= LEFT).sum() / 2 * np.prod(drawn.GetSpacing()) / 1000
    femora = femora_from_bone(hu, np.where(codes >= LEFT, codes, 0))
    codes = np.where(codes == 0, femora, codes)
    drawn_and_femora = sitk.GetImageFromArray(codes)
    drawn_and_femora.CopyInformation(drawn)
    grid = lattice_around(ct, SPACING, 0.0)
    drawn_radius = float(np.cbrt(drawn_ml * 1000 * 3 / (4 * np.pi)))
    whole = resample_labels(drawn_and_femora, grid)
    labels, heads, radius = cut_femora(whole, drawn_radius)
    hu = shown(ct, grid, -1000.0)
    ptv = resample_labels(_read("umea/ptv_not_prostate.nii.gz"), grid)
    possible = _possible(hu, labels, _observed("umea", ct, grid))
    near = ndimage.binary_dilation((possible & OBSERVED) > 0, iterations=2)
    weight = np.where(near & (labels != BLADDER) & (labels != RECTUM), DRAWN_WEIGHT, 100).astype(np.uint8)
    body = resample_labels(_read("umea/external.nii.gz"), grid)
    return dict(ct=np.rint(hu).astype(np.int16), labels=labels, femora=_femora(whole), possible=possible, ptv=ptv,
                body=body, weight=weight, femoral_heads=heads, head_radius_mm=radius)


def pack_totalseg() -> dict:
    """Real CT; the femora a model's, all else drawn by two observers; the scan's end cuts prostate and rectum."""
    ct = _read("totalseg_example/ct.nii.gz")
    grid = lattice_around(ct, SPACING, 0.0)
    hu = np.clip(shown(ct, grid, -1000.0), -1000, 3000)
    femora = _femora(resample_labels(_read("totalseg_example/labels.nii.gz"), grid))
    labels, heads, radius = cut_femora(femora)
    possible = _possible(hu, labels, _observed("totalseg", ct, grid))
    # Where the rectum ends and the sigmoid begins nobody sees to the slice.
    organs = resample_labels(_read("totalseg_example/totalseg_117_pseudolabels.nii.gz"), grid)
    top = int(np.flatnonzero((labels == RECTUM).any((1, 2))).max()) + 1
    open_ends = np.zeros(labels.shape, bool)
    open_ends[top - RECTUM_END:top + RECTUM_END] = True
    gut = (labels == RECTUM) | (organs == COLON) & (labels == 0)
    possible[open_ends & gut] |= 1 | 1 << RECTUM
    weight = np.where(ndimage.binary_dilation(possible != 1, iterations=2), DRAWN_WEIGHT, 100)
    weight[ndimage.binary_dilation(femora > 0, iterations=2)] = MODEL_WEIGHT
    return dict(ct=np.rint(hu).astype(np.int16), labels=labels, femora=femora, possible=possible,
                body=body_of(hu).astype(np.uint8), weight=weight.astype(np.uint8), femoral_heads=heads,
                head_radius_mm=radius)


def pack_female() -> dict:
    """Real CT of a woman from chest to thighs, a large mass in her pelvis, nothing drawn.

    Nowhere is a prostate or a vesicle. Her femora are found on the bone, like umea's; in the lowest 130 mm soft tissue
    and gas between them may be bladder or rectum; all else is background for certain.
    """
    ct = sitk.DICOMOrient(_read("tcga_ov_female_unlabelled/ct.nii.gz"), "LPS")
    ct.SetOrigin((0.0, 0.0, 0.0))
    grid = lattice_around(ct, SPACING, 0.0)
    hu = np.clip(shown(ct, grid, -1000.0), -1000, 3000)
    body = body_of(hu)
    heads = np.array(FEMALE_HEADS_MM, np.float32) / SPACING
    possible = np.ones(hu.shape, np.uint8)
    smooth = ndimage.gaussian_filter(hu, 0.5)
    low = np.zeros(hu.shape, bool)
    low[:round(130 / SPACING)] = True
    between = np.zeros(hu.shape, bool)
    between[:, :, int(heads[1, 2]):int(heads[0, 2])] = True
    possible[low & between & body & ((smooth > -30) | (smooth < -250))] |= (1 << BLADDER) | (1 << RECTUM)
    femora = resample_labels(_female_femora(ct), grid)
    labels, heads, radius = cut_femora(femora, FEMALE_HEAD_RADIUS_MM)
    possible[labels > 0] = np.left_shift(1, labels[labels > 0])
    return dict(ct=np.rint(hu).astype(np.int16), labels=labels, femora=femora, possible=possible,
                body=body.astype(np.uint8), femoral_heads=heads, head_radius_mm=radius)


def _female_femora(ct: sitk.Image) -> sitk.Image:
    """Her whole femora (codes 5, 6) in the lowest slices of `ct`, grown from two balls inside the heads."""
    slab = ct[:, :, :round(FEMALE_FEMORA_MM / ct.GetSpacing()[2])]
    hu = sitk.GetArrayFromImage(slab).astype(np.float32)
    heads = head_balls(hu.shape, slab.GetSpacing()[::-1], FEMALE_HEADS_MM, FEMALE_HEAD_RADIUS_MM)
    femora = sitk.GetImageFromArray(femora_from_bone(hu, heads))
    femora.CopyInformation(slab)
    return femora


def pack_bones_and_muscles(patient: str) -> dict:
    """Whole bones and 24 muscles of a man without CT. The generator fills the rest."""
    parts_image = _read(f"msk_labels_{patient}/musculoskeletal_28.nii.gz")
    grid = lattice_around(parts_image, SPACING, 0.0)
    parts = resample_labels(parts_image, grid)
    femora = resample_labels(_read(f"msk_labels_{patient}/labels.nii.gz"), grid)
    keep = _above_air(parts)
    parts, femora = parts[keep], femora[keep]
    tissue = np.zeros(parts.shape, np.uint8)
    muscle = (parts >= 5) | (parts == 25)
    tissue[muscle] = CODE["muscle"]
    bone = ((parts >= 1) & (parts <= 4)) | (femora > 0)
    bone = np.stack([ndimage.binary_fill_holes(s) for s in bone])
    tissue[bone] = CODE["marrow"]
    shell = bone & ~ndimage.binary_erosion(bone, border_value=1)
    tissue[shell] = CODE["cortex"]
    labels, heads, radius = cut_femora(femora)
    shaft = (femora > 0) & (labels == 0)
    tissue[shaft & ~shell] = CODE["shaft_marrow"]
    pad = 14  # room for subcutaneous fat
    room = [(0, 0), (pad, pad), (pad, pad)]
    tissue, labels, femora = np.pad(tissue, room), np.pad(labels, room), np.pad(femora, room)
    heads = heads + np.array([0, pad, pad], np.float32)
    level = int(heads[:, 0].mean())
    hull = _closed(tissue > 0, [60 if z >= level - 23 else 15 for z in range(len(tissue))])
    # The skin bridges what the muscles leave open: groin, lower abdomen, buttocks.
    outline = _closed(hull, [150 if z >= level - 16 else 60 if z >= level - 23 else 15 for z in range(len(tissue))])
    possible = np.left_shift(1, labels).astype(np.uint8)
    return dict(tissue=tissue, labels=labels, femora=_femora(femora), possible=possible, hull=hull.astype(np.uint8),
                body=(hull | outline).astype(np.uint8), femoral_heads=heads, head_radius_mm=radius)


def _above_air(parts: np.ndarray) -> tuple[slice, slice, slice]:
    """The box of anything labelled, one voxel wider in the plane."""
    where = np.argwhere(parts.any(0))
    low, high = np.maximum(where.min(0) - 1, 0), where.max(0) + 2
    return slice(None), slice(low[0], high[0]), slice(low[1], high[1])


def _closed(mask: np.ndarray, reach_mm: list[int]) -> np.ndarray:
    """`mask` closed by `reach_mm` in each axial slice, holes filled, smoothed."""
    hull = np.empty(mask.shape, bool)
    for z, slice_ in enumerate(mask):
        n = reach_mm[z] // 3
        wide = np.pad(slice_, n)
        grown = ndimage.distance_transform_edt(~wide) <= n
        closed = ndimage.distance_transform_edt(ndimage.binary_fill_holes(grown)) > n
        hull[z] = closed[n:-n, n:-n] | ndimage.binary_fill_holes(slice_)
    return ndimage.gaussian_filter(hull.astype(np.float32), 1.5) > 0.5


def pack_organs(folder: str) -> dict:
    """Organ labels only (shapes for insertion): hubmap_male_labels or umea_water_labels."""
    image = _read(f"{folder}/labels.nii.gz")
    return dict(labels=resample_labels(image, lattice_around(image, SPACING, 0.0)))


PACKERS = {
    "umea": pack_umea,
    "totalseg": pack_totalseg,
    "female": pack_female,
    "msk_001": lambda: pack_bones_and_muscles("001"),
    "msk_004": lambda: pack_bones_and_muscles("004"),
    "hubmap": lambda: pack_organs("hubmap_male_labels"),
    "umea_water": lambda: pack_organs("umea_water_labels"),
} | {pack_name(man): partial(pack_man, man) for man in MEN}


def make_packs(folder: Path = PACKS, names: Iterable[str] = PACKERS) -> None:
    """Write the packs `names` to `folder`, over those that are there. Raises FileNotFoundError without the data."""
    if not DATA.is_dir():
        raise FileNotFoundError(f"There is no pelvis data in {DATA}: put it there, or copy packs to {folder}.")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        np.savez_compressed(folder / f"{name}.npz", **PACKERS[name]())


def main() -> None:
    parser = argparse.ArgumentParser(description="Pack the pelvic anatomies on the 3 mm working grid.")
    parser.add_argument("--output", type=Path, default=PACKS)
    folder = parser.parse_args().output
    for name in PACKERS:
        make_packs(folder, [name])
        pack = load_pack(name, folder)
        volumes = {c: round(float((pack["labels"] == c).sum()) * SPACING**3 / 1000, 1) for c in range(1, 7)}
        print(f"{name:12s} {pack['labels'].shape} ml {volumes}")


if __name__ == "__main__":
    main()
