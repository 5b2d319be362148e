"""The coded meaning of structures, as Slicer writes it into its segments."""

from .manifest import Structure

TERMINOLOGY_CONTEXT = "Segmentation category and type - AutofocusSegmentation"
"""`SegmentationCategoryTypeContextName` of the extension's own list of codes."""

ANATOMY_CONTEXT = "Anatomic codes - DICOM master list"
"""Name of Slicer's list of anatomic regions."""

TISSUE_ENTRY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~"
    "Anatomic codes - DICOM master list~^^~^^"
)
"""What Slicer gives to a new segment: it says nothing of the structure."""

NO_CODE = ("", "", "")


def terminology_entry(structure: Structure) -> str:
    """Return a structure's coded meaning, the value of Slicer's segment tag TerminologyEntry.

    Seven parts joined by `~`: list, category, type, type modifier, list of regions, region, region modifier; each
    code is `scheme^value^meaning`, `^^` where there is none (Slicer's developer guide, Segmentations).
    """

    def code(key: str) -> str:
        return "^".join(structure.terminology.get(key) or NO_CODE)

    return "~".join([
        TERMINOLOGY_CONTEXT, code("category"), code("type"), code("type_modifier"),
        ANATOMY_CONTEXT, code("anatomic_region"), code("anatomic_region_modifier"),
    ])


def codes_in(entry: str) -> tuple | None:
    """Return (scheme, value) of the type and of its modifier in a `terminology_entry`; None if there is no type."""
    parts = entry.split("~")
    if len(parts) < 4 or not parts[2].strip("^"):
        return None
    modifier = tuple(parts[3].split("^")[:2]) if parts[3].strip("^") else None
    return tuple(parts[2].split("^")[:2]), modifier


def codes_of(structure: Structure) -> tuple:
    """Return the same of a structure."""
    modifier = structure.terminology.get("type_modifier")
    return tuple(structure.terminology["type"][:2]), tuple(modifier[:2]) if modifier else None
