"""One code a voxel for segments that may lie in each other: the codes of the engine's label map (`--labelmap`)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from slicer.i18n import tr as _

from afnet.models.manifest import Manifest
from afnet.output.segment_tags import CODE_NAME_TAG, CODES_TAG, MODEL_ID, STRUCTURE_TAG, code_tags

from ..segments.tags import segments_of_structures, structure_of, tag_of
from ..segments.voxels import segment_volumes, segments_of
from .folder import ExportFailed

HIGHEST = 255


@dataclass(frozen=True)
class Code:
    """value: what a voxel of the segment holds unless a later segment covers it. name, color (RGB, 0..1): for people.

    inside: the values of structures that lie in this one, which cover it by intention.
    """

    value: int
    name: str
    color: tuple[float, float, float]
    segment_id: str
    inside: tuple[int, ...] = ()


def label_codes(segmentation, manifest: Manifest | None, segment_ids: Sequence[str]) -> list[Code]:
    """Return a code for each of `segment_ids`, in the order in which they are to be painted, outer ones first.

    A structure of the model gets that of its labels which no structure inside it has: of the BraTS regions, the whole
    tumour gets 2 (oedema), the core 1 (necrosis), the enhancing tumour 4. Without a manifest, for instance because the
    model was deleted, the segments' tags say which. Other segments, also those that a user renamed, get the numbers
    after the model's. They are painted before the model's structures, the largest first, so that a target volume does
    not erase the organ in it, nor a second result the structure that a user corrected; but one that the model made
    inside another is painted after that one. Raises ExportFailed above 255.
    """
    segments, model_codes = dict(segments_of(segmentation)), _codes_of_model(segmentation, manifest)
    of_structures = set(segments_of_structures(segmentation, manifest).values())
    used = [*manifest.code_names] if manifest else []
    used += [value for values, _name in model_codes.values() for value in values]
    codes: list[Code] = []
    free = max(used, default=0) + 1
    for segment_id in segment_ids:
        segment, (values, name) = segments[segment_id], model_codes[segment_id]
        if segment_id not in of_structures or not values or values[0] in [code.value for code in codes]:
            values, name = (free,), segment.GetName()
            free += 1
        codes.append(Code(values[0], name, segment.GetColor(), segment_id, values[1:]))
    if free - 1 > HIGHEST:
        raise ExportFailed(
            _("A label map has codes up to {highest}, too few for these segments: choose NRRD or STL.").format(
                highest=HIGHEST))
    volumes, inner = segment_volumes(segmentation), {value for code in codes for value in code.inside}

    def place(code: Code) -> tuple:
        values, _name = model_codes[code.segment_id]
        if values and values[0] in (code.value, *inner):  # a renamed one would be erased by those it was made inside
            return 1, -len(values), values[0], -code.value
        return 0, -volumes[code.segment_id]

    return sorted(codes, key=place)


def code_list(codes: Sequence[Code]) -> str:
    """Return the codes as a table of tab-separated values: index, name and colour, as in BIDS (`*_dseg.tsv`)."""
    lines = ["index\tname\tcolor"]
    for code in sorted(codes, key=lambda item: item.value):
        red, green, blue = (round(255 * part) for part in code.color)
        lines.append(f"{code.value}\t{' '.join(code.name.split())}\t#{red:02X}{green:02X}{blue:02X}")
    return "\n".join(lines) + "\n"


def codes_are_lost(segmentation, manifest: Manifest | None, segment_ids: Sequence[str]) -> bool:
    """Tell whether some of these segments, made by a model, have other codes than the model's: without its manifest,
    those whose tags do not give them, and those of another model than the node's."""
    if manifest is not None:
        return False
    segments, model_codes = dict(segments_of(segmentation)), _codes_of_model(segmentation, None)
    return any(structure_of(segments[item], None) and not model_codes[item][0] for item in segment_ids)


def _codes_of_model(segmentation, manifest: Manifest | None) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return segment id to the codes and the name that the model has for what it made the segment as, renamed or not:
    its own code first, then those of structures inside; none for segments of others."""
    tags = {item.id: code_tags(item, manifest) for item in manifest.structures} if manifest else {}
    found = {}
    for segment_id, segment in segments_of(segmentation):
        own = tags.get(tag_of(segment, STRUCTURE_TAG), {})
        if manifest is None and tag_of(segment, MODEL_ID) == segmentation.GetAttribute(MODEL_ID):
            own = {name: tag_of(segment, name) for name in (CODES_TAG, CODE_NAME_TAG)}
        # Tags come with a scene, and may be damaged.
        values = [int(number) for number in re.findall(r"\b[0-9]{1,3}\b", own.get(CODES_TAG, ""))]
        found[segment_id] = tuple(value for value in values if 0 < value <= HIGHEST), own.get(CODE_NAME_TAG, "")
    return found
