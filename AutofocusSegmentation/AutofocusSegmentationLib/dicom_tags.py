"""What DICOM says of the series a volume came from, read through Slicer's DICOM database."""

from dataclasses import dataclass
from typing import Protocol

import slicer

from . import hierarchy

INSTANCES_ATTRIBUTE = "DICOM.instanceUIDs"
"""Node attribute in which Slicer's DICOM reader keeps the SOP instance UIDs of a volume, separated by spaces."""


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


def modality_of(node) -> str:
    """Return the DICOM modality of a volume ('CT', 'MR', 'PT' ...); empty if unknown."""
    return hierarchy.modality(node) or series_tags(node).modality
