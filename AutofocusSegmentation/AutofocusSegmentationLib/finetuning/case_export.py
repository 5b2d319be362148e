"""The cases of a fine-tuning as the engine reads them: files, and cases.json that names them."""

import json
from collections.abc import Sequence
from pathlib import Path

from slicer.i18n import tr as _

from afnet.models.manifest import Manifest

from ..inputs.study import StudyError, export_study
from ..inputs.volume_export import ExportError
from .cases import TuningCase, case_problem
from .request import CASES_FILE
from .segmentation_export import NoVoxels, write_segmentation_node

SEGMENTATION_BYTES_PER_VOXEL = 2
"""Room kept for an exported segmentation; it is compressed."""


class CaseError(Exception):
    """A case cannot be handed to the engine; the text is one sentence that names it."""


def export_cases(manifest: Manifest, cases: Sequence[TuningCase], folder: Path) -> list[str]:
    """Write the cases of the scene to `folder`/1, 2 ... and cases.json; return sentences on what was done to them.

    Cases in files stay where they are and are named by their absolute paths. Raises CaseError.
    """
    folder, notes, entries = Path(folder), [], []
    for number, case in enumerate(cases, 1):
        problem = case_problem(manifest, case)
        if problem:
            raise CaseError(f"{case.name}: {problem}")
        if case.in_scene:
            entry = _export(manifest, case, folder, str(number), notes)
        else:
            entry = {"inputs": {name: str(file) for name, file in case.inputs.items()},
                     "segmentation": str(case.segmentation)}
        entry |= {"name": case.name, "absent": sorted(case.absent), "mapping": dict(case.mapping)}
        entries.append(entry)
    try:
        (folder / CASES_FILE).write_text(json.dumps({"cases": entries}, indent=1), encoding="utf-8")
    except OSError:
        raise CaseError(_disk(_("The list of cases"))) from None
    return notes


def needed_bytes(cases: Sequence[TuningCase]) -> int:
    """Return what `export_cases` will write, at most."""
    total = 0
    for case in cases:
        images = [node.GetImageData() for node in case.inputs.values() if case.in_scene and node is not None]
        for image in images:
            total += image.GetNumberOfPoints() * (image.GetScalarSize() + SEGMENTATION_BYTES_PER_VOXEL)
    return total


def _export(manifest: Manifest, case: TuningCase, folder: Path, place: str, notes: list[str]) -> dict:
    target = folder / place
    try:
        target.mkdir()
        study = export_study(manifest, case.inputs, target)
        notes += [f"{case.name}: {note}" for note in study.notes]
        write_segmentation_node(
            case.segmentation, case.inputs[manifest.reference], target / "segmentation.seg.nrrd")
    except StudyError as error:
        raise CaseError(f"{case.name}: {error}") from None
    except NoVoxels:
        raise CaseError(_("{case}: its segmentation is made of contours or surfaces that cannot be turned into voxels: "
                          "convert it to a binary labelmap in the module Segmentations.").format(case=case.name)
                        ) from None
    except (ExportError, OSError):
        raise CaseError(_disk(case.name)) from None
    return {"inputs": {name: f"{place}/{file}" for name, file in study.files.items()},
            "segmentation": f"{place}/segmentation.seg.nrrd"}


def _disk(what: str) -> str:
    return _("{what} could not be written: free some disk space, or choose another folder.").format(what=what)
