"""Structures that lie inside each other (enhancing tumour in tumour core in whole tumour): are they still, after edits?

Which structures nest is read from the model's manifest: those whose labels are a proper part of another's.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from slicer.i18n import tr as _

from afnet.models.manifest import Manifest, Structure

from ..scene.grids import VoxelGrid, grid_of_segmentation
from ..scene.transforms import volume_factor
from .tags import edited_segments, segments_of_structures
from .voxels import OffLattice, cut_to_box, name_of_segment, replace_voxels, segment_voxels


@dataclass(frozen=True)
class Overhang:
    """The part of segment `inner` outside `outer` (segment names), in voxels and ml."""

    inner: str
    outer: str
    voxels: int
    volume_ml: float


@dataclass(frozen=True)
class NestingProblem:
    """How segments fail to nest. grow: whether `make_nested` grows the outer segments, or else cuts the inner ones."""

    overhangs: tuple[Overhang, ...]
    grow: bool

    def sentence(self) -> str:
        """Return what is wrong, how much it is, and what `make_nested` will do."""
        parts = "; ".join(
            _("{inner} extends outside {outer} by {voxels} voxels ({volume:.2f} ml)").format(
                inner=item.inner, outer=item.outer, voxels=item.voxels, volume=item.volume_ml)
            for item in self.overhangs
        )
        outer = ", ".join(dict.fromkeys(item.outer for item in self.overhangs))
        inner = ", ".join(dict.fromkeys(item.inner for item in self.overhangs))
        if self.grow:
            what = _("the button adds these voxels to {names}, so that nothing drawn is lost.").format(names=outer)
        else:
            what = _("they were erased from {outer} only; the button erases them from {inner} too.").format(
                outer=outer, inner=inner)
        return f"{parts}: {what}"


def nested_pairs(manifest: Manifest) -> list[tuple[Structure, Structure]]:
    """Return (inner, outer) for each structure that lies in another, `outer` the smallest such; innermost first."""
    pairs = []
    for inner in sorted(manifest.structures, key=lambda item: len(item.labels)):
        around = [outer for outer in manifest.structures if set(inner.labels) < set(outer.labels)]
        if around:
            pairs.append((inner, min(around, key=lambda item: len(item.labels))))
    return pairs


def check_nesting(
    segmentation, manifest: Manifest, edited: Collection[str] | None = None
) -> NestingProblem | None:
    """Return how the segments of a segmentation node fail to nest, None if they do or cannot be compared.

    The model's own segments nest. So where only an outer segment was edited, a part of it was erased, and what lies
    inside should follow; where an inner one was edited it was painted, and the outer one should follow. If both were,
    the outer ones grow, for what a user drew must not go. edited: the ids of edited segments, if they are known.
    """
    masks = _masks(segmentation, manifest)
    if masks is None:
        return None
    grid, arrays, segments = masks
    voxel_ml = abs(float(np.linalg.det(grid.matrix[:3, :3]))) / 1000 * volume_factor(
        segmentation.GetParentTransformNode())
    overhangs, failing = [], []
    for inner, outer in _pairs(manifest, arrays):
        count = int(np.count_nonzero(arrays[inner] & ~arrays[outer]))
        if count:
            names = [name_of_segment(segmentation, segments[item]) for item in (inner, outer)]
            overhangs.append(Overhang(*names, count, count * voxel_ml))
            failing.append(inner)
    if not overhangs:
        return None
    edited = edited_segments(segmentation) if edited is None else edited
    return NestingProblem(tuple(overhangs), grow=any(segments[item] in edited for item in failing))


def make_nested(segmentation, manifest: Manifest) -> None:
    """Make the segments nest, in the direction that `check_nesting` gives; other segments stay as they are."""
    problem, masks = check_nesting(segmentation, manifest), _masks(segmentation, manifest)
    if problem is None or masks is None:
        return
    grid, arrays, segments = masks
    changed = []
    pairs = _pairs(manifest, arrays)
    for inner, outer in pairs if problem.grow else reversed(pairs):
        if not np.any(arrays[inner] & ~arrays[outer]):
            continue
        if problem.grow:
            arrays[outer] |= arrays[inner]
        else:
            arrays[inner] &= arrays[outer]
        changed.append(outer if problem.grow else inner)
    for structure in dict.fromkeys(changed):
        replace_voxels(segmentation, segments[structure], cut_to_box(arrays[structure]), grid)


def _pairs(manifest: Manifest, arrays: dict) -> list[tuple[str, str]]:
    """Return the pairs of structure ids of which both are there."""
    pairs = [(inner.id, outer.id) for inner, outer in nested_pairs(manifest)]
    return [pair for pair in pairs if set(pair) <= set(arrays)]


def _masks(segmentation, manifest: Manifest) -> tuple[VoxelGrid, dict[str, np.ndarray], dict[str, str]] | None:
    """Return the grid, and structure id to mask [k, j, i] and to segment id, of structures that nest."""
    nesting = {structure.id for pair in nested_pairs(manifest) for structure in pair}
    grid = grid_of_segmentation(segmentation)
    if grid is None or not nesting:
        return None
    segments = {name: item for name, item in segments_of_structures(segmentation, manifest).items()
                if name in nesting}
    arrays = {}
    for structure, segment_id in segments.items():
        try:
            voxels = segment_voxels(segmentation, segment_id, grid)
        except OffLattice:
            return None
        mask = np.zeros(grid.size[::-1], bool)
        box = tuple(slice(start, start + length) for start, length in zip(voxels.start[::-1], voxels.mask.shape))
        inside = all(part.start >= 0 and part.stop <= size for part, size in zip(box, mask.shape))
        if not inside:  # drawn beyond the image: there is nothing to compare with
            return None
        mask[box] = voxels.mask
        arrays[structure] = mask
    return grid, arrays, segments
