"""The cases of a fine-tuning that the scene holds: which segmentations, on which images, and which were corrected."""

from collections.abc import Iterable, Sequence

import slicer
from slicer.i18n import tr as _

from afnet.models.manifest import Manifest

from ..inputs.guessing import guess_inputs
from ..scene import hierarchy, volumes
from ..scene.node_marks import COMPARISON_ATTRIBUTE
from ..segments.study_record import STUDY_ATTRIBUTE, find_images_again, reference_image
from ..segments.tags import HASH_TAG, edited_segments, structure_of, tag_of
from ..segments.voxels import segment_volumes, segments_of
from .cases import TuningCase, free_name, state_of


def cases_from_scene(manifest: Manifest, known: Sequence[TuningCase] = ()) -> list[TuningCase]:
    """Return a case for each segmentation of the scene that is not among the `known` ones.

    Its reference volume is an input, the others are guessed as for segmenting. Segmentations that a model made and
    nobody edited are there, but not used unless the user says so.
    """
    known_ids = {case.segmentation.GetID() for case in known if case.in_scene and not case.segmentation_gone}
    found: list[TuningCase] = []
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if node.GetID() in known_ids or node.GetHideFromEditors() or node.GetAttribute(COMPARISON_ATTRIBUTE):
            continue
        remark = _untouched(node, manifest)
        found.append(TuningCase(
            free_name([*known, *found]), node.GetName() or _("Segmentation"), _inputs_of(manifest, node), node,
            use=not remark, remark=remark, state=state_of(node),
        ))
    return found


def find_inputs_again(manifest: Manifest, cases: Iterable[TuningCase]) -> list[TuningCase]:
    """Look again for the images of those cases of the scene that lack one, or have another patient's; return the cases
    that were completed."""
    found = []
    for case in cases:
        if case.in_scene and not case.segmentation_gone and (case.lost_inputs() or case.input_of_another_patient()):
            case.inputs, case.checked = _inputs_of(manifest, case.segmentation), None
            if not case.lost_inputs() and not case.input_of_another_patient():
                found.append(case)
    return found


def look_again(case: TuningCase, manifest: Manifest | None) -> bool:
    """Take in what was edited in a case's segmentation: its check and the remark that nothing is corrected may go.

    A case that was left out because nothing was corrected is used from then on. manifest: of the base model, None if
    that is not here. Returns whether it was edited.
    """
    state = None if case.segmentation_gone else state_of(case.segmentation)
    if state in (None, case.state):
        return False
    case.state, case.checked = state, None
    if case.in_scene:
        before, case.remark = case.remark, _untouched(case.segmentation, manifest)
        case.use = case.use or (bool(before) and not case.remark)
    return True


def _untouched(node, manifest: Manifest | None) -> str:
    """Say that a segmentation is a model's own result, without any correction of voxels or names; empty if not.

    Its segments tell, not its node: that knows of no model once a result was saved as .seg.nrrd and loaded again.
    """
    segments = dict(segments_of(node))
    of_model = {item for item, segment in segments.items() if tag_of(segment, HASH_TAG)}
    if not of_model or any(not structure_of(segments[item], manifest) for item in of_model):
        return ""
    volumes_ml = segment_volumes(node)
    filled = {item for item in segments if volumes_ml.get(item) != 0}
    if filled - of_model or edited_segments(node):
        return ""
    return _("Made by a model and not corrected: a model learns nothing from its own result. Correct it, or tick it if "
             "you have checked it.")


def _inputs_of(manifest: Manifest, segmentation) -> dict:
    """Return input name to volume node (None: not known) for the images that a segmentation was drawn on.

    Nobody confirms the images here, and a wrong one may be another patient's. So where it is not known on which image
    the segmentation was drawn, only images of its study or patient are considered, or all if neither is known, and
    none is taken where there is a choice. Where the segmentation remembers what its image was like, that image is not
    in the scene, so the others are not considered.
    """
    find_images_again(segmentation)
    drawn_on = reference_image(segmentation)
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    chosen = {}
    # A segmentation that was imported from a label map refers to that.
    if drawn_on is not None and volumes.is_scalar(drawn_on) and not volumes.is_label_map(drawn_on):
        guess = guess_inputs(manifest, [drawn_on])
        chosen = {next((name for name, node in guess.items() if node is not None), manifest.reference): drawn_on}
        if hierarchy.study_item(drawn_on):  # of several fitting images of one study any shows the right patient
            return guess_inputs(manifest, nodes, chosen)
    else:
        study, patient = hierarchy.study_item(segmentation), hierarchy.patient_item(segmentation)
        beside = [node for node in nodes if study and hierarchy.study_item(node) == study]
        beside = beside or [node for node in nodes if patient and hierarchy.patient_item(node) == patient]
        nodes = beside if study or patient or segmentation.GetAttribute(STUDY_ATTRIBUTE) else nodes
    found = guess_inputs(manifest, nodes, chosen)
    rest = [node for node in nodes if node not in found.values()]
    others = guess_inputs(manifest, rest, chosen, tell_namesakes_apart=False)
    return {name: node if name in chosen or others[name] is None else None for name, node in found.items()}
