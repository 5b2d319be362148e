"""The cases of a fine-tuning: images with a corrected segmentation, in the scene or in files, and why not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from afnet.models.manifest import Manifest

from ..engine.finetuning_events import CaseChecked, MappedSegment
from ..inputs.input_checks import input_problems
from ..scene import hierarchy
from ..segments.tags import tag_of
from ..segments.voxels import segments_of


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

    def input_of_another_patient(self) -> str:
        """Return the name of the first input that is another patient's than the segmentation, '' if none is known to
        be."""
        return next((name for name, node in self.inputs.items() if hierarchy.known_apart(self.segmentation, node)), "")

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
        return _("It is not known on which image it was drawn: load that image, choose it as source geometry in the "
                 "Segment Editor (button Specify geometry beside the source volume), and press From scene.")
    if lost:
        item = manifest.input(lost[0])
        return _("It is not known which image is its {title}: in the Data module, give that image a name with "
                 "'{name}' and put the images of each patient into a study of their own; then press From "
                 "scene.").format(
                     title=item.title, name=item.name)
    stranger = case.input_of_another_patient()
    if stranger:
        return _("The segmentation and its {title} belong to different patients: in the Data module, move the "
                 "segmentation to its own patient, or choose its own image as source geometry in the Segment Editor; "
                 "then press From scene.").format(title=manifest.input(stranger).title)
    if not case.segmentation.GetSegmentation().GetNumberOfSegments():
        return _("The segmentation has no segments: draw the structures, or use another segmentation.")
    return next(iter(input_problems(manifest, case.inputs).values()), "")


def free_name(cases: Iterable[TuningCase]) -> str:
    """Return 'case 1', 'case 2' ...: the first that no case has. Never translated: files and results hold it."""
    names = {case.name for case in cases}
    return next(name for number in count(1) if (name := f"case {number}") not in names)


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


def state_of(segmentation) -> object:
    """Return what changes with a segmentation: a node's voxels, names and terminology, or its file."""
    if isinstance(segmentation, Path):
        try:
            return segmentation.stat().st_size, segmentation.stat().st_mtime_ns
        except OSError:
            return None
    source = segmentation.GetSegmentation().GetSourceRepresentationName()
    state = []
    for segment_id, segment in segments_of(segmentation):
        voxels = segment.GetRepresentation(source)
        state.append((segment_id, segment.GetName(), tag_of(segment, segment.GetTerminologyEntryTagName()),
                      voxels.GetMTime() if voxels else 0))
    return state
