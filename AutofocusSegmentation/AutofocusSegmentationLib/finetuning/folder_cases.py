"""The cases of a fine-tuning in a folder of files: which file is which."""

import re
from collections.abc import Sequence
from pathlib import Path

from slicer.i18n import tr as _

from afnet.images.names import first_match, image_stem, image_suffix
from afnet.models.manifest import Input, Manifest

from ..inputs.evidence import NO_SCAN
from ..inputs.guessing import assign
from .cases import TuningCase, free_name, state_of

_SEGMENTATION = re.compile(r"(?i)\.seg\.nrrd$")
_DRAWN = re.compile(r"(?i)(?<![a-z])(seg|segmentation|labels?|labelmap|mask|truth)(?![a-z])")
_HIDDEN = re.compile(r"^[._]")


def cases_from_folder(
    manifest: Manifest, folder: Path, known: Sequence[TuningCase] = ()
) -> tuple[list[TuningCase], list[str]]:
    """Return a case for each sub-folder of `folder` that has a segmentation file, for `folder` itself if none has, and
    sentences on the sub-folders that were left out.

    A .seg.nrrd file, or else an image called segmentation, seg, labels or mask, is the segmentation; a folder with two
    of these is left out, for one of them is not what is to be learned. An image called like an input ('t1c.nii.gz'), or
    else one that fits an input's name patterns, is that input; so is a sub-folder with DICOM slices.
    """
    try:
        folders = sorted(path for path in folder.iterdir() if path.is_dir() and not _HIDDEN.match(path.name))
    except OSError:
        return [], []
    drawn = {place: _segmentations_in(place) for place in folders}
    if not any(drawn.values()):
        drawn = {folder: _segmentations_in(folder)}
    taken = {case.segmentation for case in known if not case.in_scene}
    found: list[TuningCase] = []
    left_out = []
    for place, segmentations in drawn.items():
        if len(segmentations) > 1:
            left_out.append(
                _("Skipped: {folder} holds {files}; leave only the segmentation to learn from there.").format(
                    folder=place.name, files=", ".join(file.name for file in segmentations)))
        elif segmentations and segmentations[0] not in taken:
            inputs = _files_of_inputs(manifest, place, segmentations[0])
            found.append(TuningCase(free_name([*known, *found]), place.name, inputs, segmentations[0],
                                    state=state_of(segmentations[0])))
    empty = [place.name for place, segmentations in drawn.items() if not segmentations and place != folder]
    if empty:
        left_out.append(_("Skipped, without a segmentation (.seg.nrrd, or an image named labels): {folders}.").format(
            folders=", ".join(empty)))
    return found, left_out


def _segmentations_in(folder: Path) -> list[Path]:
    files = _files(folder)
    return ([file for file in files if _SEGMENTATION.search(file.name)]
            or [file for file in files if image_suffix(file) and _DRAWN.search(image_stem(file))])


def _files_of_inputs(manifest: Manifest, folder: Path, segmentation: Path) -> dict[str, Path | None]:
    images = [file for file in _files(folder) if image_suffix(file) and file != segmentation]
    candidates = [
        file for file in images if not _SEGMENTATION.search(file.name) and not NO_SCAN.search(image_stem(file))
    ]
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
    name = image_stem(file)
    return -1 if name.casefold() == item.name.casefold() else first_match(item.name_patterns, name)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return []
