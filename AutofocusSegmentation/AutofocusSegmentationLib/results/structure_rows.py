"""What the results table says of each segment of a result: colour, name, volume, whether it is shown, status."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from afnet.models.manifest import Manifest
from afnet.output.segment_tags import EDGE_TAG, LEFT_OUT_TAG, NAME_TAG

from ..segments.tags import HASH_TAG, structure_of, tag_of
from ..segments.voxels import holds_surfaces, segments_of
from ..views.display import is_shown


@dataclass(frozen=True)
class StructureRow:
    """One segment. color: RGB, 0..1. volume_ml: as it is now, None if it is not kept as voxels.

    status: a word or two for the table. definition: how the structure is meant to be drawn; remarks: what to know
    before using it; both are sentences, or empty.
    """

    segment_id: str
    name: str
    color: tuple[float, float, float]
    shown: bool
    volume_ml: float | None
    status: str
    definition: str
    remarks: str


def structure_rows(
    segmentation, manifest: Manifest | None, volumes: Mapping[str, float], original: Mapping[str, float],
    edited: Collection[str],
) -> list[StructureRow]:
    """Return a row for each segment of a segmentation node.

    volumes, original: segment id to volume in ml, now and as the model made it. edited: ids of edited segments.
    """
    definitions = {item.id: _definition(item) for item in manifest.structures} if manifest else {}
    rows, surfaces = [], holds_surfaces(segmentation)
    for segment_id, segment in segments_of(segmentation):
        volume = volumes.get(segment_id)
        rows.append(StructureRow(
            segment_id, segment.GetName(), segment.GetColor(),
            is_shown(segmentation, segment_id), volume,
            _status(segment, volume, segment_id in edited, surfaces, manifest),
            definitions.get(structure_of(segment, manifest), ""),
            _remarks(segment, volume, original.get(segment_id), segment_id in edited, surfaces, manifest),
        ))
    return rows


def _definition(structure) -> str:
    if structure.tg263:
        return _("{name} ({tg263} in TG-263): {definition}").format(
            name=structure.name, tg263=structure.tg263, definition=structure.definition)
    return f"{structure.name}: {structure.definition}"


def _original_name(segment, manifest: Manifest | None) -> str:
    """Return the name under which the model made a segment to which a user gave another meaning; empty if none did."""
    return "" if structure_of(segment, manifest) else tag_of(segment, NAME_TAG)


def _status(segment, volume: float | None, edited: bool, surfaces: bool, manifest: Manifest | None) -> str:
    """Return the status that a person set in Slicer, or 'Flagged', else what the module knows."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    status = logic.GetSegmentStatus(segment)
    if status != logic.NotStarted:
        return str(logic.GetSegmentStatusAsHumanReadableString(status))
    if surfaces:
        return _("Surface")
    if not tag_of(segment, HASH_TAG):
        return _("Added")
    if edited:
        return _("Edited")
    if volume != 0:
        return _("Renamed") if _original_name(segment, manifest) else ""
    return _("Withheld") if _left_out(segment) else _("Not found")


def _left_out(segment) -> bool:
    """Whether the model found it and the program discarded it."""
    return tag_of(segment, LEFT_OUT_TAG) == "true"


def _remarks(
    segment, volume: float | None, original: float | None, edited: bool, surfaces: bool, manifest: Manifest | None
) -> str:
    remarks, logic = [], slicer.vtkSlicerSegmentationsModuleLogic
    if surfaces:
        remarks.append(_("It is kept as a surface: to see whether it was edited, and to export it, in the "
                         "Segmentations module, under Representations, choose Make source for Binary labelmap."))
    if tag_of(segment, EDGE_TAG) == "true":
        remarks.append(_("It reaches the edge of the image, so a part of it may be missing."))
    name = _original_name(segment, manifest)
    if name:
        remarks.append(_("The model made it as {name}.").format(name=name))
    if not tag_of(segment, HASH_TAG):
        remarks.append(_("You added it; a run into this segmentation keeps it."))
    elif edited:
        remarks.append(_("You edited it; a run into this segmentation keeps it and adds a new one beside it."))
    elif logic.GetSegmentStatus(segment) == logic.Completed:
        remarks.append(_("You marked it as Completed; another run into this segmentation keeps it, and adds a new "
                         "segment beside it if the result differs."))
    elif name:
        remarks.append(_("You renamed it; a run into this segmentation keeps it and adds a new one beside it."))
    if volume == 0 and not edited and tag_of(segment, HASH_TAG):
        remarks.append(_("Withheld as implausible; see the notes.") if _left_out(segment) else
                       _("The model did not find it."))
    if original is not None and volume is not None and abs(original - volume) >= 0.05:
        remarks.append(_("As segmented: {volume:.1f} ml.").format(volume=original))
    return " ".join(remarks)
