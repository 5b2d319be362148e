"""The cases of a fine-tuning: images with a corrected segmentation, in the scene or in files; those of the scene."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from afnet.manifest import Manifest

from . import hierarchy, volumes
from .finetuning_events import CaseChecked, MappedSegment
from .guessing import guess_inputs
from .segment_tags import HASH_TAG, edited_segments, structure_of, tag_of
from .segment_voxels import segment_volumes
from .study import input_problems

COMPARISON_ATTRIBUTE = "AutofocusSegmentation.Comparison"
"""Node attribute of segmentations that show a fine-tuning's result; they are no cases."""


@dataclass
class TuningCase:
    """One case. Images and segmentation are nodes of the scene, or files.

    name: what the engine and the results call it, no patient's name. source: what the user knows it by.
    absent: ids of structures that are truly not there; all others that are not drawn are unknown.
    mapping: segment id to structure id, or None for 'do not use': the user's corrections of the matching.
    remark: why it is not used unless the user says so. checked: the engine's result, None before and after a change.
    state: of the segmentation when it was last looked at, by which a change is noticed.
    """

    name: str
    source: str
    inputs: dict[str, object]
    segmentation: object
    use: bool = True
    hold_out: bool = False
    absent: set[str] = field(default_factory=set)
    mapping: dict[str, str | None] = field(default_factory=dict)
    remark: str = ""
    checked: CaseChecked | None = None
    state: object = None

    def structure_of(self, segment: MappedSegment) -> str:
        """Return the id of the structure that a segment is taken for, '' if none: by the user, else by the engine."""
        return self.mapping.get(segment.id, segment.structure) or ""

    def segment_of(self, structure: str) -> MappedSegment | None:
        """Return the drawn segment that is taken for a structure; None if there is none, or nothing is checked yet."""
        segments = self.checked.mapping if self.checked else ()
        return next((each for each in segments if self.structure_of(each) == structure and each.volume_ml > 0), None)

    def set_segment(self, structure: str, segment_id: str) -> None:
        """Take a segment for a structure, and no other one; '' for none."""
        for segment in self.checked.mapping if self.checked else ():
            if segment.id == segment_id:
                self.mapping[segment.id] = structure
            elif self.structure_of(segment) == structure:
                self.mapping[segment.id] = None
        if segment_id:
            self.absent.discard(structure)

    def take_check(self, result: CaseChecked) -> None:
        """Keep the engine's result, and of the user's corrections those of segments that are there."""
        self.checked = result
        ids = {segment.id for segment in result.mapping}
        self.mapping = {id: structure for id, structure in self.mapping.items() if id in ids or not ids}

    @property
    def in_scene(self) -> bool:
        """Whether the segmentation is a node, not a file."""
        return not isinstance(self.segmentation, Path)

    @property
    def segmentation_gone(self) -> bool:
        """Whether its segmentation was a node of the scene and is no longer."""
        return self.in_scene and not slicer.mrmlScene.IsNodePresent(self.segmentation)

    def lost_inputs(self) -> list[str]:
        """Return the names of the inputs whose node is not known, or no longer in the scene."""
        return [name for name, node in self.inputs.items()
                if node is None or (self.in_scene and not slicer.mrmlScene.IsNodePresent(node))]

    def look_again(self, manifest: Manifest | None) -> bool:
        """Forget what an edit of the segmentation has made untrue: the check's result, and that nothing is corrected.

        A case that was left out because nothing was corrected is used from then on. manifest: of the base model, None
        if that is not here. Returns whether it was edited.
        """
        state = None if self.segmentation_gone else state_of(self.segmentation)
        if state in (None, self.state):
            return False
        self.state, self.checked = state, None
        if self.in_scene:
            before, self.remark = self.remark, _untouched(self.segmentation, manifest)
            self.use = self.use or (bool(before) and not self.remark)
        return True

    def files_text(self, manifest: Manifest) -> str:
        """Say which images belong to it, and which file or node its segmentation is."""
        def name(item) -> str:
            return _("none") if item is None else item.name if isinstance(item, Path) else item.GetName() or ""

        known = [(item.title, self.inputs.get(item.name)) for item in manifest.inputs]
        return "\n".join(_("{title}: {name}").format(title=title, name=name(item))
                         for title, item in [*known, (_("Segmentation"), self.segmentation)])


def case_problem(manifest: Manifest, case: TuningCase) -> str:
    """Say why a case cannot be handed to the engine; empty if it can. What the files hold is the engine's to check."""
    if not case.in_scene:
        for item in manifest.inputs:
            if case.inputs.get(item.name) is None:
                return _("No file for {title} was found in the folder: name it {name}, for example {name}.nii.gz."
                         ).format(title=item.title, name=item.name)
        return ""
    if case.segmentation_gone:
        return _("Its segmentation was removed from the scene: remove this case from the list.")
    lost = case.lost_inputs()
    if any(case.inputs[name] is not None for name in lost):
        return _("An image of it was removed from the scene: load it again and press From scene.")
    if len(lost) == len(case.inputs):
        return _("On which image it was drawn is not known: load that image, choose it as source geometry in the "
                 "Segment Editor (button Specify geometry beside the source volume), and press From scene.")
    if lost:
        item = manifest.input(lost[0])
        return _("Which image is its {title} is not known: in the Data module, give that image a name with '{name}' "
                 "and put the images of each patient into a study of their own; then press From scene.").format(
                     title=item.title, name=item.name)
    stranger = _of_another_patient(case)
    if stranger:
        return _("The segmentation and its {title} belong to different patients: in the Data module, move the "
                 "segmentation to its own patient, or choose its own image as source geometry in the Segment Editor; "
                 "then press From scene.").format(title=manifest.input(stranger).title)
    if not case.segmentation.GetSegmentation().GetNumberOfSegments():
        return _("The segmentation has no segments: draw the structures, or use another segmentation.")
    return next(iter(input_problems(manifest, case.inputs).values()), "")


def cases_from_scene(manifest: Manifest, known: Sequence[TuningCase] = ()) -> list[TuningCase]:
    """Return a case for each segmentation of the scene that is not among the `known` ones.

    Its reference volume is an input, the others are guessed as for segmenting. Segmentations that a model made and
    nobody edited are there, but not used unless the user says so.
    """
    taken = {case.segmentation.GetID() for case in known if case.in_scene and not case.segmentation_gone}
    found: list[TuningCase] = []
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if node.GetID() in taken or node.GetHideFromEditors() or node.GetAttribute(COMPARISON_ATTRIBUTE):
            continue
        remark = _untouched(node, manifest)
        found.append(TuningCase(
            free_name([*known, *found]), node.GetName() or _("Segmentation"), _inputs_of(manifest, node), node,
            use=not remark, remark=remark, state=state_of(node),
        ))
    return found


def find_inputs_again(manifest: Manifest, cases: Iterable[TuningCase]) -> list[TuningCase]:
    """Look again for the images of those cases of the scene that lack one, or have another patient's; return the cases
    for which that helped."""
    found = []
    for case in cases:
        if case.in_scene and not case.segmentation_gone and (case.lost_inputs() or _of_another_patient(case)):
            case.inputs, case.checked = _inputs_of(manifest, case.segmentation), None
            if not case.lost_inputs() and not _of_another_patient(case):
                found.append(case)
    return found


def free_name(cases: Iterable[TuningCase]) -> str:
    """Return 'case 1', 'case 2' ...: the first that no case has. Never translated: files and results hold it."""
    names = {case.name for case in cases}
    number = 1
    while f"case {number}" in names:
        number += 1
    return f"case {number}"


def joined(cases: Sequence[TuningCase], others: Iterable[TuningCase]) -> list[TuningCase]:
    """Return `cases`, then those of `others` that are of another segmentation, with a new name where theirs is taken.
    """
    known = [case.segmentation for case in cases]
    added = [case for case in others if case.segmentation not in known]
    names = {case.name for case in cases}
    for case in added:
        if case.name in names:
            case.name = free_name([*cases, *added])
    return [*cases, *added]


def _untouched(node, manifest: Manifest | None) -> str:
    """Say that a segmentation is a model's own result, without any correction of voxels or names; empty if not.

    Its segments tell, not its node: that knows of no model once a result was saved as .seg.nrrd and loaded again.
    """
    segments = node.GetSegmentation()
    made = {item for item in segments.GetSegmentIDs() if tag_of(segments.GetSegment(item), HASH_TAG)}
    if not made or any(not structure_of(segments.GetSegment(item), manifest) for item in made):
        return ""
    volumes_ml = segment_volumes(node)
    drawn = {item for item in segments.GetSegmentIDs() if volumes_ml.get(item) != 0}
    if drawn - made or edited_segments(node):
        return ""
    return _("Made by a model and not corrected: a model learns nothing from its own result. Correct it, or tick it if "
             "you have checked it.")


def state_of(segmentation) -> object:
    """Return what changes with a segmentation: a node's voxels, names and terminology, or its file."""
    if isinstance(segmentation, Path):
        try:
            return segmentation.stat().st_size, segmentation.stat().st_mtime_ns
        except OSError:
            return None
    segments = segmentation.GetSegmentation()
    source = segments.GetSourceRepresentationName()
    state = []
    for segment_id in segments.GetSegmentIDs():
        segment = segments.GetSegment(segment_id)
        voxels = segment.GetRepresentation(source)
        state.append((segment_id, segment.GetName(), tag_of(segment, segment.GetTerminologyEntryTagName()),
                      voxels.GetMTime() if voxels else 0))
    return state


def _of_another_patient(case: TuningCase) -> str:
    """Return the name of the first input that is another patient's than the segmentation, '' if none is known to be."""
    patient = hierarchy.patient_item(case.segmentation)
    return next((name for name, node in case.inputs.items()
                 if patient and node is not None and hierarchy.patient_item(node) not in (0, patient)), "")


def _inputs_of(manifest: Manifest, segmentation) -> dict:
    """Return input name to volume node (None: not known) for the images that a segmentation was drawn on.

    Nobody chooses images here and a wrong one is another patient's: where no image is said to be the one that was drawn
    on, those of the segmentation's study or patient are asked, else all, and taken only if there is no choice.
    """
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    drawn_on = segmentation.GetNodeReference(role)
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
        nodes = beside if study or patient else nodes
    found = guess_inputs(manifest, nodes, chosen)
    others = guess_inputs(manifest, [node for node in nodes if node not in found.values()], chosen)
    return {name: node if name in chosen or others[name] is None else None for name, node in found.items()}
