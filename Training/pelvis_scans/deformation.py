"""Smooth random fields, and warps from a pack to the network's window. Arrays are (z, y, x), lengths mm."""

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from .packs import SPACING


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], knot_mm: float, count: int = 1) -> np.ndarray:
    """`count` smooth fields of zero mean and unit variance, (count, z, y, x), with knots every `knot_mm`."""
    knots = [max(2, int(np.ceil(n * SPACING / knot_mm)) + 1) for n in shape]
    coarse = torch.from_numpy(rng.standard_normal((1, count, *knots), dtype=np.float32))
    fine = F.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)[0]
    sparse = fine[:, ::3, ::3, ::3]  # a third of the voxels along each axis tells mean and spread well enough
    fine -= sparse.mean((1, 2, 3), keepdim=True)
    fine /= sparse.std((1, 2, 3), keepdim=True).clamp(min=1e-3)
    return fine.numpy()


def eroded(mask: np.ndarray) -> np.ndarray:
    """`mask` without the voxels that have a face on its outside; the array's border counts as inside."""
    result = mask.copy()
    for axis in range(3):
        moved, kept = np.moveaxis(mask, axis, 0), np.moveaxis(result, axis, 0)
        kept[1:] &= moved[:-1]
        kept[:-1] &= moved[1:]
    return result


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest part of `mask` whose voxels hang together by their faces; an empty mask as it is."""
    pieces, count = ndimage.label(mask)
    return pieces == np.bincount(pieces.ravel())[1:].argmax() + 1 if count else mask


def rotation(rng: np.random.Generator, z_degrees: float, tilt_degrees: float) -> np.ndarray:
    """3 x 3 rotation of (z, y, x): up to `z_degrees` about the body's axis, `tilt_degrees` about the others."""
    about_z, about_y, about_x = np.deg2rad(rng.uniform(-1, 1, 3) * [z_degrees, tilt_degrees, tilt_degrees])
    c, s = np.cos, np.sin
    z = np.array([[1, 0, 0], [0, c(about_z), -s(about_z)], [0, s(about_z), c(about_z)]])
    y = np.array([[c(about_y), 0, -s(about_y)], [0, 1, 0], [s(about_y), 0, c(about_y)]])
    x = np.array([[c(about_x), -s(about_x), 0], [s(about_x), c(about_x), 0], [0, 0, 1]])
    return z @ y @ x


def window_coordinates(rng: np.random.Generator, shape: tuple[int, int, int], centre: np.ndarray, mirror: bool,
                       scale: tuple[float, float] = (0.85, 1.2), elastic_mm: tuple[float, float] = (4.5, 1.2),
                       tilt_degrees: float = 5.0) -> np.ndarray:
    """Where in the pack each voxel of the window comes from: (3, z, y, x) voxel coordinates, float32.

    The window's middle looks at `centre`; `mirror` flips left and right, and labels must then be swapped.
    A scale above 1 makes the patient larger. `elastic_mm` is the spread of the coarse and the fine bending.
    """
    size = np.exp(rng.uniform(*np.log(scale))) * np.exp(rng.normal(0, 0.04, 3))
    matrix = rotation(rng, 20.0 if rng.random() < 0.3 else 5.0, tilt_degrees) / size[None]
    if mirror:
        matrix = np.diag([1.0, 1.0, -1.0]) @ matrix
    axes = [np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    coordinates = np.tensordot(matrix.astype(np.float32), grid, 1) + centre.astype(np.float32)[:, None, None, None]
    for spread, knot in zip(elastic_mm, (75.0, 30.0), strict=True):
        amount = spread * rng.uniform(0.3, 1.0) / SPACING
        coordinates += amount * smooth_noise(rng, shape, knot, 3)
    return coordinates


def inflate(coordinates: np.ndarray, centre: np.ndarray, reach_mm: np.ndarray, factor: float) -> np.ndarray:
    """Coordinates that make what lies around `centre` (voxels) larger by `factor`, and push its surroundings away.

    Radial, q + (q - c) (1/factor - 1) exp(-|q - c|^2 / 2 reach^2): one to one for factors from 0.45 to 2.
    """
    offset = coordinates - np.asarray(centre, np.float32)[:, None, None, None]
    reach = (np.asarray(reach_mm, np.float32) / SPACING)[:, None, None, None]
    weight = np.exp(-0.5 * ((offset / reach) ** 2).sum(0))
    return coordinates + offset * ((1.0 / factor - 1.0) * weight)


def warp(volume: np.ndarray, coordinates: np.ndarray, outside: float, nearest: bool = False) -> np.ndarray:
    """`volume` at the coordinates, trilinear (float32) or nearest (own type), `outside` beyond its voxels."""
    scale = torch.tensor([max(n - 1, 1) for n in volume.shape], dtype=torch.float32)
    grid = torch.from_numpy(np.moveaxis(coordinates, 0, -1)) / scale * 2 - 1
    source = torch.from_numpy(volume.astype(np.float32) - outside)[None, None]
    mode = "nearest" if nearest else "bilinear"
    result = F.grid_sample(source, grid.flip(-1)[None], mode=mode, padding_mode="zeros", align_corners=True)
    result = result[0, 0].add_(outside)
    return result.round_().numpy().astype(volume.dtype) if nearest else result.numpy()


def end_femora_in_planes(labels: np.ndarray, possible: np.ndarray, femora: np.ndarray, level: np.ndarray,
                         lowest: dict[int, int]) -> None:
    """Let the labels of the femora end in an axial plane of the window (in place), as contours do.

    `femora` holds the warped femora beyond the label's end, `level` where each voxel's z came from in the pack,
    `lowest` each label's lowest slice there. A slice is labelled where the femur's voxels came from above that, in the
    mean: a pack's plane, tilted and bent, would end each label obliquely at another place.
    """
    for code, low in lowest.items():
        whole = femora == code
        count = whole.sum((1, 2))
        mean = np.where(whole, level, 0).sum((1, 2)) / np.maximum(count, 1)
        labelled = (mean >= low - 0.5)[:, None, None]
        for part, label, bits in ((whole & labelled, code, 1 << code), (whole & ~labelled, 0, 1)):
            labels[part], possible[part] = label, bits


def swap_sides(labels: np.ndarray, possible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and `possible` bits of a mirrored patient: left femur (5) becomes right (6) and the reverse."""
    table = np.array([0, 1, 2, 3, 4, 6, 5], np.uint8)
    left, right = (possible >> 5) & 1, (possible >> 6) & 1
    return table[labels], (possible & 0b0011111) | (right << 5) | (left << 6)
