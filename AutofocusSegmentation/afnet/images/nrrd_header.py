"""The header of a NRRD file (.nrrd, .nhdr), and what ITK does not check when it reads one.

ITK takes the patient's axes for any it does not know, makes up the direction of an axis that has none, reads lengths
as mm whatever their unit, and numbers as far as they are such, does not see a last line without an end, and stops in a
compressed stream before the checksum that tells whether it is damaged.
No SimpleITK, so that the Slicer side uses it too. Fields: NRRD's definition of its format
(teem.sourceforge.net/nrrd/format.html).
"""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import InputError
from .compressed_stream import DamagedStream, check_stream
from .refusals import (
    check_data_file,
    damaged,
    in_another_unit,
    several_files,
    too_long,
    without_data_file,
    without_orientation,
)

MILLIMETRES = {"mm", "millimeter", "millimeters", "millimetre", "millimetres", ""}
"""Texts for the unit that all geometry is in; one that is empty says nothing."""

GZIP_ENCODINGS, _BZIP2_ENCODINGS = ("gzip", "gz"), ("bzip2", "bz2")

_BYTES = (
    (r"(un)?signed char|uchar|u?int8(_t)?", 1), (r"((un)?signed )?short( int)?|ushort|u?int16(_t)?", 2),
    (r"((un)?signed )?int|uint|u?int32(_t)?|float", 4),
    (r"((un)?signed )?long long( int)?|u?longlong|u?int64(_t)?|double", 8),
)
"""Names of the types of a number, and its bytes."""

_UNREAD_SPACES = {"rps", "right-posterior-superior", "lpi", "left-posterior-inferior", "rai", "right-anterior-inferior"}
"""Spaces that some programs write, which the format does not have."""

_LONGEST_HEADER = 1 << 24

_LONGEST_FIELD = 400
"""Bytes of a line; that of the axes' directions has 250 at most. On one of about 1000 that it does not understand, ITK
writes beyond its message, which ends the process. Notes (`_NOTES`) may be longer."""

_NOTES = ("#", "content:")

MOST_SURPLUS = 3
"""Bytes after the voxels that some programs write: an end of line, or up to a multiple of 4. More may be a header (of
sizes, or how long the data are) that lies before them."""

_SEVERAL_FILES = re.compile(r"^LIST\b|%\d*d")
"""How a field for the file of data begins a list of them, or names one for each number as C's printf writes it."""


@dataclass(frozen=True)
class NrrdHeader:
    """What a header says. `fields`: the format's own, by names in lower case. `texts`: the key/value pairs."""

    fields: dict[str, str]
    texts: dict[str, str]

    @property
    def encoding(self) -> str:
        return self.fields.get("encoding", "").lower()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers along each axis, the fastest first. Raises ValueError."""
        return tuple(int(size) for size in self.fields.get("sizes", "").split())

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all voxels, unpacked. Raises ValueError where type or sizes are missing or make no sense."""
        name = self.fields.get("type", "").lower()
        number = next((count for names, count in _BYTES if re.fullmatch(names, name)), 0)
        if number == 0 or not self.sizes or min(self.sizes) < 1:
            raise ValueError("no voxels")
        return math.prod(self.sizes) * number

    @property
    def axes(self) -> list[str]:
        """The directions of the axes in space, as '(x,y,z)'; an axis without one has none."""
        return re.findall(r"\([^)]*\)", self.fields.get("space directions", ""))

    @property
    def matrix(self) -> np.ndarray:
        """From index to LPS (4×4), in the file's unit of length; a position that is not there is 0.

        Raises ValueError unless there are three axes with a direction, and all are numbers.
        """
        space = self.fields.get("space", "").lower()
        words = re.split("[ -]", space)
        signs = [1.0 if letter in "lps" else -1.0 for letter in (space if len(words) == 1 else [*zip(*words)][0])]
        matrix = np.eye(4)
        matrix[:3, :3] = np.transpose([_vector(axis) for axis in self.axes])
        matrix[:3, 3] = _vector(_either(self.fields, "space origin") or "(0,0,0)")
        return np.diag([*signs, 1.0]) @ matrix

    @property
    def data_file(self) -> str:
        """Where the data are: the name of a file; empty if they follow the header."""
        return _either(self.fields, "data file")

    def skip(self, unit: str) -> int:
        """How many of `unit` ('line', 'byte') stand before the voxels; -1 for all but these. Raises ValueError."""
        return int(_either(self.fields, f"{unit} skip") or 0)


def read_nrrd_header(file: BinaryIO) -> NrrdHeader:
    """Read the header at the beginning of a file; leave the file at the byte after it.

    Raises ValueError if it is no NRRD, a field is longer than any can be, or the header has no end; OSError.
    """
    if not file.readline(16).startswith(b"NRRD"):
        raise ValueError("no NRRD file")
    fields: dict[str, str] = {}
    texts: dict[str, str] = {}
    while line := file.readline(_LONGEST_HEADER - file.tell()):
        text = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        if not text:
            break
        if len(line) > _LONGEST_FIELD and ":=" not in text and not text.lower().startswith(_NOTES):
            raise ValueError("a line that is no field")
        name, mark, value = re.match(r"([^:]*)(:=|: |)(.*)", text).groups()
        if mark == ":=":
            texts[name] = value
        elif mark and not text.startswith("#"):
            fields[name.strip().lower()] = value.strip()
    else:
        if not _either(fields, "data file"):
            raise ValueError("the header has no end")
    return NrrdHeader(fields, texts)


def _vector(text: str) -> list[float]:
    """The three numbers of '(x,y,z)'. Raises ValueError."""
    if "_" in text:  # Python's own way to group digits
        raise ValueError("no number")
    x, y, z = map(float, re.split(r"[\s,]+", text.strip("() ")))
    return [x, y, z]


def _either(fields: dict[str, str], name: str) -> str:
    """A field whose name is also written without its space."""
    return fields.get(name) or fields.get(name.replace(" ", ""), "")


def check_nrrd(path: Path, space: str, what: str) -> np.ndarray:
    """Return the matrix from index to LPS (4×4, mm) that the file states. Raise InputError about `what` unless it says
    where the patient lies in it, in mm, and its data are whole.

    `space`: as ITK gives it, which turns every space of the patient into left-posterior-superior. Compressed data are
    read to their end (0.4 s for 80 MB of voxels), and more of them than the header says are damage, too; where others
    are missing, ITK notices. Raises OSError.
    """
    try:
        with path.open("rb") as file:
            header = read_nrrd_header(file)
            if "left-posterior-superior" not in space or len(header.axes) < 3:
                raise without_orientation(what)
            units = re.findall(r'"([^"]*)"', header.fields.get("space units", ""))
            if not MILLIMETRES.issuperset(unit.strip().lower() for unit in units[:3]):
                raise in_another_unit(what)
            if header.encoding in _BZIP2_ENCODINGS:
                raise InputError(
                    f"{what} is compressed with bzip2, which is not supported; save it with gzip or uncompressed."
                )
            if header.encoding in (*GZIP_ENCODINGS, "raw"):
                _check_data(path, file, header, what)
            return header.matrix
    except (DamagedStream, ValueError):
        raise damaged(what) from None


def check_where_data_are(path: Path, what: str) -> None:
    """Raise InputError about `what` if a header names anything but one file as its data. Raises OSError where that is
    missing."""
    try:
        with path.open("rb") as file:
            name = read_nrrd_header(file).data_file
        if _SEVERAL_FILES.search(name):
            raise several_files(what)
        if name == "-":  # ITK reads standard input
            raise without_data_file(what)
        if name:
            check_data_file(path.parent / name, what)
    except ValueError:  # also a name that no file can have
        raise damaged(what) from None


def unread_header(path: Path, what: str) -> InputError:
    """The error for a header that ITK does not read: what it is that it does not know, or damage."""
    try:
        with path.open("rb") as file:
            header = read_nrrd_header(file)
            rank = len(header.sizes)
    except (OSError, ValueError):
        return damaged(what)
    if rank > 3 and len(header.axes) == 3:
        return InputError(
            f"{what} has {rank} axes, of which only three are directions in space; save one of its volumes alone, with "
            "three axes."
        )
    if header.fields.get("space", "").lower() in _UNREAD_SPACES:
        return without_orientation(what)
    return damaged(what)


def _check_data(path: Path, file: BinaryIO, header: NrrdHeader, what: str) -> None:
    """Raise DamagedStream or InputError unless the voxels are there alone. `file` is at the end of the header."""
    if not header.data_file:
        _check_voxels(file, header, what)
        return
    with (path.parent / header.data_file).open("rb") as data:
        _check_voxels(data, header, what)


def _check_voxels(file: BinaryIO, header: NrrdHeader, what: str) -> None:
    """Check the data at the file's position: lines to skip stand before the stream, bytes to skip in it."""
    for _ in range(header.skip("line")):
        if not file.readline():
            raise DamagedStream
    skip = header.skip("byte")
    if header.encoding == "raw":
        surplus = os.fstat(file.fileno()).st_size - file.tell() - skip - header.voxel_bytes
        if skip >= 0 and surplus > MOST_SURPLUS:
            raise too_long(surplus, "sizes, type, byte skip", what)
    elif skip >= 0:
        check_stream(file, skip + header.voxel_bytes)
    elif check_stream(file) < header.voxel_bytes:
        raise DamagedStream
