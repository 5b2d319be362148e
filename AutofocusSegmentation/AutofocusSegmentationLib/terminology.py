"""Coded meaning of the segments: the terminology tag of a structure, and our list of codes for Slicer.

The codes themselves are in each model's model.json, with their source; the list in Resources/Terminologies holds
the same codes, so that Slicer's terminology selector knows them.
"""

from pathlib import Path

import slicer
import vtk

from afnet.manifest import Structure

TERMINOLOGY_FILE = (
    Path(__file__).resolve().parents[1] / "Resources" / "Terminologies" / "AutofocusSegmentation.term.json"
)

TERMINOLOGY_CONTEXT = "Segmentation category and type - AutofocusSegmentation"
"""Name of our list, its SegmentationCategoryTypeContextName."""

ANATOMY_CONTEXT = "Anatomic codes - DICOM master list"
"""Name of Slicer's own list of anatomic regions."""

NO_CODE = ("", "", "")


def terminology_tag(structure: Structure) -> str:
    """Return the value of Slicer's segment tag `TerminologyEntry` for a structure.

    Seven parts joined by `~`: list, category, type, type modifier, list of regions, region, region modifier; each
    code is `scheme^value^meaning`, `^^` where there is none (Slicer's developer guide, Segmentations).
    """

    def code(key: str) -> str:
        return "^".join(structure.terminology.get(key) or NO_CODE)

    return "~".join(
        [
            TERMINOLOGY_CONTEXT, code("category"), code("type"), code("type_modifier"),
            ANATOMY_CONTEXT, code("anatomic_region"), code("anatomic_region_modifier"),
        ]
    )


def register_terminology() -> bool:
    """Let Slicer's Terminologies module know our list of codes; a second call does nothing.

    Returns False if the list cannot be read; segments then still carry their codes.
    """
    logic = slicer.modules.terminologies.logic()
    loaded = vtk.vtkStringArray()
    logic.GetLoadedTerminologyNames(loaded)
    if TERMINOLOGY_CONTEXT in (loaded.GetValue(index) for index in range(loaded.GetNumberOfValues())):
        return True
    # A bool in Slicer 5.10, the name of the list since; both are false if it cannot be read.
    return bool(logic.LoadTerminologyFromFile(str(TERMINOLOGY_FILE)))
