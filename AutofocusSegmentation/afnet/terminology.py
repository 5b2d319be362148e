"""Coded meaning of a structure as Slicer's segments carry it, on the engine's side and on Slicer's."""

from .manifest import Structure

TERMINOLOGY_CONTEXT = "Segmentation category and type - AutofocusSegmentation"
"""`SegmentationCategoryTypeContextName` of the extension's own list of codes."""

ANATOMY_CONTEXT = "Anatomic codes - DICOM master list"
"""Name of Slicer's list of anatomic regions."""

NO_CODE = ("", "", "")


def terminology_entry(structure: Structure) -> str:
    """Return the value of Slicer's segment tag `TerminologyEntry` for a structure.

    Seven parts joined by `~`: list, category, type, type modifier, list of regions, region, region modifier; each
    code is `scheme^value^meaning`, `^^` where there is none (Slicer's developer guide, Segmentations).
    """

    def code(key: str) -> str:
        return "^".join(structure.terminology.get(key) or NO_CODE)

    return "~".join([
        TERMINOLOGY_CONTEXT, code("category"), code("type"), code("type_modifier"),
        ANATOMY_CONTEXT, code("anatomic_region"), code("anatomic_region_modifier"),
    ])
