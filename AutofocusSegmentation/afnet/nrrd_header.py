"""What ITK does not check when it reads NRRD (.nrrd, .nhdr): that the header says where the voxels lie, and in mm.

ITK takes the patient's axes for any it does not know, makes up the direction of an axis that has none, and reads
lengths as mm whatever their unit. Fields: NRRD's definition of its format (teem.sourceforge.net/nrrd/format.html).
"""

import re
from pathlib import Path

import SimpleITK as sitk

from .errors import InputError
from .image_refusals import without_orientation

MILLIMETRES = {"mm", "millimeter", "millimeters", "millimetre", "millimetres", ""}
"""Texts for the unit that all geometry is in; one that is empty says nothing."""

_LONGEST_LINE = 1 << 20


def check_nrrd(path: Path, reader: sitk.ImageFileReader, what: str) -> None:
    """Raise InputError about `what` unless the file says where the patient lies in it, in mm.

    `reader` has read the header: it turns every space of the patient into left-posterior-superior. Raises OSError.
    """
    space = reader.GetMetaData("NRRD_space") if reader.HasMetaDataKey("NRRD_space") else ""
    fields = _fields(path)
    axes = re.findall(r"\([^)]*\)", fields.get("space directions", ""))
    if "left-posterior-superior" not in space or len(axes) < 3:
        raise without_orientation(what)
    units = re.findall(r'"([^"]*)"', fields.get("space units", ""))
    if not MILLIMETRES.issuperset(unit.strip().lower() for unit in units[:3]):
        raise InputError(f"{what} states its lengths in another unit than mm; export it again in mm.")


def _fields(path: Path) -> dict[str, str]:
    """The header's fields (not its key/value pairs), by names in lower case."""
    fields = {}
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE).strip():
            name, colon, value = line.decode("latin-1").partition(": ")
            if colon and not name.startswith("#"):
                fields[name.strip().lower()] = value.strip()
    return fields
