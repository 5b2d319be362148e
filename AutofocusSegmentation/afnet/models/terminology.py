"""What Slicer's segments carry of a structure, on the engine's side and on Slicer's: names of tags, coded meaning."""

import re
from collections.abc import Iterable, Mapping

from .manifest import Manifest, Structure

STRUCTURE_TAG = "AutofocusSegmentation.StructureId"
"""Segment tag with the structure's id in the manifest. It stays when a user renames the segment: see `still_called`."""

NAME_TAG = "AutofocusSegmentation.StructureName"
"""Segment tag with the structure's name: by it a renamed segment is known where its model is not."""

CODES_TAG = "AutofocusSegmentation.LabelMapCodes"
"""Segment tag, '2 1 4': the code that is the structure's own in the model's label map, then those inside it."""

CODE_NAME_TAG = "AutofocusSegmentation.LabelMapName"
"""Segment tag, 'Oedema': the name of the structure's own code."""

EDGE_TAG = "AutofocusSegmentation.TouchesEdge"
"""Segment tag, 'true' or 'false': whether the structure reaches the edge of the image and so may be cut off."""

LEFT_OUT_TAG = "AutofocusSegmentation.LeftOut"
"""Segment tag, 'true' or 'false': whether the model found the structure and it was left out as too doubtful."""

MODEL_ID, MODEL_VERSION = "AutofocusSegmentation.ModelId", "AutofocusSegmentation.ModelVersion"
WEIGHTS_SHA256 = "AutofocusSegmentation.WeightsSha256"
"""Which model made a segmentation: header fields of its file; attributes of its node, and tags of each segment."""

TERMINOLOGY_CONTEXT = "Segmentation category and type - AutofocusSegmentation"
"""`SegmentationCategoryTypeContextName` of the extension's own list of codes."""

ANATOMY_CONTEXT = "Anatomic codes - DICOM master list"
"""Name of Slicer's list of anatomic regions."""

TERMINOLOGY_TAG = "TerminologyEntry"
"""Slicer's own segment tag with the coded meaning: see `terminology_entry`."""

TISSUE_ENTRY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~"
    "Anatomic codes - DICOM master list~^^~^^"
)
"""What Slicer gives to a new segment: it says nothing of the structure."""

NO_CODE = ("", "", "")

_BESIDE = re.compile(r" \(new(?: \d+)?\)$")


def provenance(manifest: Manifest) -> dict[str, str]:
    """Return the fields that say which model made a segmentation."""
    return {MODEL_ID: manifest.id, MODEL_VERSION: manifest.version, WEIGHTS_SHA256: manifest.weights_sha256}


def name_beside(name: str, number: int = 1) -> str:
    """Return 'Bladder (new)', 'Bladder (new 2)' ...: a structure's new segment beside one that a user edited.

    Never translated, as the structures' own names: `still_called` knows it again in every language.
    """
    return f"{name} (new)" if number == 1 else f"{name} (new {number})"


def still_called(name: str, structure: Structure | None, made: str = "") -> bool:
    """Tell whether a segment with a structure's tag still has one of its names. If not, a user has given the segment
    another meaning, and what its tags say of the structure holds no longer.

    name: the segment's; made: its NAME_TAG. True if neither that nor the structure is known, as in older files.
    """
    names = (names_of(structure) if structure else set()) | ({words_of(made)} if made else set())
    return not names or words_of(_BESIDE.sub("", name)) in names


def structure_shown(
    name: str, tags: Mapping[str, str], structures: Iterable[Structure]
) -> tuple[Structure | None, str]:
    """Return which of the structures a segment of a file shows, and by what that is known: by 'tag', 'terminology' or
    'name'; None and 'none' if it shows none of them. A renamed one shows what its name says."""
    structures = tuple(structures)
    entry = tags.get(TERMINOLOGY_TAG, "")
    made = next((item for item in structures if item.id == tags.get(STRUCTURE_TAG)), None)
    if made and still_called(name, made, tags.get(NAME_TAG, "")):
        return made, "tag"
    codes = None if made and is_left_behind(entry, made) else _codes(entry)
    coded = next((item for item in structures if codes is not None and codes == _own_codes(item)), None)
    if coded:
        return coded, "terminology"
    called = structure_called(name, structures)
    return called, "name" if called else "none"


def structure_called(name: str, structures: Iterable[Structure]) -> Structure | None:
    """Return the structure that has this name; None if none has."""
    words = words_of(_BESIDE.sub("", name))
    return next((structure for structure in structures if words in names_of(structure)), None)


def is_left_behind(entry: str, made: Structure | None) -> bool:
    """Tell whether a renamed segment's TERMINOLOGY_TAG is still the one it was made with: Slicer leaves it there.

    made: the structure that it was made as; if that is not here, codes of our own list are taken for those.
    """
    return _codes(entry) == _own_codes(made) if made else entry.startswith(TERMINOLOGY_CONTEXT)


def names_of(structure: Structure) -> set[tuple[str, ...]]:
    """Return the words of a structure's name, of its id, and of its name in TG-263."""
    return {words_of(name) for name in (structure.name, structure.id, structure.tg263) if name}


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name in any order and spelling: 'Left femur', 'femur_left' and 'FEMUR LEFT' are one."""
    return tuple(sorted(re.findall(r"[^\W_]+", name.casefold())))


def code_tags(structure: Structure, manifest: Manifest) -> dict[str, str]:
    """Return the tags of the label map's code that is a structure's own: the one of its labels that no structure inside
    it has. Empty if there is not exactly one."""
    labels = set(structure.labels)
    inside = {label for other in manifest.structures if set(other.labels) < labels for label in other.labels}
    own = labels - inside
    if len(own) != 1:
        return {}
    codes = [*own, *sorted(inside)]
    return {CODES_TAG: " ".join(map(str, codes)), CODE_NAME_TAG: manifest.code_names[codes[0]]}


def terminology_entry(structure: Structure) -> str:
    """Return the value of TERMINOLOGY_TAG for a structure.

    Seven parts joined by `~`: list, category, type, type modifier, list of regions, region, region modifier; each
    code is `scheme^value^meaning`, `^^` where there is none (Slicer's developer guide, Segmentations).
    """

    def code(key: str) -> str:
        return "^".join(structure.terminology.get(key) or NO_CODE)

    return "~".join([
        TERMINOLOGY_CONTEXT, code("category"), code("type"), code("type_modifier"),
        ANATOMY_CONTEXT, code("anatomic_region"), code("anatomic_region_modifier"),
    ])


def _codes(entry: str) -> tuple | None:
    """(scheme, value) of type and of its modifier in a `terminology_entry`; None if there is no type."""
    parts = entry.split("~")
    if len(parts) < 4 or not parts[2].strip("^"):
        return None
    modifier = tuple(parts[3].split("^")[:2]) if parts[3].strip("^") else None
    return tuple(parts[2].split("^")[:2]), modifier


def _own_codes(structure: Structure) -> tuple:
    modifier = structure.terminology.get("type_modifier")
    return tuple(structure.terminology["type"][:2]), tuple(modifier[:2]) if modifier else None
