"""Whether a case can be learned from: its images, its segmentation, and whether they belong together.

Every sentence names the case. Images are read as `afnet segment` reads them, and prepared for the network alike.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import AfnetError
from ..images.geometry import same_grid
from ..images.reading import read_image, read_labelmap
from ..images.refusals import foreign_code, foreign_values
from ..learning.cases import truth_on_grid
from ..models.laterality import LEFT, RIGHT, side_of
from ..models.manifest import Input, Manifest
from ..output.segmentation_file import SEGMENTATION_SUFFIX, read_segmentation
from ..preprocessing.imaging import Prepared, extent_of, prepare
from ..study_request import input_problems
from .card import learned_by
from .label_set import LabelSet
from .likeness import Coarse, coarse, is_one_scan
from .matching import SegmentMatch, match_codes, match_segments
from .request import CaseFiles

OUTSIDE_REFUSED, OUTSIDE_TOLD = 0.05, 0.001
"""Parts of the drawn voxels outside the image above which a case is refused, or the user warned."""

MOST_UNKNOWN_CODES = 255
"""A label map with more that are no codes of the model is none, but a scan."""

MOST_NAMED = 5
"""Segments that a sentence names before it counts the others."""

IN_PATIENT = 0.5
"""Part of a drawn structure that must lie in the patient."""


@dataclass
class CheckedCase:
    """What was found of one case, with its images and its segmentation if it is usable.

    `prepared`: the images on the working grid. `truth` (S, z, y, x): on that grid the part of each voxel that is in
    each structure; one that is not drawn is 0 everywhere, and whether that means absent or unknown is for `unknown` to
    say. `masks` (structure id to mask) lie on `grid`, that of the segmentation, and are much larger.
    """

    files: CaseFiles
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    mapping: list[dict] = field(default_factory=list)
    drawn: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    prepared: Prepared | None = None
    truth: np.ndarray | None = None
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    grid: sitk.Image | None = None
    fingerprint: str = ""
    coarse: Coarse | None = None

    @property
    def usable(self) -> bool:
        return not self.problems

    def to_json(self) -> dict:
        """The result for the user: one JSON object, whose keys are the fields of the same names."""
        return {
            "name": self.files.name, "usable": self.usable, "problems": self.problems, "warnings": self.warnings,
            "mapping": self.mapping, "drawn": self.drawn, "absent": list(self.files.absent), "unknown": self.unknown,
        }

    def release_segmentation(self) -> None:
        """Drop what scoring alone needs: the segmentation on its own grid."""
        self.masks, self.grid = {}, None

    def release_arrays(self) -> None:
        """Drop all images and segmentations; what was found stays."""
        self.release_segmentation()
        self.prepared = self.truth = None


def check_case(files: CaseFiles, base: Manifest, labels: LabelSet, seen: dict[str, str]) -> CheckedCase:
    """Check one case; `seen` (fingerprint of an image to the case's name) grows, so that no image comes twice."""
    case = CheckedCase(files)
    images = _read_images(case, base)
    if images:
        _prepare(case, images, base, seen)
    matches = _read_matches(case, base, labels)
    if matches is not None:
        _refuse_unknown_segments(case, matches)
        _sort(case, matches, labels)
    if images and case.masks and case.usable:
        _check_place(case, images[base.reference])
    if case.usable:
        _bring_to_working_grid(case, labels)
    if not case.usable:
        case.release_arrays()
    return case


def _attempt(case: CheckedCase, action: Callable, prefix: str = ""):
    try:
        return action()
    except AfnetError as error:
        case.problems.append(f"{prefix}{error}")
        return None


def warn_of_likeness(case: CheckedCase, others: list[CheckedCase]) -> None:
    """Say which of the other cases show the same scan in another form: their score would say nothing."""
    names = [other.files.name for other in others if case.coarse and other.coarse
             and other.fingerprint != case.fingerprint and is_one_scan(case.coarse, other.coarse)]
    if names:
        case.warnings.append(f"{case.files.name} looks like {names[0]}, cropped or resampled; if both are of one "
                             "patient, keep them together, as test cases or not.")


def _read_images(case: CheckedCase, base: Manifest) -> dict[str, sitk.Image] | None:
    name, inputs = case.files.name, case.files.inputs
    case.problems += [f"{name}: {problem}" for problem in input_problems(inputs, base)]
    if case.problems:
        return None

    def read(item: Input) -> sitk.Image:
        return read_image(inputs[item.name], f"{item.title} of {name}", item.modality)

    images = {item.name: _attempt(case, lambda item=item: read(item)) for item in base.inputs}
    return images if case.usable else None


def _prepare(case: CheckedCase, images: dict[str, sitk.Image], base: Manifest, seen: dict[str, str]) -> None:
    reference = images[base.reference]
    turned = sitk.DICOMOrient(reference, "LPS")  # one scan in another file: other axes, another type of number
    content = sitk.GetArrayFromImage(turned).astype(np.float32).tobytes()
    case.fingerprint = hashlib.sha256(content + repr(turned.GetSize()).encode()).hexdigest()
    if case.fingerprint in seen:
        case.problems.append(
            f"{case.files.name} shows the same image as {seen[case.fingerprint]}; remove one of them."
        )
    seen.setdefault(case.fingerprint, case.files.name)
    case.coarse = coarse(turned, base.input(base.reference).modality)
    if case.fingerprint in (learned_by(base) or ()):
        case.warnings.append(
            f"{case.files.name}: the model {base.id} has learned from this case, which therefore says little as a test."
        )
    case.prepared = _attempt(case, lambda: prepare(images, base), f"{case.files.name}: ")
    if case.prepared:
        case.warnings += [f"{case.files.name}: {note}" for note in case.prepared.notes + case.prepared.doubts]


def _read_matches(case: CheckedCase, base: Manifest, labels: LabelSet) -> list[SegmentMatch] | None:
    name, file, mapping = case.files.name, Path(case.files.segmentation), case.files.mapping
    what = f"The segmentation of {name}"
    ids = [structure.id for structure in labels.structures]
    for id in [*(target for target in mapping.values() if target), *case.files.absent]:
        if id not in ids:
            case.problems.append(f"{name}: the model has no structure '{id}'; it has {', '.join(ids)}.")
    if file.name.lower().endswith(SEGMENTATION_SUFFIX):
        read = _attempt(case, lambda: read_segmentation(file, what))
        if read is None:
            return None
        case.grid = read.grid
        return match_segments(read, labels.structures, mapping)
    read = _attempt(case, lambda: read_labelmap(file, what))
    if read is None:
        return None
    case.grid = read
    matches = match_codes(sitk.GetArrayViewFromImage(read), labels.structures, mapping)
    strange = sorted({int(match.id) for match in matches if match.by == "none"} - set(base.code_names))
    if strange and (strange[0] < 0 or len(strange) > MOST_UNKNOWN_CODES):
        case.problems.append(str(foreign_values(what, base.id)))
        return None
    if strange:
        case.problems.append(str(foreign_code(strange[0], what, base.id, "say which structure it is")))
    return matches


def _refuse_unknown_segments(case: CheckedCase, matches: list[SegmentMatch]) -> None:
    """What the user said of a segment that is not there was said of another one, or is a slip of the pen."""
    there = dict.fromkeys(name for match in matches for name in (match.segment, match.id))
    for name in case.files.mapping:
        if name not in there:
            case.problems.append(
                f"{case.files.name}: the mapping names '{name}', which its segmentation does not hold (it holds "
                f"{', '.join(repr(one) for one in there) or 'nothing'}); correct the name or remove it."
            )


def _tell_unused(case: CheckedCase, unused: list[str]) -> None:
    """Say in one sentence which segments match nothing."""
    if not unused:
        return
    listed = [repr(name) for name in unused[:MOST_NAMED]]
    if len(unused) > MOST_NAMED:
        listed.append(f"{len(unused) - MOST_NAMED} more")
    if len(listed) == 1:
        text = f"{listed[0]} matches no structure of the model and is not used."
    else:
        text = f"{', '.join(listed[:-1])} and {listed[-1]} match no structure of the model and are not used."
    case.warnings.append(f"{case.files.name}: {text}")


def _sort(case: CheckedCase, matches: list[SegmentMatch], labels: LabelSet) -> None:
    """Give each structure its mask; say what is empty, doubtful or not used."""
    _tell_unused(case, [match.segment for match in matches if match.by == "none"])
    voxel_ml = float(np.prod(case.grid.GetSpacing())) / 1000
    titles = {structure.id: structure.name for structure in labels.structures}
    owners: dict[str, SegmentMatch] = {}
    for match in matches:
        mask = match.mask
        volume = round(int(mask.sum()) * voxel_ml, 3)
        case.mapping.append({
            "segment": match.segment, "id": match.id, "structure": match.structure, "by": match.by,
            "volume_ml": volume,
        })
        if match.structure is None:
            continue
        if not volume:
            case.warnings.append(
                f"{case.files.name}: '{match.segment}' is empty, so taken as unknown; mark it as absent if it is truly "
                "not there."
            )
        elif match.structure in owners and match.by != "mapping":
            case.problems.append(
                f"{case.files.name}: '{owners[match.structure].segment}' and '{match.segment}' both match "
                f"{titles[match.structure]}; say which of them it is."
            )
        else:
            owners[match.structure] = match
            case.masks[match.structure] = case.masks.get(match.structure, False) | mask
    _list_drawn(case, titles)


def _list_drawn(case: CheckedCase, titles: dict[str, str]) -> None:
    """List which structures (`titles` by id) are drawn, and which are neither drawn nor said to be absent."""
    absent = case.files.absent
    for id in absent:
        if id in case.masks:
            case.problems.append(f"{case.files.name}: {titles[id]} is marked as absent but is drawn; choose one.")
    case.drawn = [id for id in titles if id in case.masks]
    case.unknown = [id for id in titles if id not in case.masks and id not in absent]
    if not case.masks and not (absent and not case.unknown):
        case.problems.append(
            f"The segmentation of {case.files.name} is empty: it holds no voxel of a structure of the model; draw one, "
            "or say which structures its segments are."
        )


def _check_place(case: CheckedCase, reference: sitk.Image) -> None:
    """See that what is drawn lies in the image."""
    name = case.files.name
    inside = sitk.Resample(extent_of(reference), case.grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    inside = sitk.GetArrayFromImage(inside) > 0
    drawn = np.logical_or.reduce(list(case.masks.values()))
    outside = 1 - np.count_nonzero(drawn & inside) / np.count_nonzero(drawn)
    if outside > OUTSIDE_REFUSED:
        case.problems.append(
            f"The segmentation of {name} does not belong to its image: {outside:.0%} of it lies outside; give the "
            "segmentation that was drawn on this image."
        )
        return
    if outside > OUTSIDE_TOLD:
        case.warnings.append(f"{name}: {outside:.1%} of the segmentation lies outside the image and is not used.")
    if not same_grid(case.grid, reference):
        case.warnings.append(f"{name}: the segmentation is on a different grid from the image and is resampled to it.")


def _bring_to_working_grid(case: CheckedCase, labels: LabelSet) -> None:
    """Make the truth, and see that it lies in the patient."""
    name, mask = case.files.name, case.prepared.mask
    case.truth = truth_on_grid(case.masks, labels.structures, case.grid, case.prepared.grid)
    for structure, share in zip(labels.structures, case.truth):
        total = float(share.sum())
        if structure.id in case.masks and (total == 0 or float(share[mask].sum()) < IN_PATIENT * total):
            case.problems.append(
                f"{name}: {structure.name} lies outside the patient; check that the segmentation belongs to the image."
            )
    _refuse_exchanged_sides(case, labels)


def _refuse_exchanged_sides(case: CheckedCase, labels: LabelSet) -> None:
    """Left lies at the larger x of the working grid, whose axes are the patient's, however he lay in the scanner."""
    places = {}
    for structure, share in zip(labels.structures, case.truth):
        side, total = side_of(structure.terminology), float(share.sum())
        if side and total:
            x = float((share.sum((0, 1)) * np.arange(share.shape[2])).sum()) / total
            places[structure.terminology["type"][1], side] = x, structure.name
    for (kind, side), (x, name) in places.items():
        other_x, other = places.get((kind, RIGHT), (x, ""))
        if side == LEFT and x < other_x:
            case.problems.append(
                f"{case.files.name}: {name} lies on the patient's right of {other}; left and right are exchanged, so "
                "correct the segments, or the mapping."
            )
