"""The cases of a fine-tuning: images with a corrected segmentation, from the scene or from a folder of files."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from afnet.manifest import Input, Manifest
from afnet.terminology import MODEL_ID

from .evidence import NO_SCAN, first_match
from .finetuning_events import CaseChecked, MappedSegment
from .guessing import assign, guess_inputs
from .segment_tags import edited_segments
from .study import input_problems

COMPARISON_ATTRIBUTE = "AutofocusSegmentation.Comparison"
"""Node attribute of segmentations that show a fine-tuning's result; they are no cases."""

_IMAGE = re.compile(r"(?i)\.(nii|nii\.gz|nrrd|nhdr|mha|mhd)$")
_SEGMENTATION = re.compile(r"(?i)\.seg\.nrrd$")
_DRAWN = re.compile(r"(?i)(?<![a-z])(seg|segmentation|labels?|labelmap|mask|truth)(?![a-z])")
_HIDDEN = re.compile(r"^[._]")


@dataclass
class TuningCase:
    """One case. Images and segmentation are nodes of the scene, or files.

    name: what the engine and the results call it, no patient's name. source: what the user knows it by.
    absent: ids of structures that are truly not there; all others that are not drawn are unknown.
    mapping: segment id to structure id, or None for 'do not use': the user's corrections of the matching.
    remark: why it is not used unless the user says so. checked: the engine's result, None before and after a change.
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

    @property
    def in_scene(self) -> bool:
        """Whether the segmentation is a node, not a file."""
        return not isinstance(self.segmentation, Path)

    def gone(self) -> bool:
        """Whether one of its nodes is no longer in the scene."""
        nodes = [node for node in (self.segmentation, *self.inputs.values()) if not isinstance(node, Path | None)]
        return any(not slicer.mrmlScene.IsNodePresent(node) for node in nodes)


def case_problem(manifest: Manifest, case: TuningCase) -> str:
    """Say why a case cannot be handed to the engine; empty if it can. What the files hold is the engine's to check."""
    if not case.in_scene:
        for item in manifest.inputs:
            if case.inputs.get(item.name) is None:
                return _("No file for {title} was found in the folder: name it {name}, for example {name}.nii.gz."
                         ).format(title=item.title, name=item.name)
        return ""
    if case.gone():
        return _("Its images or its segmentation were removed from the scene: load them again.")
    if not case.segmentation.GetSegmentation().GetNumberOfSegments():
        return _("The segmentation has no segments: draw the structures, or use another segmentation.")
    return next(iter(input_problems(manifest, case.inputs).values()), "")


def cases_from_scene(manifest: Manifest, known: Sequence[TuningCase] = ()) -> list[TuningCase]:
    """Return a case for each segmentation of the scene that is not among the `known` ones.

    Its reference volume is an input, the others are guessed as for segmenting. Segmentations that a model made and
    nobody edited are there, but not used unless the user says so.
    """
    taken = {case.segmentation.GetID() for case in known if case.in_scene}
    found: list[TuningCase] = []
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if node.GetID() in taken or node.GetHideFromEditors() or node.GetAttribute(COMPARISON_ATTRIBUTE):
            continue
        remark = _untouched(node)
        found.append(TuningCase(
            free_name([*known, *found]), node.GetName() or _("Segmentation"), _inputs_of(manifest, node), node,
            use=not remark, remark=remark,
        ))
    return found


def cases_from_folder(manifest: Manifest, folder: Path, known: Sequence[TuningCase] = ()) -> list[TuningCase]:
    """Return a case for each sub-folder of `folder` that has a segmentation file; for `folder` itself if none has.

    A .seg.nrrd file, or else an image called segmentation, seg, labels or mask, is the segmentation. An image called
    like an input ('t1c.nii.gz'), or else one that fits an input's name patterns, is that input; so is a sub-folder
    with DICOM slices.
    """
    try:
        folders = sorted(path for path in folder.iterdir() if path.is_dir() and not _HIDDEN.match(path.name))
    except OSError:
        return []
    taken = {case.segmentation for case in known if not case.in_scene}
    found: list[TuningCase] = []
    for place in [*folders, *([] if any(_segmentation_in(path) for path in folders) else [folder])]:
        segmentation = _segmentation_in(place)
        if segmentation and segmentation not in taken:
            inputs = _files_of_inputs(manifest, place, segmentation)
            found.append(TuningCase(free_name([*known, *found]), place.name, inputs, segmentation))
    return found


def free_name(cases: Iterable[TuningCase]) -> str:
    """Return 'case 1', 'case 2' ...: the first that no case has. Never translated: files and results hold it."""
    names = {case.name for case in cases}
    number = 1
    while f"case {number}" in names:
        number += 1
    return f"case {number}"


def _untouched(node) -> str:
    """Say that a segmentation is a model's own result, without any correction; empty if not."""
    if not node.GetAttribute(MODEL_ID) or edited_segments(node):
        return ""
    return _("Made by a model and not corrected: a model learns nothing from its own result. Correct it, or tick it if "
             "you have checked it.")


def _inputs_of(manifest: Manifest, segmentation) -> dict:
    """Return input name to volume node (None: not found) for the images that a segmentation was drawn on."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    drawn_on = segmentation.GetNodeReference(role)
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    if drawn_on is None:
        return guess_inputs(manifest, volumes)
    guess = guess_inputs(manifest, [drawn_on])
    name = next((name for name, node in guess.items() if node is not None), manifest.reference)
    return guess_inputs(manifest, volumes, {name: drawn_on})


def _segmentation_in(folder: Path) -> Path | None:
    files = _files(folder)
    return next(
        iter([file for file in files if _SEGMENTATION.search(file.name)]
            + [file for file in files if _IMAGE.search(file.name) and _DRAWN.search(_stem(file))]),
        None,
    )


def _files_of_inputs(manifest: Manifest, folder: Path, segmentation: Path) -> dict[str, Path | None]:
    images = [file for file in _files(folder) if _IMAGE.search(file.name) and file != segmentation]
    candidates = [file for file in images if not _SEGMENTATION.search(file.name) and not NO_SCAN.search(_stem(file))]
    candidates += sorted(path for path in folder.iterdir() if path.is_dir())
    ranks: dict[str, list] = {item.name: [] for item in manifest.inputs}
    for file in candidates:
        for item in manifest.inputs:
            rank = _rank(item, file)
            if rank is not None:
                ranks[item.name].append((rank, file))
    found = assign(manifest, ranks, key=str)
    if len(manifest.inputs) == 1 and not found and len(candidates) == 1:
        found = {manifest.reference: candidates[0]}
    return {item.name: found.get(item.name) for item in manifest.inputs}


def _rank(item: Input, file: Path) -> int | None:
    return -1 if _stem(file).casefold() == item.name.casefold() else first_match(item.name_patterns, _stem(file))


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return []


def _stem(file: Path) -> str:
    return _IMAGE.sub("", file.name)
