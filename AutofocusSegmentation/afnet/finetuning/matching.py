"""Which segment of a user's segmentation is which structure: by the user's word, tag, terminology, then name."""

import re
from dataclasses import dataclass

import numpy as np

from ..manifest import Structure
from ..segmentation_file import Segment, Segmentation
from ..terminology import STRUCTURE_TAG


@dataclass(frozen=True)
class Match:
    """A segment (or code) and the structure it was taken for; `by`: mapping, tag, terminology, name, code or none."""

    segment: str
    id: str
    structure: str | None
    by: str
    mask: np.ndarray


def match_segments(
    segmentation: Segmentation, structures: tuple[Structure, ...], mapping: dict[str, str | None]
) -> list[Match]:
    """Match every segment of a .seg.nrrd file; masks are (z, y, x) on its own grid."""
    found = []
    for segment in segmentation.segments:
        structure, by = _structure_of(segment, structures, mapping)
        mask = segmentation.voxels[segment.layer] == segment.label
        found.append(Match(segment.name or segment.id, segment.id, structure, by, mask))
    return found


def match_codes(codes: np.ndarray, structures: tuple[Structure, ...], mapping: dict[str, str | None]) -> list[Match]:
    """Match the codes of a label map (z, y, x): those in `mapping` as it says, the others as codes of the model.

    A code that is neither gives a Match without structure, by 'none'.
    """
    present = [int(code) for code in np.unique(codes) if code]
    mapped = {code: mapping[str(code)] for code in present if str(code) in mapping}
    found = [Match(str(code), str(code), target, "mapping", codes == code) for code, target in mapped.items()]
    rest = [code for code in present if code not in mapped]
    for structure in structures:
        own = [code for code in rest if code in structure.labels]
        if own:
            name = ", ".join(map(str, own))
            found.append(Match(name, name, structure.id, "code", np.isin(codes, own)))
    known = {label for structure in structures for label in structure.labels}
    return found + [Match(str(code), str(code), None, "none", codes == code) for code in rest if code not in known]


def _structure_of(
    segment: Segment, structures: tuple[Structure, ...], mapping: dict[str, str | None]
) -> tuple[str | None, str]:
    for key in (segment.id, segment.name):
        if key in mapping:
            return mapping[key], "mapping"
    ids = [structure.id for structure in structures]
    if segment.tags.get(STRUCTURE_TAG) in ids:
        return segment.tags[STRUCTURE_TAG], "tag"
    codes = _codes(segment.tags.get("TerminologyEntry", ""))
    name = _words(segment.name)
    for by, same in (
        ("terminology", lambda structure: codes is not None and codes == _own_codes(structure)),
        ("name", lambda structure: name in map(_words, (structure.name, structure.id, structure.tg263 or "-"))),
    ):
        structure = next((structure for structure in structures if same(structure)), None)
        if structure:
            return structure.id, by
    return None, "none"


def _codes(entry: str) -> tuple | None:
    """(scheme, value) of type and of its modifier in Slicer's TerminologyEntry tag; None if there is no type."""
    parts = entry.split("~")
    if len(parts) < 4 or not parts[2].strip("^"):
        return None
    modifier = tuple(parts[3].split("^")[:2]) if parts[3].strip("^") else None
    return tuple(parts[2].split("^")[:2]), modifier


def _own_codes(structure: Structure) -> tuple:
    modifier = structure.terminology.get("type_modifier")
    return tuple(structure.terminology["type"][:2]), tuple(modifier[:2]) if modifier else None


def _words(name: str) -> tuple[str, ...]:
    """The words of a name in any order and spelling: 'Left femur', 'femur_left' and 'FEMUR LEFT' are one."""
    return tuple(sorted(re.findall(r"[^\W_]+", name.casefold())))
