"""The tags by which a segment says which structure of which model it is, and whether it still is that one."""

import re
from collections.abc import Iterable, Mapping

from ..models.manifest import Manifest, Structure
from ..models.terminology import TERMINOLOGY_CONTEXT, codes_in, codes_of

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

TERMINOLOGY_TAG = "TerminologyEntry"
"""Slicer's own segment tag with the coded meaning: see terminology.py."""

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
    codes = None if made and is_left_behind(entry, made) else codes_in(entry)
    coded = next((item for item in structures if codes is not None and codes == codes_of(item)), None)
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
    return codes_in(entry) == codes_of(made) if made else entry.startswith(TERMINOLOGY_CONTEXT)


def names_of(structure: Structure) -> set[tuple[str, ...]]:
    """Return the words of a structure's name, of its id, of its name in TG-263, and of its synonyms."""
    names = (structure.name, structure.id, structure.tg263, *structure.synonyms)
    return {words_of(name) for name in names if name}


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
