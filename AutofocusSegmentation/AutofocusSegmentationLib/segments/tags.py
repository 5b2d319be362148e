"""What a segment's tags say of it: which model made it, of which structure it is, and whether a user edited it since.

Tags are saved with the scene and with .seg.nrrd files. Those that begin with `DICOM.` go into a DICOM SEG; the status
is the one that Slicer's segment lists show.
"""

import slicer
import vtk

from afnet.json_documents import StructureEntry
from afnet.models.manifest import Manifest, Structure
from afnet.output.segment_tags import (
    CODE_NAME_TAG,
    CODES_TAG,
    EDGE_TAG,
    LEFT_OUT_TAG,
    MODEL_ID,
    NAME_TAG,
    STRUCTURE_TAG,
    code_tags,
    provenance,
    still_called,
)

from ..scene.grids import grid_of_segmentation
from .voxels import OffLattice, Voxels, holds_surfaces, segment_voxels, segments_of, voxel_hash

HASH_TAG = "AutofocusSegmentation.VoxelHash"
"""Segment tag: `voxel_hash` of the voxels as the model made them."""

ALGORITHM_TYPE, ALGORITHM_NAME = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"
"""Segment tags that Slicer's DICOM SEG export reads: attributes (0062,0008) and (0062,0009) of DICOM PS3.3 C.8.20."""

AUTOMATIC, SEMIAUTOMATIC = "AUTOMATIC", "SEMIAUTOMATIC"

_LONGEST_LO = 64
"""Characters of a DICOM Long String, the type of SegmentAlgorithmName."""


def tag_of(segment, name: str) -> str:
    """Return the value of a segment's tag; empty if it has none."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def mark_as_made(
    segment, segment_id: str, structure: Structure, manifest: Manifest, voxels: Voxels, entry: StructureEntry
) -> None:
    """Tag a segment (vtkSegment) that has just got its voxels from the model. entry: the structure's, of report.json.

    One that is cut off by the edge of the image gets the status 'Flagged'; a segment that lost that reason loses the
    status, and so does one on whose former voxels somebody was at work.
    """
    status = slicer.vtkSlicerSegmentationsModuleLogic
    before, touches_edge = status.GetSegmentStatus(segment), entry["touches_edge"]
    if touches_edge:
        status.SetSegmentStatus(segment, status.Flagged)
    elif before == status.InProgress or (before == status.Flagged and tag_of(segment, EDGE_TAG) == "true"):
        status.SetSegmentStatus(segment, status.NotStarted)
    segment.SetTag(HASH_TAG, voxel_hash(segment_id, voxels))
    segment.SetTag(EDGE_TAG, "true" if touches_edge else "false")
    segment.SetTag(LEFT_OUT_TAG, "true" if entry["left_out"] else "false")
    segment.SetTag(ALGORITHM_TYPE, AUTOMATIC)
    segment.SetTag(ALGORITHM_NAME, f"AutofocusSegmentation {manifest.id} {manifest.version}"[:_LONGEST_LO])
    segment.SetTag(NAME_TAG, structure.name)
    for name in (CODES_TAG, CODE_NAME_TAG):
        segment.RemoveTag(name)  # of another version of the model
    for name, value in (code_tags(structure, manifest) | provenance(manifest)).items():
        segment.SetTag(name, value)


def structure_of(segment, manifest: Manifest | None) -> str:
    """Return the id of the structure that a segment (vtkSegment) shows; empty if it shows none.

    One that a user renamed shows what its name says, not what the model made it for. manifest: of the model that made
    it; None if that is not here.
    """
    structure_id = tag_of(segment, STRUCTURE_TAG)
    structure = manifest.structure(structure_id) if manifest else None
    return structure_id if still_called(segment.GetName() or "", structure, tag_of(segment, NAME_TAG)) else ""


def edited_segments(segmentation) -> list[str]:
    """Return the ids of segments made by the module whose voxels are no longer what the model made."""
    grid = grid_of_segmentation(segmentation)
    edited = []
    for segment_id, segment in segments_of(segmentation):
        original = tag_of(segment, HASH_TAG)
        if not original:
            continue
        try:
            now = voxel_hash(segment_id, segment_voxels(segmentation, segment_id, grid)) if grid else ""
        except OffLattice:
            now = ""
        if now != original:
            edited.append(segment_id)
    return edited


def kept_segments(segmentation, manifest: Manifest | None) -> list[str]:
    """Return the ids of segments made by the module that a new result must leave as they are.

    Those that were edited, those that a user calls 'Completed' (what somebody has approved is not replaced), and those
    that a user renamed: under a name with another meaning the model's structure would be wrong. manifest: of the model
    of the new result, for the structures' names.
    """
    logic, edited = slicer.vtkSlicerSegmentationsModuleLogic, edited_segments(segmentation)
    kept = []
    for segment_id, segment in segments_of(segmentation):
        if not tag_of(segment, HASH_TAG):
            continue
        completed = logic.GetSegmentStatus(segment) == logic.Completed
        if completed or segment_id in edited or not structure_of(segment, manifest):
            kept.append(segment_id)
    return kept


def mark_edits(segmentation) -> list[str]:
    """Tag edited segments as SEMIAUTOMATIC, the others of the model as AUTOMATIC; return the ids of the edited ones.

    Where the segments are surfaces nobody can tell, so nothing is tagged.
    """
    if holds_surfaces(segmentation):
        return []
    edited = edited_segments(segmentation)
    for segment_id, segment in segments_of(segmentation):
        kind = SEMIAUTOMATIC if segment_id in edited else AUTOMATIC
        if tag_of(segment, HASH_TAG) and tag_of(segment, ALGORITHM_TYPE) != kind:
            segment.SetTag(ALGORITHM_TYPE, kind)
    return edited


def results_in_scene() -> list:
    """Return the segmentation nodes that hold what a model found, in the order in which they came."""
    return [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if node.GetAttribute(MODEL_ID)]


def other_results(segmentation) -> list:
    """Return the other segmentation nodes of the scene that this module made."""
    return [node for node in results_in_scene() if node is not segmentation]


def segments_of_structures(segmentation, manifest: Manifest | None) -> dict[str, str]:
    """Return structure id to the id of its segment: the first, where a user kept an edited one beside a new one."""
    found: dict[str, str] = {}
    for segment_id, segment in segments_of(segmentation):
        structure = structure_of(segment, manifest)
        if structure:
            found.setdefault(structure, segment_id)
    return found
