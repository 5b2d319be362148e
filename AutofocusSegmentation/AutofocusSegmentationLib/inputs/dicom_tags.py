"""What DICOM says of the series a volume came from, read through Slicer's DICOM database."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import slicer

from ..scene import hierarchy
from ..scene.transforms import LPS_TO_RAS, ijk_to_local

INSTANCES_ATTRIBUTE = "DICOM.instanceUIDs"
"""Node attribute in which Slicer's DICOM reader keeps the SOP instance UIDs of a volume, separated by spaces."""

_POSITION, _ORIENTATION = "0020,0032", "0020,0037"
"""ImagePositionPatient and ImageOrientationPatient (DICOM PS3.3 C.7.6.2): LPS, mm, of the first voxel of a slice."""

_PLACE_TOLERANCE_MM = 0.1
"""How far the first voxel of a slice, or one across the image, may lie from where DICOM has it, and count as there."""


class DicomDatabase(Protocol):
    """The part of Slicer's DICOM database (ctkDICOMDatabase) that is used."""

    def instanceValue(self, instance: str, tag: str) -> str:
        """Return the value of a tag ('0008,103e') of an instance as text; empty if it is unknown."""


@dataclass(frozen=True)
class SeriesTags:
    """Tags of a series, empty or None where DICOM does not say. Times in ms, as DICOM has them."""

    modality: str = ""
    description: str = ""
    contrast_agent: str = ""
    scanning_sequence: str = ""
    repetition_time: float | None = None
    echo_time: float | None = None
    inversion_time: float | None = None


def series_tags(node) -> SeriesTags:
    """Return the tags of a volume node's first slice; all empty for a volume that is not from DICOM.

    No patient tag is read.
    """
    database: DicomDatabase | None = getattr(slicer, "dicomDatabase", None)
    instances = (node.GetAttribute(INSTANCES_ATTRIBUTE) or "").split()
    if database is None or not instances:
        return SeriesTags()

    def text(tag: str) -> str:
        return str(database.instanceValue(instances[0], tag) or "").strip()

    def number(tag: str) -> float | None:
        try:
            value = float(text(tag).split("\\")[0])
        except ValueError:
            return None
        return value if value > 0 else None

    return SeriesTags(
        modality=text("0008,0060").upper(), description=text("0008,103e"), contrast_agent=text("0018,0010"),
        scanning_sequence=text("0018,0020").upper(), repetition_time=number("0018,0080"),
        echo_time=number("0018,0081"), inversion_time=number("0018,0082"),
    )


def lies_on_its_slices(node) -> bool:
    """Tell whether a volume node lies, in its local frame, where DICOM has its first and last slice.

    That is so as it was loaded, but not once it was moved, or cut. True where DICOM does not say.
    """
    database: DicomDatabase | None = getattr(slicer, "dicomDatabase", None)
    instances = (node.GetAttribute(INSTANCES_ATTRIBUTE) or "").split()
    if database is None or not instances:
        return True
    ends = [instances[0], instances[-1]]
    positions = [_numbers(database.instanceValue(uid, _POSITION), 3) for uid in ends]
    axes = [_unit_axes(database.instanceValue(uid, _ORIENTATION)) for uid in ends]
    if any(values is None for values in (*positions, *axes)):
        return True
    size = np.array(node.GetImageData().GetDimensions())
    to_lps = LPS_TO_RAS @ ijk_to_local(node)
    corners = [(to_lps @ [0, 0, k, 1])[:3] for k in (0, size[2] - 1)]
    across = to_lps[:3, :2] / np.linalg.norm(to_lps[:3, :2], axis=0)
    turned = max(np.abs(across.T - each).max() for each in axes)
    apart = min(np.abs(np.subtract(corners, each)).max() for each in (positions, positions[::-1]))
    reach = np.linalg.norm(to_lps[:3, :2] * size[:2], axis=0).max()
    return bool(max(turned * reach, apart) <= _PLACE_TOLERANCE_MM)


def _unit_axes(text: str) -> np.ndarray | None:
    """Return the directions of an ImageOrientationPatient as unit vectors (2, 3), which cosines of few digits are not;
    None unless it tells both."""
    cosines = _numbers(text, 6)
    if cosines is None:
        return None
    axes = np.reshape(cosines, (2, 3))
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    return axes / lengths if lengths.all() else None


def _numbers(text: str, count: int) -> list[float] | None:
    """Return the numbers of a DICOM text; None unless there are so many."""
    try:
        values = [float(part) for part in str(text or "").split("\\")]
    except ValueError:
        return None
    return values if len(values) == count else None


def modality_of(node) -> str:
    """Return the DICOM modality of a volume ('CT', 'MR', 'PT' ...); empty if unknown."""
    return hierarchy.modality(node) or series_tags(node).modality
