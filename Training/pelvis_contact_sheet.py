"""Generated samples beside real slices, to look at: `python Training/pelvis_contact_sheet.py [--seed N]`.

Writes Training/runs/pelvis_contact_sheet.png: three axial levels, a coronal and a sagittal cut of each sample, plain
and with labels, then the real scans and the loose slices at the same 3 mm and in the same window (-160 to 240 HU).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pelvis_anatomies import DATA, REPOSITORY, SPACING, load_pack
from pelvis_generator import FULL_WINDOW, SOURCES, known, sample
from PIL import Image

WINDOW = (-160.0, 240.0)
COLOURS = np.array([(0, 0, 0), (255, 60, 60), (255, 220, 0), (60, 160, 255), (160, 90, 30), (60, 255, 60),
                    (255, 0, 255), (120, 120, 255)], np.float32)
TILE = (96, 128)


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


def loose_slices() -> list[np.ndarray]:
    """The 20 single slices (HU) at 3 mm, cropped to what fits a tile."""
    cuts = []
    for file in sorted((DATA / "loose_slices_unlabelled").glob("*.dcm")):
        image = sitk.Cast(sitk.ReadImage(str(file)), sitk.sitkFloat32)
        image = sitk.Clamp(image, sitk.sitkFloat32, -1000, 3000)
        step = SPACING / image.GetSpacing()[0]
        size = [int(n / step) for n in image.GetSize()[:2]] + [1]
        image = sitk.DiscreteGaussian(image, [1.0, 1.0, 0.0])
        image = sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(),
                              [SPACING, SPACING, image.GetSpacing()[2]], image.GetDirection(), -1000.0)
        cuts.append(sitk.GetArrayFromImage(image)[0])
    return cuts


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw generated pelvic samples beside real slices.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=2, help="samples of each source")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "Training" / "runs" / "pelvis_contact_sheet.png")
    options = parser.parse_args()
    rows = []
    for index, name in enumerate(SOURCES):
        for number in range(options.each):
            rng = np.random.default_rng([options.seed, index, number])
            hu, labels, possible = sample(rng, FULL_WINDOW, name)
            rows.append(row(hu, labels, ~known(possible)))
    for name in ("umea", "totalseg"):
        pack = load_pack(name)
        rows.append(row(pack["ct"].astype(np.float32), pack["labels"], ~known(pack["possible"])))
    cuts = [fit(grey(cut)) for cut in loose_slices()]
    while len(cuts) % 8:
        cuts.append(np.zeros_like(cuts[0]))
    rows += [np.concatenate(cuts[i:i + 8], 1) for i in range(0, len(cuts), 8)]
    image = Image.fromarray(np.concatenate(rows, 0))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    image.resize((image.width * 3 // 2, image.height * 3 // 2), Image.BILINEAR).save(options.output)
    print(options.output)


if __name__ == "__main__":
    main()
