"""Generated samples beside real slices, to look at: `python Training/pelvis_contact_sheet.py [--seed N]`.

Writes Training/runs/pelvis_contact_sheet.png: three axial levels, a coronal and a sagittal cut of each sample, plain
and with labels, then the real scans and the loose slices on the same working grid, in the same window (-160 to 240 HU).
"""

import argparse
from pathlib import Path

from repository import REPOSITORY

import numpy as np
import SimpleITK as sitk
from pelvis_resampling import DATA
from pelvis_scans.generator import SOURCES, weighted_sample
from pelvis_scans.packs import known
from PIL import Image

from afnet.preprocessing.imaging import lattice_around
from afnet.preprocessing.resolution import FWHM_TO_SIGMA, shown_on

WINDOW = (-160.0, 240.0)
COLOURS = np.array([(0, 0, 0), (255, 60, 60), (255, 220, 0), (60, 160, 255), (160, 90, 30), (60, 255, 60),
                    (255, 0, 255), (120, 120, 255)], np.float32)
TILE = (76, 100)


def grey(hu: np.ndarray, labels: np.ndarray | None = None, unknown: np.ndarray | None = None) -> np.ndarray:
    """RGB (height, width, 3) uint8 of a cut in HU, labels in colour, undecided voxels in pale blue."""
    value = np.clip((hu - WINDOW[0]) / (WINDOW[1] - WINDOW[0]), 0, 1) * 255
    rgb = np.repeat(value[..., None], 3, -1)
    for mask, colour in ((labels, None), (unknown, COLOURS[7])):
        if mask is not None:
            paint = COLOURS[mask] if colour is None else np.broadcast_to(colour, rgb.shape)
            rgb = np.where((mask > 0)[..., None], 0.65 * rgb + 0.35 * paint, rgb)
    return rgb.astype(np.uint8)


def fit(tile: np.ndarray) -> np.ndarray:
    """A cut in the middle of a black tile of TILE, cropped where larger."""
    result = np.zeros((*TILE, 3), np.uint8)
    low = [max(0, (n - t) // 2) for n, t in zip(tile.shape, TILE)]
    part = tile[low[0]:low[0] + TILE[0], low[1]:low[1] + TILE[1]]
    at = [(t - n) // 2 for n, t in zip(part.shape, TILE)]
    result[at[0]:at[0] + part.shape[0], at[1]:at[1] + part.shape[1]] = part
    return result


def row(hu: np.ndarray, labels: np.ndarray, unknown: np.ndarray | None = None) -> np.ndarray:
    """Axial cuts below, through and above the prostate (plain and labelled), then coronal and sagittal."""
    organ = np.argwhere((labels == 1) | (labels == 2))
    organ = organ if len(organ) else np.argwhere(labels == 3)
    z, y, x = organ.mean(0).astype(int) if len(organ) else np.array(hu.shape) // 2
    tiles = []
    for level in (z - 5, z, z + 6):
        level = int(np.clip(level, 0, len(hu) - 1))
        tiles += [grey(hu[level]), grey(hu[level], labels[level], None if unknown is None else unknown[level])]
    tiles += [grey(hu[::-1, y], labels[::-1, y]), grey(hu[::-1, :, x], labels[::-1, :, x])]
    return np.concatenate([fit(t) for t in tiles], 1)


def real_scans(spacing: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """HU and drawn labels of the real scans, prepared as `afnet` prepares a patient's."""
    scans = []
    for folder, drawn in (("umea", True), ("totalseg_example", True), ("tcga_ov_female_unlabelled", False)):
        ct = sitk.DICOMOrient(sitk.ReadImage(str(DATA / folder / "ct.nii.gz"), sitk.sitkFloat32), "LPS")
        grid = lattice_around(ct, spacing, 0.0)
        hu = shown_on(grid, ct, -1000.0)
        labels = np.zeros(hu.shape, np.uint8)
        if drawn:
            image = sitk.ReadImage(str(DATA / folder / "labels.nii.gz"), sitk.sitkFloat32)
            labels = grid.resample(image, 0.0, sitk.sitkNearestNeighbor).astype(np.uint8)
        scans.append((hu, labels))
    return scans


def loose_slices(spacing: float) -> list[np.ndarray]:
    """The 20 single slices (HU), blurred and sampled in their plane alone."""
    cuts = []
    for file in sorted((DATA / "loose_slices_unlabelled").glob("*.dcm")):
        image = sitk.Clamp(sitk.ReadImage(str(file), sitk.sitkFloat32), sitk.sitkFloat32, -1000, 3000)
        pixel, _, thickness = image.GetSpacing()
        size = [int(n * pixel / spacing) for n in image.GetSize()[:2]] + [1]
        variance = (spacing**2 - pixel**2) * FWHM_TO_SIGMA**2
        image = sitk.DiscreteGaussian(image, [variance, variance, 0.0])
        image = sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(),
                              [spacing, spacing, thickness], image.GetDirection(), -1000.0)
        cuts.append(sitk.GetArrayFromImage(image)[0])
    return cuts


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw generated pelvic samples beside real slices.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=2, help="samples of each source")
    parser.add_argument("--spacing", type=float, default=4.0, help="mm, of the working grid")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "Training" / "runs" / "pelvis_contact_sheet.png")
    options = parser.parse_args()
    rows = []
    for index, name in enumerate(SOURCES):
        for number in range(options.each):
            rng = np.random.default_rng([options.seed, index, number])
            drawn = weighted_sample(rng, source=name, spacing=options.spacing)
            rows.append(row(drawn.hu, drawn.labels, ~known(drawn.possible)))
    rows += [row(hu, labels) for hu, labels in real_scans(options.spacing)]
    cuts = [fit(grey(cut)) for cut in loose_slices(options.spacing)]
    while len(cuts) % 8:
        cuts.append(np.zeros_like(cuts[0]))
    rows += [np.concatenate(cuts[i:i + 8], 1) for i in range(0, len(cuts), 8)]
    image = Image.fromarray(np.concatenate(rows, 0))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    image.resize((image.width * 2, image.height * 2), Image.BILINEAR).save(options.output)
    print(options.output)


if __name__ == "__main__":
    main()
