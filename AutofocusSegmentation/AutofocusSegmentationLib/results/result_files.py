"""What the engine left in the job folder, read and checked: each structure's voxels, and the report."""

import json
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from afnet.json_documents import Report, StructureEntry
from afnet.models.manifest import Manifest

from ..engine.request import REPORT_FILE, SEGMENTATION_FILE
from ..scene.grids import VoxelGrid, grid_of_volume, same_grid
from ..segments.file_reading import DamagedFile, read_segmentation_file
from ..segments.voxels import Voxels


class ResultError(Exception):
    """The result cannot be loaded; the text is one sentence that says why and what to do."""


@dataclass(frozen=True)
class Found:
    """What was found. voxels: structure id to voxels, on the reference's grid; entries: to the report's entry."""

    grid: VoxelGrid
    voxels: dict[str, Voxels]
    entries: dict[str, StructureEntry]
    report: Report


def read_result(manifest: Manifest, folder: Path, reference_node) -> Found:
    """Read the segmentation and the report from the job folder.

    Raises ResultError if a file is missing or damaged, is of another model or another image, or the two disagree.
    """
    folder = Path(folder)
    report, entries = _read_report(manifest, folder / REPORT_FILE)
    if reference_node.GetImageData() is None:
        raise ResultError(_("The result has no image to lie on: choose the image again, then segment again."))
    grid = grid_of_volume(reference_node)
    voxels = _read_voxels(manifest, folder / SEGMENTATION_FILE, grid)
    for structure, each in voxels.items():
        if structure not in entries or entries[structure]["voxels"] != each.count:
            raise _damaged()
    return Found(grid, voxels, entries, report)


def _read_report(manifest: Manifest, path: Path) -> tuple[Report, dict[str, StructureEntry]]:
    """Return the report, and structure id to its entry."""
    try:
        report: Report = json.loads(path.read_text(encoding="utf-8"))
        model, entries = report["model"]["id"], {entry["id"]: entry for entry in report["structures"]}
    except FileNotFoundError:
        raise _missing() from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise _damaged() from None
    if model != manifest.id:
        raise _other_model()
    return report, entries


def _read_voxels(manifest: Manifest, path: Path, grid: VoxelGrid) -> dict[str, Voxels]:
    """Return structure id to voxels on `grid`."""
    if not path.is_file():
        raise _missing()
    try:
        file = read_segmentation_file(path)
    except DamagedFile:
        raise _damaged() from None
    if set(file.segments) != {structure.id for structure in manifest.structures}:
        raise _other_model()
    if not same_grid(file.grid, grid):
        raise _other_image()
    return {structure.id: file.voxels(structure.id) for structure in manifest.structures}


def _missing() -> ResultError:
    return ResultError(_("The engine wrote no result: segment again, and see the log if it happens again."))


def _damaged() -> ResultError:
    return ResultError(_("The result is damaged: free some disk space if there is little, then segment again."))


def _other_model() -> ResultError:
    return ResultError(
        _("The result does not hold the structures of the chosen model: choose the model again, then segment again.")
    )


def _other_image() -> ResultError:
    return ResultError(
        _("The result does not lie on the grid of the image it was made for: choose the image again, then segment "
          "again.")
    )
