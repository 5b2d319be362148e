"""What ITK does not check when it reads MetaImage (.mha, .mhd): that header and data are whole, and say where they lie.

MetaIO takes 1 mm and the patient's axes where a header has none, and 0 for numbers that it cannot read; it ignores the
unit of length and a rescaling of the values, crashes the process on some headers, and reads a damaged compressed stream
without a word, leaving memory as it was where it could not go on. Fields: MetaIO's documentation, "MetaImage".
"""

import math
import re
from pathlib import Path

from ..errors import InputError
from .compressed_stream import DamagedStream, check_stream
from .nrrd_header import MILLIMETRES
from .refusals import (
    check_data_file,
    damaged,
    impossible_voxel_size,
    in_another_unit,
    several_files,
    without_orientation,
    without_spacing,
)

_LONGEST_HEADER = 1 << 16

_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4,
    "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}
"""Bytes of a number of each type; a file of another type is not read."""

_POSITION = ("Offset", "Position", "Origin")
_MATRIX = ("TransformMatrix", "Rotation", "Orientation")
_SPACING = ("ElementSpacing", "ElementSize")
"""Names that MetaIO's versions gave a field. A voxel's own size counts only where the distance of the voxels is not
there: slices may lie apart or overlap, and some programs write 1 1 1 whatever the distance is."""

_SLOPE, _INTERCEPT = "ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"

_TRUE = ("T", "t", "1")
"""How MetaIO takes a yes to begin; all else is a no."""

_MOST_SURPLUS = 3
"""Bytes after the voxels that some programs write: an end of line, or up to a multiple of 4. More may be a header (of
sizes, or how long the data are) that lies before them."""

_SEVERAL_FILES = re.compile(r"%|^LIST\b")


def check_metaimage(path: Path, what: str) -> None:
    """Raise InputError about `what` unless header and data of a MetaImage are sound: of the length that they should be,
    and undamaged where they are compressed, for which they are read to their end."""
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST_HEADER)
        fields, data_start = _fields(start)
        size = [int(part) for part in fields["DimSize"].split()]
        if len(size) != int(fields["NDims"]) or not 1 <= len(size) <= 9 or min(size) < 0:
            raise damaged(what)
        _check_place(fields, len(size), what)
        if _numbers(fields.get(_SLOPE, "1"), 1) != [1.0] or _numbers(fields.get(_INTERCEPT, "0"), 1) != [0.0]:
            raise InputError(
                f"{what} states a rescaling of its values (slope and offset to intensity), which is not supported; "
                "export it again with the rescaled values."
            )
        numbers = math.prod(size) * int(fields.get("ElementNumberOfChannels", "1"))
        _check_data(path, fields, data_start, numbers * _BYTES[fields["ElementType"]], what)
    except (DamagedStream, KeyError, ValueError, OSError):
        raise damaged(what) from None


def _check_place(fields: dict[str, str], dimensions: int, what: str) -> None:
    """Check what says where the voxels lie. As in NRRD, only a position may be missing, which is 0 then."""
    unit = fields.get("DistanceUnits", "").lower()
    if unit != "?" and unit not in MILLIMETRES:  # MetaIO writes ? for one that it does not know
        raise in_another_unit(what)
    for names, missing in ((_SPACING, without_spacing), (_MATRIX, without_orientation)):
        if not any(name in fields for name in names):
            raise missing(what)
    found = {}
    for names, count in ((_POSITION, dimensions), (_MATRIX, dimensions**2), (_SPACING, dimensions)):
        for name in names:
            if name in fields:
                found[name] = _numbers(fields[name], count)
                if found[name] is None:
                    raise InputError(
                        f"{what} has a header whose {name} is not {count} numbers; correct it or export it again."
                    )
    for names in (_POSITION, _MATRIX):
        stated = [found[name] for name in names if name in found]
        if any(other != stated[0] for other in stated):
            raise damaged(what)
    smallest = min(next(found[name] for name in _SPACING if name in found)[:3])
    if smallest <= 0:  # MetaIO turns the axis
        raise impossible_voxel_size(smallest, what)


def _numbers(text: str, count: int) -> list[float] | None:
    """The `count` finite numbers that a text consists of; None if it does not."""
    if "_" in text:  # Python's own way to group digits
        return None
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _check_data(path: Path, fields: dict[str, str], data_start: int, count: int, what: str) -> None:
    """Check that the data, inflated if they are compressed, have `count` bytes: MetaIO takes the first of too many, and
    those may be a header that it was not told of. Raises InputError, DamagedStream, OSError, ValueError."""
    where = fields["ElementDataFile"]
    if _SEVERAL_FILES.search(where):
        raise several_files(what)
    local = where in ("LOCAL", "Local", "local")
    data, start = (path, data_start) if local else (path.parent / where, 0)
    check_data_file(data, what)
    if not fields.get("CompressedData", "").startswith(_TRUE):
        surplus = data.stat().st_size - start - count
        binary = fields.get("BinaryData", "True").startswith(_TRUE)
        if surplus > _MOST_SURPLUS and binary and int(fields.get("HeaderSize", "0")) == 0:
            raise InputError(
                f"{what} has {surplus} bytes of data more than its header says (DimSize, ElementType, HeaderSize), so "
                "it is unknown which are the voxels; correct the header, or export it again."
            )
        return
    with data.open("rb") as file:
        begin = file.seek(start)
        check_stream(file, count)
        # ITK believes the header on how long the stream is, and misreads a file that does not say so.
        if fields.get("CompressedDataSize") != str(file.tell() - begin):
            raise DamagedStream


def _fields(start: bytes) -> tuple[dict[str, str], int]:
    """The header's fields, of which ElementDataFile is the last, and the offset of what follows it.

    Raises DamagedStream if that one is not there.
    """
    fields: dict[str, str] = {}
    place = 0
    while "ElementDataFile" not in fields:
        end = start.find(b"\n", place)
        if end < 0:
            raise DamagedStream
        name, *value = re.split("[=:]", start[place:end].decode("utf-8", "surrogateescape"), maxsplit=1)
        if value:
            fields[name.strip()] = value[0].strip()
        place = end + 1
    return fields, place
