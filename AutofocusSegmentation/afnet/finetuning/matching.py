"""Which segment of a user's segmentation is which structure: by the user's word, tag, terminology, then name."""

from dataclasses import dataclass

import numpy as np

from ..models.manifest import Structure
from ..output.segment_header import Segment
from ..output.segment_tags import structure_shown
from ..output.segmentation_file import Segmentation


@dataclass(frozen=True)
class SegmentMatch:
    """A segment (or code) and the structure it was taken for; `by`: mapping, tag, terminology, name, code or none.

    It is where `voxels` (z, y, x), which all of a layer or label map share, have one of `labels`.
    """

    segment: str
    id: str
    structure: str | None
    by: str
    voxels: np.ndarray
    labels: tuple[int, ...]

    @property
    def mask(self) -> np.ndarray:
        """Made anew each time: a label map can have more codes than the memory has room for masks."""
        return self.voxels == self.labels[0] if len(self.labels) == 1 else np.isin(self.voxels, self.labels)


def match_segments(
    segmentation: Segmentation, structures: tuple[Structure, ...], mapping: dict[str, str | None]
) -> list[SegmentMatch]:
    """Match every segment of a .seg.nrrd file, those that `mapping` names first; masks (z, y, x) are on its grid."""
    found = []
    for segment in segmentation.segments:
        structure, by = _structure_of(segment, structures, mapping)
        voxels = segmentation.voxels[segment.layer]
        found.append(SegmentMatch(segment.name or segment.id, segment.id, structure, by, voxels, (segment.label,)))
    return _mapped_first(found)


def match_codes(
    codes: np.ndarray, structures: tuple[Structure, ...], mapping: dict[str, str | None]
) -> list[SegmentMatch]:
    """Match a label map (z, y, x): each structure to all its codes, by a name that lists them ('1, 2, 4'), and each
    code that is no structure's as `mapping` says. What `mapping` says of comes first.

    Structures lie in one another, so what is said of one leaves its codes to the others: with {'4': None} nobody drew
    the enhancing tumour, which still is tumour. A strange code that is mapped to a structure belongs to those around
    that, too. One that is not mapped gives a SegmentMatch without structure, by 'none'.
    """
    present = {int(code) for code in np.unique(codes) if code}
    known = {label for structure in structures for label in structure.labels}
    strange = {code: mapping.get(str(code)) for code in sorted(present - known)}
    labels = {structure.id: set(structure.labels) for structure in structures}
    found = []
    for structure in structures:
        inner = {id for id, own in labels.items() if own < labels[structure.id]}
        own = present & labels[structure.id] | {code for code, target in strange.items() if target in inner}
        name = ", ".join(map(str, sorted(labels[structure.id])))
        if own:
            target, by = (mapping[name], "mapping") if name in mapping else (structure.id, "code")
            found.append(SegmentMatch(name, name, target, by, codes, tuple(own)))
    names = {match.id for match in found}
    for code in sorted(present):
        name = str(code)
        if code in strange or (mapping.get(name) and name not in names):
            by = "mapping" if name in mapping else "none"
            found.append(SegmentMatch(name, name, mapping.get(name), by, codes, (code,)))
    return _mapped_first(found)


def _mapped_first(matches: list[SegmentMatch]) -> list[SegmentMatch]:
    """So that two segments of one structure are judged alike, whichever comes first in the file."""
    return sorted(matches, key=lambda match: match.by != "mapping")


def _structure_of(
    segment: Segment, structures: tuple[Structure, ...], mapping: dict[str, str | None]
) -> tuple[str | None, str]:
    for key in (segment.id, segment.name):
        if key in mapping:
            return mapping[key], "mapping"
    structure, by = structure_shown(segment.name or segment.id, segment.tags, structures)
    return structure.id if structure else None, by
