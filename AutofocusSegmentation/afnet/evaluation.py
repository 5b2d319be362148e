"""How well a segmentation agrees with a reference: Dice, 95 % Hausdorff and mean surface distance, volumes.

Absent structures: in neither, Dice is 1; in one only, it is 0. The distances need both and are None otherwise.
"""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import RequestError
from .images.geometry import corner_points
from .images.reading import read_labelmap
from .images.refusals import foreign_code, foreign_values
from .models.manifest import Manifest, Structure
from .output.segmentation_file import SEGMENTATION_SUFFIX, Segmentation, read_segmentation
from .preprocessing.grid import bounding_box

LATTICE_TOLERANCE = 0.01
"""Largest distance, in voxels, at which two voxel centres count as the same (NIfTI headers are float32)."""

MOST_VOXELS = 50_000_000
"""Size of a box beyond which a structure is compared on the prediction's lattice, if that is the coarser one."""

MOST_CODES_NAMED = 5
"""Codes that a sentence lists before it breaks off."""

Source = str | os.PathLike | sitk.Image


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice's coefficient of two masks of one shape, 2·|a ∩ b| / (|a| + |b|); 1 if both are empty."""
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return float(2 * np.count_nonzero(a & b) / total) if total else 1.0  # numpy 2.4 counts in its own scalars


def surface_distances(
    a: np.ndarray, b: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distances in mm from each surface voxel of `a` to the nearest of `b`, and the other way round.

    `a`, `b`: 3-D masks of one shape, neither empty; `spacing`: mm along the axes of the arrays, in their order. A
    surface voxel has one of its six neighbours outside the mask; the array's edge counts as outside. Distances are
    between voxel centres.
    """
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    box = bounding_box(a | b)
    a, b = np.pad(a[box], 1), np.pad(b[box], 1)  # what lies outside the box is nearest to nothing
    surface_a, surface_b = _surface(a), _surface(b)
    return _distance_to(surface_b, spacing)[surface_a], _distance_to(surface_a, spacing)[surface_b]


def hausdorff95(distances: tuple[np.ndarray, np.ndarray]) -> float:
    """95 % Hausdorff distance in mm of `surface_distances`: the larger of the two directions' 95th percentiles."""
    return max(float(np.percentile(direction, 95)) for direction in distances)


def mean_surface_distance(distances: tuple[np.ndarray, np.ndarray]) -> float:
    """Average symmetric surface distance in mm of `surface_distances`: the mean over both directions together."""
    return float(np.concatenate(distances).mean())


def evaluate(
    manifest: Manifest, truth: Source, prediction: Source, only: Iterable[str | int] | None = None,
    resample: bool = False, tell: Callable[[str], object] = lambda text: None,
) -> list[dict]:
    """Score each structure of a model.

    `truth`, `prediction`: a label map (file or image) in the model's codes, or a .seg.nrrd file. `only`: ids, names
    or codes of the structures that were drawn in the truth; the others are not scored. A prediction on another grid
    is refused unless both are parts of one lattice of voxels or `resample` allows nearest-neighbour resampling. What
    lies outside a grid is background there: a truth or prediction that was saved cropped is scored as the whole.
    `tell` gets a sentence on what may make the scores wrong.

    Returns one dict per structure: id, name, drawn, dice, hd95_mm, surface_distance_mm, truth_ml, prediction_ml; a
    value that is not defined is None. Raises RequestError, InputError.
    """
    drawn = _drawn(manifest, only)
    expected = _open(truth, manifest, "The truth", only is not None, tell)
    found = _open(prediction, manifest, "The prediction", only is not None, tell)
    if not _overlap(expected.grid, found.grid):
        raise RequestError("The prediction lies elsewhere than the truth; give two segmentations of the same image.")
    if not resample and not _same_lattice(expected.grid, found.grid):
        raise RequestError(
            "The prediction is on a different grid from the truth; use --resample to compare it by nearest neighbour."
        )
    rows = []
    for structure in manifest.structures:
        a, b, spacing = _compared(structure, expected, found, resample, tell)
        voxel_ml = math.prod(spacing) / 1000.0
        row = {
            "id": structure.id, "name": structure.name, "drawn": structure.id in drawn, "dice": None,
            "hd95_mm": None, "surface_distance_mm": None, "truth_ml": None,
            "prediction_ml": np.count_nonzero(b) * voxel_ml,
        }
        if row["drawn"]:
            row["truth_ml"] = np.count_nonzero(a) * voxel_ml
            row["dice"] = dice(a, b)
            if a.any() and b.any():
                distances = surface_distances(a, b, spacing)
                row["hd95_mm"], row["surface_distance_mm"] = hausdorff95(distances), mean_surface_distance(distances)
        rows.append(row)
    return rows


def _compared(structure: Structure, expected: "_Opened", found: "_Opened", resample: bool,
              tell: Callable[[str], object]) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Return both masks of a structure (z × y × x) on one grid, the truth's if the memory suffices, and its spacing."""
    masks = [_marked(one.grid, one.mask(structure)) for one in (expected, found)]
    grid = expected.grid
    finer = math.prod(grid.GetSpacing()) < math.prod(found.grid.GetSpacing())
    if resample and finer and math.prod(_common_box(grid, masks)[1]) > MOST_VOXELS:
        tell(f"{structure.name} is compared on the prediction's grid: on the truth's it would take too much memory.")
        grid = found.grid
    return *_on_one_box(grid, masks), grid.GetSpacing()[::-1]


def format_table(rows: list[dict]) -> str:
    """The rows of `evaluate` as a text table; a dash where a value is not defined.

    A last line names the structures that count 0 because the truth lacks them.
    """
    columns = (("Dice", "dice", 3), ("HD95 mm", "hd95_mm", 1), ("Surface mm", "surface_distance_mm", 2),
               ("Truth ml", "truth_ml", 1), ("Result ml", "prediction_ml", 1))
    width = max([len("Structure"), *(len(row["name"]) for row in rows)])
    lines = ["  ".join(["Structure".ljust(width), *(title.rjust(10) for title, _, _ in columns)])]
    for row in rows:
        cells = ["-" if row[key] is None else f"{row[key]:.{digits}f}" for _, key, digits in columns]
        note = "" if row["drawn"] else "  not drawn"
        lines.append("  ".join([row["name"].ljust(width), *(cell.rjust(10) for cell in cells)]) + note)
    lacking = [row["name"] for row in rows if row["truth_ml"] == 0 < row["prediction_ml"]]
    if lacking:
        lines.append(f"Not in the truth, so counted as 0: {', '.join(lacking)}; use --only to exclude what was not "
                     "drawn.")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Opened:
    """A label map or a segmentation, asked for the mask (z × y × x) of one of a model's structures."""

    grid: sitk.Image
    content: np.ndarray | Segmentation
    structures: tuple[Structure, ...]

    def mask(self, structure: Structure) -> np.ndarray:
        if isinstance(self.content, Segmentation):
            mask = self.content.mask(structure.id, self.structures)
            return np.zeros(self.content.voxels.shape[1:], bool) if mask is None else mask
        return np.isin(self.content, structure.labels)


def _open(
    source: Source, manifest: Manifest, what: str, named: bool, tell: Callable[[str], object]
) -> _Opened:
    """Open a source; one of another model (its codes, or no structure of this one) is refused unless the caller `named`
    what is drawn: a fine-tuning may draw structures that the base model does not have."""
    if not isinstance(source, sitk.Image):
        if str(source).lower().endswith(SEGMENTATION_SUFFIX):
            segmentation = read_segmentation(Path(source), what)
            structures = manifest.structures
            if not named and all(segmentation.mask(item.id, structures) is None for item in structures):
                raise RequestError(f"{what} has no segment of the model {manifest.id}; give another file or another "
                                   "model.")
            return _Opened(segmentation.grid, segmentation, structures)
        source = read_labelmap(source, what)
    codes = sitk.GetArrayFromImage(source)
    known = {label for structure in manifest.structures for label in structure.labels}
    found = {int(code) for code in np.unique(codes)} - {0}
    strange = sorted(found - known)
    if strange and not named:
        raise foreign_code(strange[0], what, manifest.id, "name the structures to score with --only")
    if strange and (strange[0] < 0 or not found & known):
        raise foreign_values(what, manifest.id)
    if strange:  # one common code is little: by another program's codes, it can be another organ
        listed = ", ".join(map(str, strange[:MOST_CODES_NAMED]))
        listed += " and more" if len(strange) > MOST_CODES_NAMED else ""
        tell(
            f"{what} also holds codes that the model {manifest.id} does not have ({listed}); recode it if its other "
            "codes are not the model's either."
        )
    return _Opened(source, codes, manifest.structures)


def _drawn(manifest: Manifest, only: Iterable[str | int] | None) -> set[str]:
    """Ids of the structures to score, from ids or names in small or capital letters, or codes."""
    if only is None:
        return {structure.id for structure in manifest.structures}
    drawn = set()
    for wanted in only:
        word = str(wanted).casefold()
        found = [
            structure.id for structure in manifest.structures
            if word in (structure.id.casefold(), structure.name.casefold())
            or [word] == [str(label) for label in structure.labels]
        ]
        if not found:
            known = ", ".join(structure.id for structure in manifest.structures)
            raise RequestError(f"The model {manifest.id} has no structure '{wanted}'; it has {known}.")
        drawn.update(found)
    return drawn


def _same_lattice(a: sitk.Image, b: sitk.Image) -> bool:
    """Whether the voxels of `b` lie on those of the endless grid that `a` is a part of, with the same axes."""
    corners = np.vstack([np.zeros(3, int), np.diag(np.array(b.GetSize()) - 1)])
    points = [b.TransformIndexToPhysicalPoint(corner.tolist()) for corner in corners]
    shift = np.array([a.TransformPhysicalPointToContinuousIndex(point) for point in points]) - corners
    return bool(np.abs(shift - np.rint(shift[0])).max() <= LATTICE_TOLERANCE)


def _overlap(a: sitk.Image, b: sitk.Image) -> bool:
    """Whether the boxes around two grids, along the patient's axes, overlap."""
    (low, high), (other_low, other_high) = (
        (corners.min(axis=0), corners.max(axis=0)) for corners in (corner_points(a, 0.5), corner_points(b, 0.5))
    )
    return bool((low < other_high).all() and (other_low < high).all())


def _marked(grid: sitk.Image, mask: np.ndarray) -> sitk.Image | None:
    """A mask on `grid` as an image (uint8) of the box of what it marks; None if it marks nothing."""
    box = bounding_box(mask)
    if box is None:
        return None
    marked = sitk.GetImageFromArray(mask[box].astype(np.uint8))
    marked.CopyInformation(grid[box[::-1]])
    return marked


def _common_box(grid: sitk.Image, masks: Iterable[sitk.Image | None]) -> tuple[list[int], list[int]]:
    """First voxel and size (x, y, z) of the smallest box of the lattice of `grid` that holds what any mask marks; of
    one voxel if none marks anything."""
    corners = [corner for mask in masks if mask is not None for corner in corner_points(mask, 0.5).tolist()]
    if not corners:
        return [0, 0, 0], [1, 1, 1]
    places = np.array([grid.TransformPhysicalPointToContinuousIndex(corner) for corner in corners])
    first, end = np.ceil([places.min(axis=0), places.max(axis=0)]).astype(int)
    return first.tolist(), np.maximum(end - first, 1).tolist()  # a coarse lattice may have no voxel centre in a mask


def _on_one_box(grid: sitk.Image, masks: Iterable[sitk.Image | None]) -> list[np.ndarray]:
    """The masks (z × y × x) on their common box of the lattice of `grid`.

    They come there by nearest neighbour, which on one lattice moves nothing. None is cut to another's grid: what is
    found beyond a truth that was saved cropped is as wrong as elsewhere.
    """
    first, size = _common_box(grid, masks)
    origin = grid.TransformContinuousIndexToPhysicalPoint([float(index) for index in first])
    return [
        np.zeros(size[::-1], bool) if mask is None else sitk.GetArrayFromImage(sitk.Resample(
            mask, size, sitk.Transform(), sitk.sitkNearestNeighbor, origin, grid.GetSpacing(), grid.GetDirection(), 0,
        )) > 0
        for mask in masks
    ]


def _surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of a mask, which is padded by one, with a face neighbour outside it."""
    inside = mask.copy()
    for axis in range(mask.ndim):
        inside &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    return mask & ~inside


def _distance_to(surface: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Euclidean distance in mm of each voxel centre to the nearest of `surface` (Maurer et al. 2003)."""
    image = sitk.GetImageFromArray(surface.astype(np.uint8))
    image.SetSpacing([float(value) for value in reversed(spacing)])
    distance = sitk.SignedMaurerDistanceMap(
        image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    return np.maximum(sitk.GetArrayFromImage(distance), 0.0)  # negative within a thick corner of the surface
