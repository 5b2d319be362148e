"""One code a voxel for segments that may lie in each other: the codes of the engine's label map (`--labelmap`)."""

from collections.abc import Sequence
from dataclasses import dataclass

from slicer.i18n import tr as _

from afnet.manifest import Manifest, Structure

from .export_folder import ExportFailed
from .segment_tags import segments_of_structures
from .segment_voxels import segment_volumes

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

    A structure of the model gets the code of the model's label map that is left of its labels without those of the
    structures inside it: for the BraTS regions, whole tumour 2 (oedema), core 1 (necrosis), enhancing 4. Other
    segments, and all without a manifest, get the numbers after the model's. They are painted before the model's
    structures, the largest first, so that a target volume does not erase the organ in it, nor what another run found
    the structure that a user corrected. Raises ExportFailed above 255.
    """
    of_structure = segments_of_structures(segmentation)
    structures = sorted(manifest.structures, key=lambda item: -len(item.labels)) if manifest else []
    names = {item["code"]: item["name"] for item in manifest.raw["labelmap"]} if manifest else {}
    codes = []
    for structure in structures:
        value, segment_id = _own_label(structure, structures), of_structure.get(structure.id)
        if segment_id not in segment_ids or value is None:
            continue
        inside = tuple(own for other in structures if set(other.labels) < set(structure.labels)
                       and (own := _own_label(other, structures)) is not None)
        color = segmentation.GetSegmentation().GetSegment(segment_id).GetColor()
        codes.append(Code(value, names[value], color, segment_id, inside))
    taken = {code.segment_id for code in codes}
    free, others = max(names, default=0) + 1, []
    for segment_id in segment_ids:
        if segment_id not in taken:
            segment = segmentation.GetSegmentation().GetSegment(segment_id)
            others.append(Code(free, segment.GetName(), segment.GetColor(), segment_id))
            free += 1
    if free - 1 > HIGHEST:
        raise ExportFailed(
            _("A label map has codes up to {highest}, too few for these segments: choose NRRD or STL.").format(
                highest=HIGHEST))
    volumes = segment_volumes(segmentation)
    return sorted(others, key=lambda code: -volumes[code.segment_id]) + codes


def code_list(codes: Sequence[Code]) -> str:
    """Return the codes as a table of tab-separated values: index, name and colour, as in BIDS (`*_dseg.tsv`)."""
    lines = ["index\tname\tcolor"]
    for code in sorted(codes, key=lambda item: item.value):
        red, green, blue = (round(255 * part) for part in code.color)
        lines.append(f"{code.value}\t{' '.join(code.name.split())}\t#{red:02X}{green:02X}{blue:02X}")
    return "\n".join(lines) + "\n"


def _own_label(structure: Structure, structures: Sequence[Structure]) -> int | None:
    """Return the one label of a structure that none inside it has; None if there is not exactly one."""
    inside = {label for other in structures if set(other.labels) < set(structure.labels) for label in other.labels}
    own = set(structure.labels) - inside
    return own.pop() if len(own) == 1 else None
