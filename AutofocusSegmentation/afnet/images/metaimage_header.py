"""What ITK does not check when it reads MetaImage (.mha, .mhd): that header and data are whole, and say where they lie.

MetaIO takes 1 mm and the patient's axes where a header has none, crashes the process on some headers, and reads a
damaged compressed stream without a word, leaving memory as it was where it could not go on. Fields: MetaIO's
documentation, "MetaImage".
"""

import math
import re
from pathlib import Path

from .compressed_stream import DamagedStream, check_stream

_LONGEST_HEADER = 1 << 16

_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4, "MET_LONG": 4,
    "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8,
}
"""Bytes of a number of each type; a file of another type is not read."""

_NEEDED = {
    "ElementSpacing": ("ElementSpacing", "ElementSize"),
    "TransformMatrix": ("TransformMatrix", "Rotation", "Orientation"),
}
"""Fields without which the place of the voxels is not known, and the names that MetaIO's versions gave them."""

_SEVERAL_FILES = re.compile(r"%|^LIST\b")


class Damaged(Exception):
    """The header is not whole, or the file holds other data than it promises."""


class Missing(Exception):
    """A field of `_NEEDED` is not there; the argument is its name."""


class SeveralFiles(Exception):
    """The data lies in a file for each slice."""


def check_metaimage(path: Path) -> None:
    """Check header and, where it is compressed, data of a MetaImage; reads and decompresses that to its end.

    Raises Damaged, Missing, SeveralFiles, OSError.
    """
    with path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
    fields, data_start = _fields(start)
    try:
        size = [int(part) for part in fields["DimSize"].split()]
        number = _BYTES[fields["ElementType"]]
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        dimensions = int(fields["NDims"])
    except (KeyError, ValueError):
        raise Damaged from None
    if len(size) != dimensions or not 1 <= dimensions <= 9:
        raise Damaged
    for field, names in _NEEDED.items():
        if not any(name in fields for name in names):
            raise Missing(field)
    where = fields["ElementDataFile"]
    if _SEVERAL_FILES.search(where):
        raise SeveralFiles
    if fields.get("CompressedData", "False").lower() not in ("true", "1"):
        return  # ITK notices where bytes are missing
    local = where in ("LOCAL", "Local", "local")
    with (path if local else path.parent / where).open("rb") as file:
        begin = file.seek(data_start if local else 0)
        try:
            check_stream(file, math.prod(size) * channels * number)
        except DamagedStream:
            raise Damaged from None
        # ITK believes the header on how long the stream is, and misreads a file that does not say so.
        if fields.get("CompressedDataSize") != str(file.tell() - begin):
            raise Damaged


def _fields(start: bytes) -> tuple[dict[str, str], int]:
    """The header's fields, of which ElementDataFile is the last, and the offset of what follows it."""
    fields: dict[str, str] = {}
    place = 0
    while "ElementDataFile" not in fields:
        end = start.find(b"\n", place)
        if end < 0:
            raise Damaged
        name, equals, value = start[place:end].decode("latin-1").partition("=")
        if equals:
            fields[name.strip()] = value.strip()
        place = end + 1
    return fields, place
