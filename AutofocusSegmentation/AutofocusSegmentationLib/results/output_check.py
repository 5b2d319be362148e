"""May a run write into this segmentation, and what of it stays?"""

from collections.abc import Collection, Iterable

from slicer.i18n import tr as _

from afnet.models.manifest import Manifest
from afnet.output.segment_tags import STRUCTURE_TAG

from ..scene import hierarchy
from ..scene.grids import has_own_voxels, lies_on
from ..scene.node_marks import COMPARISON_ATTRIBUTE
from ..scene.transforms import same_frame
from ..scene.volumes import name_of
from ..segments.study_record import made_of_another, reference_image
from ..segments.tags import HASH_TAG, kept_segments, tag_of
from ..segments.voxels import holds_surfaces, name_of_segment, segments_of


def output_problem(
    manifest: Manifest, reference_node, output_node, kept: Collection[str] | None = None, images: Iterable = (),
    named: bool = True,
) -> str:
    """Return why a result could not go into `output_node` (None: a new node), empty if it can.

    kept: its `kept_segments`, if the caller has them: to find them, all voxels are looked at. images: the volume nodes
    of the study (None: none chosen), on any of which the user may have drawn. named: whether a sentence may have an
    image's name, which may be a patient's: not for a log.
    """
    if reference_node is None or reference_node.GetScene() is None:
        return _("The image of this result is no longer in the scene: choose another, then segment again.")
    if output_node is None:
        return ""
    if not output_node.IsA("vtkMRMLSegmentationNode"):
        return _("The output is not a segmentation: choose or create a segmentation as output.")
    if output_node.GetAttribute(COMPARISON_ATTRIBUTE):
        return _("The output is the temporary display of a fine-tuning test case: choose a new segmentation as "
                 "output.")
    other = made_of_another(output_node) or reference_image(output_node)
    image = name_of(other) if named and other else _("another image")
    if other is not reference_node and _holds_a_result(output_node):
        if other is None and lies_on(output_node, reference_node):
            return _("It is not known which image the output belongs to (for example because it was loaded or "
                     "copied): choose a new segmentation as output.")
        return _("The output holds what a model found in {image}: choose a new segmentation as output.").format(
            image=image if other else _("an image that is no longer in the scene"))
    if hierarchy.known_apart(output_node, other, reference_node):
        return _("The output belongs to another patient than the image: choose a new segmentation as output.")
    kept = kept_segments(output_node, manifest) if kept is None else kept
    if len(replaceable_segments(manifest, output_node, kept)) == output_node.GetSegmentation().GetNumberOfSegments():
        return ""
    if holds_surfaces(output_node):
        return _("The output holds surfaces instead of voxels: choose a new segmentation as output.")
    if not same_frame(output_node, reference_node):
        return _("The output has segments of yours under another transform than the image: choose a new segmentation "
                 "as output.")
    if has_own_voxels(output_node, reference_node):
        return _("The output's geometry differs from the image's (finer or cropped): choose a new segmentation as "
                 "output.")
    if not lies_on(output_node, reference_node):
        return _("The output has segments of yours that were drawn in another geometry, or before the image was "
                 "moved: choose a new segmentation as output.")
    # Scans of one protocol have the same voxels in the same place, whoever was scanned.
    if other not in (None, reference_node, *images) and not hierarchy.same_patient(other, reference_node):
        return _("The output has segments of yours that were drawn on {image}: choose a new segmentation as output."
                 ).format(image=image)
    return ""


def output_note(reference_node, output_node, kept: Collection[str]) -> str:
    """Return what a run does to a segmentation that `output_problem` finds no fault with. kept: its `kept_segments`."""
    if kept:
        names = ", ".join(name_of_segment(output_node, segment_id) for segment_id in kept)
        return _("You edited or renamed {names}, or marked them as Completed: they are kept, and differing results "
                 "are added beside them.").format(names=names)
    if (reference_image(output_node) is None and output_node.GetSegmentation().GetNumberOfSegments()
            and not hierarchy.same_patient(output_node, reference_node)):
        return _("Its segments are kept, but it does not say on which image they were drawn: check that they are of "
                 "this patient.")
    return _("Segments that this module made are replaced; all others are kept.")


def replaceable_segments(manifest: Manifest, segmentation, kept: Collection[str]) -> dict[str, str]:
    """Return structure id to id of the segment that a new result replaces: made by the module, and not to be kept."""
    structures = {structure.id for structure in manifest.structures}
    found: dict[str, str] = {}
    for segment_id, segment in segments_of(segmentation):
        structure = tag_of(segment, STRUCTURE_TAG)
        if tag_of(segment, HASH_TAG) and structure in structures and segment_id not in kept:
            found.setdefault(structure, segment_id)
    return found


def _holds_a_result(segmentation) -> bool:
    """Tell whether a model made segments of this node."""
    return any(tag_of(segment, HASH_TAG) for _segment_id, segment in segments_of(segmentation))
