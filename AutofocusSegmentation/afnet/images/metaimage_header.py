"""What ITK does not check when it reads MetaImage (.mha, .mhd): that header and data are whole, and say where they lie.

MetaIO takes 1 mm and the patient's axes where a header has none, and 0 for numbers that it cannot read; it ignores the
unit of length and a rescaling of the values, takes the next line for numbers that a line lacks, crashes the process on
some headers, and reads a damaged compressed stream without a word, leaving memory as it was where it could not go on.
Fields: MetaIO's documentation, "MetaImage".
"""

import math
import re
from pathlib import Path

import numpy as np

from ..errors import InputError
from .compressed_stream import DamagedStream, check_stream
from .nrrd_header import MILLIMETRES, MOST_SURPLUS
from .refusals import (
    check_data_file,
    damaged,
    impossible_voxel_size,
    in_another_unit,
    several_files,
    too_long,
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

_SEVERAL_FILES = re.compile(r"%|^LIST\b")


def check_metaimage(path: Path, what: str) -> np.ndarray:
    """Return the matrix from index to LPS (4×4, mm) that a MetaImage states. Raise InputError about `what` unless its
    header and data are sound: of the length that they should be, and undamaged where they are compressed, for which
    they are read to their end."""
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST_HEADER)
        fields, data_start = _fields(start)
        size = [int(part) for part in fields["DimSize"].split()]
        if len(size) != int(fields["NDims"]) or not 1 <= len(size) <= 9 or min(size) < 0:
            raise damaged(what)
        matrix = _place(fields, len(size), what)
        if _numbers(fields.get(_SLOPE, "1"), 1) != [1.0] or _numbers(fields.get(_INTERCEPT, "0"), 1) != [0.0]:
            raise InputError(
                f"{what} states a rescaling of its values (slope and offset to intensity), which is not supported; "
                "export it again with the rescaled values."
            )
        numbers = math.prod(size) * int(fields.get("ElementNumberOfChannels", "1"))
        _check_data(path, fields, data_start, numbers * _BYTES[fields["ElementType"]], what)
        return matrix
    except (DamagedStream, KeyError, ValueError, OSError):
        raise damaged(what) from None


def _place(fields: dict[str, str], dimensions: int, what: str) -> np.ndarray:
    """The matrix from index to LPS of the first three axes. As in NRRD, only a position may be missing, which is 0."""
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
    position, axes, spacing = (
        np.array(next((found[name] for name in names if name in found), [0.0] * dimensions))
        for names in (_POSITION, _MATRIX, _SPACING)
    )
    if min(spacing[:3]) <= 0:  # MetaIO turns the axis
        raise impossible_voxel_size(min(spacing[:3]), what)
    matrix = np.eye(4)
    if dimensions >= 3:
        matrix[:3, :3] = axes.reshape(dimensions, dimensions)[:3, :3].T * spacing[:3]  # a row is the way of an axis
        matrix[:3, 3] = position[:3]
    return matrix


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
    skipped = int(fields.get("HeaderSize", "0"))
    if local and skipped > 0 and skipped != data_start:  # MetaIO counts it from the beginning of the file
        raise damaged(what)
    if not fields.get("CompressedData", "").startswith(_TRUE):
        surplus = data.stat().st_size - start - count
        binary = fields.get("BinaryData", "True").startswith(_TRUE)
        if surplus > MOST_SURPLUS and binary and skipped == 0:
            raise too_long(surplus, "DimSize, ElementType, HeaderSize", what)
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
