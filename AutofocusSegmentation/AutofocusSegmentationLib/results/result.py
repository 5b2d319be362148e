"""From the job folder to the scene: a segmentation node beside the reference volume, and a table of volumes.

The result is read and checked before the scene is touched; if placing it fails, the scene is put back as it was.
Nothing in the scene refers to the job folder afterwards.

Into an existing segmentation: segments that the module made and nobody edited get the new voxels and keep their
name, colour and place. What a user edited, added, gave a name with another meaning or the status 'Completed' stays as
it is; where such a segment has its structure's place, the new one goes in beside it as 'Prostate (new)', unless it
has the same voxels. A copy of a segment counts as the user's.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from afnet.json_documents import Report
from afnet.models.manifest import Manifest, Structure
from afnet.models.terminology import terminology_entry
from afnet.output.segment_tags import STRUCTURE_TAG, name_beside, provenance

from ..scene import hierarchy
from ..scene.node_marks import MODEL_TITLE_ATTRIBUTE, TABLE_ROLE
from ..scene.terminology_list import register_terminology
from ..scene.transforms import same_frame
from ..segments.tags import HASH_TAG, kept_segments, mark_as_made, structure_of, tag_of
from ..segments.voxels import (
    OffLattice,
    label_map,
    name_of_segment,
    replace_voxels,
    segment_voxels,
    segments_of,
    voxel_hash,
)
from ..views.display import let_inner_structures_be_seen
from .output_check import output_problem, replaceable_segments
from .result_files import Found, ResultError, read_result
from .volumes_table import fill_table, own_table


@dataclass(frozen=True)
class Result:
    """segmentation: vtkMRMLSegmentationNode; table: vtkMRMLTableNode of volumes in ml; report: the engine's report.

    new: whether the segmentation node was made for this result.
    """

    segmentation: object
    table: object
    report: Report
    new: bool = True


def load_result(
    manifest: Manifest, folder: Path, reference_node, output_node=None, notes: Sequence[str] = (),
    images: Iterable = (),
) -> Result:
    """Load what the engine wrote for `reference_node` into a new segmentation node, or into `output_node`.

    The segmentation lies under the reference's parent transform and beside it in the subject hierarchy, has its
    geometry, and carries model id, version and hash as attributes. notes: sentences that are kept as its
    description, with those of the report. images: as for `output_problem`.

    Raises ResultError with one sentence; the scene is then as before.
    """
    reads = output_node is not None and output_node.IsA("vtkMRMLSegmentationNode")
    kept = kept_segments(output_node, manifest) if reads else []  # before the geometry changes that the hashes are for
    problem = output_problem(manifest, reference_node, output_node, kept, images, named=False)
    if problem:
        raise ResultError(problem)
    found = read_result(manifest, folder, reference_node)
    register_terminology()

    with _undone_on_error(output_node) as added:
        segmentation = output_node or _new_segmentation(reference_node, added)
        replaceable = replaceable_segments(manifest, segmentation, kept)
        _place(segmentation, reference_node)
        segments = _fill(segmentation, manifest, found, replaceable)
        if output_node is None:
            segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)
        name = _("{volume} volumes").format(volume=reference_node.GetName() or _("Volume"))
        table = own_table(segmentation, name, added)
        fill_table(table, _rows(segmentation, manifest, found, segments))
        description = "\n".join(dict.fromkeys([*notes, *found.report["geometry"], *found.report["notes"]]))
        for node in added:
            hierarchy.put_beside(node, reference_node)
        # Last, for nothing here fails: `_backup` has none of it.
        for node in (segmentation, table):
            for name, value in provenance(manifest).items():
                node.SetAttribute(name, value)
        segmentation.SetAttribute(MODEL_TITLE_ATTRIBUTE, manifest.title)
        segmentation.SetDescription(description)  # kept with the scene
    return Result(segmentation, table, found.report, new=output_node is None)


@contextlib.contextmanager
def _undone_on_error(output_node) -> Iterator[list]:
    """After an exception, remove the nodes in the list that is yielded, put the output node (or None) back as it was,
    and raise ResultError."""
    added: list = []
    restore = _backup(output_node) if output_node is not None else None
    try:
        yield added
    except Exception as error:
        for node in added:
            slicer.mrmlScene.RemoveNode(node)
        if restore:
            restore()
        if isinstance(error, ResultError):
            raise
        raise ResultError(
            _("The result could not be put into the scene ({kind}): see the log, then segment again.").format(
                kind=type(error).__name__)
        ) from error


def _backup(node) -> Callable[[], None]:
    """Return what gives a segmentation node the segments, geometry and place back that it has now."""
    segments, transform = slicer.vtkSegmentation(), node.GetTransformNodeID()
    segments.DeepCopy(node.GetSegmentation())
    roles = (slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole(), TABLE_ROLE)
    references = {role: node.GetNodeReferenceID(role) for role in roles}

    def restore() -> None:
        node.GetSegmentation().DeepCopy(segments)
        node.SetAndObserveTransformNodeID(transform)
        for role, reference in references.items():
            node.SetNodeReferenceID(role, reference)

    return restore


def default_name(volume) -> str:
    """Return the name of a new segmentation of a volume node; another of the same gets a number behind it."""
    return _("{volume} segmentation").format(volume=volume.GetName() or _("Volume"))


def _new_segmentation(reference_node, added: list):
    name = slicer.mrmlScene.GenerateUniqueName(default_name(reference_node))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    added.append(node)
    return node


def _place(segmentation, reference_node) -> None:
    """Put the node under the reference's transform, and give it the reference's geometry."""
    segmentation.CreateDefaultDisplayNodes()
    # An empty one goes under the same node even if that does nothing yet: a later registration moves both.
    if not segmentation.GetSegmentation().GetNumberOfSegments() or not same_frame(segmentation, reference_node):
        segmentation.SetAndObserveTransformNodeID(reference_node.GetTransformNodeID())
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(reference_node)


def _fill(segmentation, manifest: Manifest, found: Found, replaceable: dict[str, str]) -> dict[str, str]:
    """Put the structures in; return structure id to segment id."""
    segments, new = {}, {}
    for structure in manifest.structures:
        segment_id = replaceable.get(structure.id)
        kept = "" if segment_id else _same_as_found(segmentation, manifest, structure.id, found)
        if kept:
            segments[structure.id] = kept
            continue
        if segment_id is None:
            segment_id = new[structure.id] = _add_segment(segmentation, structure, found)
        else:
            replace_voxels(segmentation, segment_id, found.voxels[structure.id], found.grid)
        mark_as_made(
            segmentation.GetSegmentation().GetSegment(segment_id), segment_id, structure, manifest,
            found.voxels[structure.id], found.entries[structure.id],
        )
        segments[structure.id] = segment_id
    let_inner_structures_be_seen(segmentation, manifest, new)
    return segments


def _same_as_found(segmentation, manifest: Manifest, structure_id: str, found: Found) -> str:
    """Return the id of a segment that was kept and has the very voxels that were found; empty if there is none.

    A run on the same image finds the same again: beside what a user has only approved, that would be a twin.
    """
    for item, segment in segments_of(segmentation):
        if tag_of(segment, HASH_TAG) and structure_of(segment, manifest) == structure_id:
            with contextlib.suppress(OffLattice):
                kept = segment_voxels(segmentation, item, found.grid)
                if voxel_hash(item, kept) == voxel_hash(item, found.voxels[structure_id]):
                    return item
    return ""


def _add_segment(segmentation, structure: Structure, found: Found) -> str:
    segments = segmentation.GetSegmentation()
    segment = slicer.vtkSegment()
    segment.SetName(_free_name(segments, structure.name))
    segment.SetColor(*(channel / 255 for channel in structure.color))
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), terminology_entry(structure))
    segment.SetTag(STRUCTURE_TAG, structure.id)
    segment.AddRepresentation(
        slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName(),
        label_map(found.voxels[structure.id], found.grid),
    )
    segment_id = segments.GenerateUniqueSegmentID(structure.id)
    if not segments.AddSegment(segment, segment_id):
        raise RuntimeError(f"segment {segment_id} was refused")
    return segment_id


def _free_name(segments, name: str) -> str:
    """Return `name`, or 'name (new)', 'name (new 2)' ... if a segment has it already."""
    if not segments.GetSegmentIdBySegmentName(name):
        return name
    names = (name_beside(name, number) for number in count(1))
    return next(each for each in names if not segments.GetSegmentIdBySegmentName(each))


def _rows(segmentation, manifest: Manifest, found: Found, segments: dict[str, str]) -> list:
    """Return the table's rows: what the model found, also for structures of which an edited segment was kept."""
    rows = []
    for structure in manifest.structures:
        note, entry = "", found.entries[structure.id]
        if not found.voxels[structure.id].count:
            note = _("Withheld as implausible") if entry["left_out"] else _("Not found")
        elif entry["touches_edge"]:
            note = _("Touches the edge of the image and may be cut off")
        name = name_of_segment(segmentation, segments[structure.id])
        rows.append((segments[structure.id], name, entry["volume_ml"], note))
    return rows
