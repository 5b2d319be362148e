"""What Slicer's segments carry of a structure, on the engine's side and on Slicer's: names of tags, coded meaning."""

from .manifest import Manifest, Structure

STRUCTURE_TAG = "AutofocusSegmentation.StructureId"
"""Segment tag with the structure's id in the manifest; it stays when a user renames the segment."""

EDGE_TAG = "AutofocusSegmentation.TouchesEdge"
"""Segment tag, 'true' or 'false': whether the structure reaches the edge of the image and so may be cut off."""

LEFT_OUT_TAG = "AutofocusSegmentation.LeftOut"
"""Segment tag, 'true' or 'false': whether the model found the structure and it was left out as too doubtful."""

MODEL_ID, MODEL_VERSION = "AutofocusSegmentation.ModelId", "AutofocusSegmentation.ModelVersion"
WEIGHTS_SHA256 = "AutofocusSegmentation.WeightsSha256"
"""Which model made a segmentation: header fields of its file; attributes of its node, and tags of each segment."""

TERMINOLOGY_CONTEXT = "Segmentation category and type - AutofocusSegmentation"
"""`SegmentationCategoryTypeContextName` of the extension's own list of codes."""

ANATOMY_CONTEXT = "Anatomic codes - DICOM master list"
"""Name of Slicer's list of anatomic regions."""

NO_CODE = ("", "", "")


def provenance(manifest: Manifest) -> dict[str, str]:
    """Return the fields that say which model made a segmentation."""
    return {MODEL_ID: manifest.id, MODEL_VERSION: manifest.version, WEIGHTS_SHA256: manifest.weights_sha256}


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
