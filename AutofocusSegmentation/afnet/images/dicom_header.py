"""What a folder of DICOM files holds: the header of every slice, and which files are slices that are damaged.

GDCM reads the headers. It fills in pixels that a file lacks without a word, so that they are all there is judged here.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, RequestError
from .refusals import check_name

_SOP_CLASS, _MODALITY, _INSTANCE, _SERIES = "0008|0016", "0008|0060", "0008|0018", "0020|000e"
_POSITION, _ORIENTATION, _SPACING = "0020|0032", "0020|0037", "0028|0030"
_FRAMES, _PHOTOMETRIC, _ALLOCATED, _SAMPLES = "0028|0008", "0028|0004", "0028|0100", "0028|0002"
_SLOPE, _INTERCEPT = "0028|1053", "0028|1052"
_PATIENT, _FRAME_OF_REFERENCE, _HIGH_BIT, _STORED = "0010|0020", "0020|0052", "0028|0102", "0028|0101"
_SIGNED, _PADDING, _PADDING_LIMIT = "0028|0103", "0028|0120", "0028|0121"
_IMAGE_TYPE = "0008|0008"
SEX = "0010|0040"

_BIG_ENDIAN, _DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"  # hardly ever used for scans
_UNCOMPRESSED = frozenset({"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"})
"""Transfer syntaxes whose pixels take as many bytes as they are wide; '' where a file has no meta header."""

_VALUE_TABLE = re.compile(rb"\x28\0\0\x30(SQ\0\0)?.{4}\xfe\xff\0\xe0", re.DOTALL)
"""The element Modality LUT Sequence (0028,3000) and the item that it begins with."""

MOST_FILES = 20_000
"""A folder with more files than this is no series, but somebody's disk."""

_CLASS = "1.2.840.10008.5.1.4.1.1."
_ENHANCED = {
    _CLASS + "2.1": "Enhanced CT", _CLASS + "2.2": "Legacy Converted Enhanced CT", _CLASS + "4.1": "Enhanced MR",
    _CLASS + "4.4": "Legacy Converted Enhanced MR", _CLASS + "128.1": "Legacy Converted Enhanced PET",
    _CLASS + "130": "Enhanced PET",
}
"""SOP classes that state the place of each frame in a sequence of their own, even where there is one frame alone."""

_IMAGE_CLASSES = frozenset(_CLASS + tail for tail in "2 4 7 7.1 7.2 7.3 7.4 20 128".split()) | _ENHANCED.keys()
"""SOP classes of slices (CT, MR, PET, NM, their multi-frame forms, secondary capture). A file of one of these that
cannot be read is a missing slice; one of another class (plan, contours, dose, report) is left aside."""

MODALITIES = frozenset({"CT", "MR", "PT", "NM", "OT", "US", "XA", "CR", "DX"})
"""What a sentence may repeat of a file: a code that is none of these may be anything."""


@dataclass(frozen=True)
class Slice:
    """Header of one file: what decides where it belongs, and what its values mean.

    `form`: '' for a slice that states its place, else what holds the frames: the name of an enhanced class, or
    'multi-frame'. `rescale`: whether slope and intercept are there. `unscaled`: whether what the values mean cannot be
    known, for one of these is no number or a table stands in their place. `shifted`: whether the values are in upper
    bits. `whose`: patient and frame of reference, for comparing alone: never shown or logged. `padding`: from where to
    where values, rescaled, stand for no tissue; None if the file names no such value. `localizer`: whether it says of
    itself that it is one. `sex`: 'M', 'F', 'O' (other) or ''. Lengths in mm, as exact as the file has them.
    """

    file: Path
    kind: str
    series: str
    modality: str
    instance: str
    size: tuple[int, int]
    spacing: tuple[float, float]
    axes: tuple[float, ...]
    position: tuple[float, float, float]
    frames: int
    form: str
    pixel: int
    inverted: bool
    rescale: tuple[bool, bool]
    unscaled: bool
    shifted: bool
    whose: tuple[str, str]
    padding: tuple[float, float] | None
    localizer: bool
    sex: str


@dataclass
class Folder:
    """What a folder holds: slices, each instance once; and how many files are damaged slices, and links to slices lead
    nowhere.

    `placeless`: series and SOP class of pictures that do not say where they lie (a dose report, a saved screen).
    """

    slices: list[Slice]
    damaged: int = 0
    dangling: int = 0
    placeless: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Part(Folder):
    """The same without what links to folders (`links`) lead to, with the files that are no DICOM and the links that
    lead nowhere, of which the names say whether they were slices."""

    links: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    lost: list[Path] = field(default_factory=list)


def read_part(folder: Path, visited: set[str], files: Iterator[int], what: str) -> Part:
    """Read what lies in `folder` itself and in its folders, but for those `visited`; `files` counts them."""
    found = Part([])
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    for parent, folders, names in os.walk(folder, onerror=_raise):
        place = os.path.realpath(parent)
        if place in visited:
            folders.clear()
            continue
        visited.add(place)
        folders.sort()
        found.links += [Path(parent, name) for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in sorted(names):
            file = Path(parent) / name
            if not file.is_file():
                if file.is_symlink() and not file.exists():
                    found.lost.append(file)
                continue
            check_name(file, f"A file of {what}")
            if next(files) > MOST_FILES:
                raise RequestError(
                    f"{what} is a folder with over {MOST_FILES} files; give the folder of one series."
                )
            _read_file(file, reader, found, what)
    return found


def _read_file(file: Path, reader: sitk.ImageFileReader, found: Part, what: str) -> None:
    """Add to `found` what a file is: a slice, a picture without a place, a damaged one, or no DICOM. What is no image
    is passed over."""
    kind, syntax = _meta_header(file)
    if kind is not None and kind not in _IMAGE_CLASSES:
        return
    if syntax in (_BIG_ENDIAN, _DEFLATED):
        raise InputError(
            f"{what} is DICOM in a transfer syntax that is not read here (deflated or big-endian); export the series "
            "again as Explicit VR Little Endian."
        )
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        if kind is None:
            found.unread.append(file)
        else:
            found.damaged += 1
        return
    start, count = None, _pixel_bytes(reader)
    if syntax in _UNCOMPRESSED:
        start = _before_pixels(file, count)
        if not _has_pixels(start, count):
            found.damaged += 1
            return
    item = _slice(file, reader, kind, start)
    if item is None:
        found.placeless.append((_text(reader, _SERIES), _text(reader, _SOP_CLASS)))
    else:
        found.slices.append(item)


def _before_pixels(file: Path, count: int) -> bytes:
    """What is not the last `count` bytes of a file that is not compressed: its header at least."""
    with file.open("rb") as stream:
        return stream.read(max(file.stat().st_size - count, 0))


def _has_pixels(start: bytes, count: int) -> bool:
    """Whether the element Pixel Data (7FE0,0010) has `count` bytes and the file, of which `start` is what lies before
    its last `count`, has them; GDCM fills in what is missing."""
    tag = b"\xe0\x7f\x10\0"
    place = start.find(tag)
    while place >= 0:
        explicit = start[place + 4 : place + 6] in (b"OW", b"OB")
        length = start[place + 8 : place + 12] if explicit else start[place + 4 : place + 8]
        if int.from_bytes(length, "little") >= count:
            return True
        place = start.find(tag, place + 1)  # that was an icon's, or stood in other data by chance
    return False


def pattern(file: Path) -> str:
    return re.sub(r"\d+", "#", file.name)


def _pixel_bytes(reader: sitk.ImageFileReader) -> int:
    """Bytes of the pixels that the header just read promises, if they are not compressed."""
    def number(key: str, otherwise: int) -> int:
        text = _text(reader, key)
        return int(text) if text.isascii() and text.isdigit() else otherwise

    columns, rows = reader.GetSize()[:2]
    return columns * rows * number(_ALLOCATED, 8) // 8 * number(_SAMPLES, 1) * number(_FRAMES, 1)


def _text(reader: sitk.ImageFileReader, key: str) -> str:
    """A tag of the header just read, without what pads it; empty if it is not there."""
    return reader.GetMetaData(key).strip(" \0") if reader.HasMetaDataKey(key) else ""


def _raise(error: OSError) -> None:
    raise error


def _meta_header(file: Path) -> tuple[str | None, str]:
    """SOP class and transfer syntax in the file's meta header (PS3.10 section 7.1, always explicit little endian).

    The class is None if the file has no DICOM preamble, a slice's if it is cut before its class is named.
    """
    with file.open("rb") as stream:
        start = stream.read(1024)
    if start[128:132] != b"DICM":
        return None, ""

    def text(element: bytes) -> str | None:
        place = start.find(b"\x02\x00" + element + b"\x00UI", 132)
        if place < 0:
            return None
        length = int.from_bytes(start[place + 6 : place + 8], "little")
        return start[place + 8 : place + 8 + length].rstrip(b"\0 ").decode("ascii", "replace")

    return text(b"\x02") or "1.2.840.10008.5.1.4.1.1.2", text(b"\x10") or ""


def _numbers(reader: sitk.ImageFileReader, key: str, count: int) -> tuple[float, ...] | None:
    """The `count` finite numbers of a tag of the header just read; None if it has others or is not there."""
    text = _text(reader, key)
    if not text.isascii() or "_" in text:  # which Python reads as numbers, too
        return None
    try:
        values = tuple(float(part) for part in text.split("\\"))
    except ValueError:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def _slice(file: Path, reader: sitk.ImageFileReader, kind: str | None, start: bytes | None) -> Slice | None:
    """The header just read, of SOP class `kind`; None for a picture in colour or without a position (a dose report)."""
    if reader.GetNumberOfComponents() > 1:
        return None
    frames = max(int((_numbers(reader, _FRAMES, 1) or (1,))[0]), 1)
    form = _ENHANCED.get(kind, "multi-frame" if frames > 1 else "")
    position, axes = _numbers(reader, _POSITION, 3), _numbers(reader, _ORIENTATION, 6)
    spacing = _numbers(reader, _SPACING, 2)
    if not form and (position is None or axes is None or spacing is None or min(spacing) <= 0):
        return None
    modality = _text(reader, _MODALITY)
    return Slice(
        file, _text(reader, _SOP_CLASS), _text(reader, _SERIES), modality if modality in MODALITIES else "another kind",
        _text(reader, _INSTANCE) or str(file), tuple(reader.GetSize()[:2]),
        spacing or (1.0, 1.0), axes or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), position or (0.0, 0.0, 0.0), frames, form,
        reader.GetPixelID(),
        _text(reader, _PHOTOMETRIC) == "MONOCHROME1", (bool(_text(reader, _SLOPE)), bool(_text(reader, _INTERCEPT))),
        _is_unscaled(file, reader, start), _is_shifted(reader),
        (_text(reader, _PATIENT), _text(reader, _FRAME_OF_REFERENCE)), _padding(reader),
        "LOCALIZER" in [part.strip() for part in _text(reader, _IMAGE_TYPE).split("\\")],
        sex if (sex := _text(reader, SEX)) in ("M", "F", "O") else "",
    )


def _is_unscaled(file: Path, reader: sitk.ImageFileReader, start: bytes | None) -> bool:
    """Whether slope or intercept of the header just read are there, but no numbers, or a table takes their place, which
    GDCM does not apply. `start`: the bytes of the file before its pixels, if they are known."""
    stated = [key for key in (_SLOPE, _INTERCEPT) if _text(reader, key)]
    if stated:
        return any(_numbers(reader, key, 1) is None for key in stated)
    return _VALUE_TABLE.search(file.read_bytes() if start is None else start) is not None


def _is_shifted(reader: sitk.ImageFileReader) -> bool:
    """Whether the values of the header just read end above their number of bits (as PS3.5 allowed until 2014): GDCM
    would take the lower ones."""
    high, stored = _numbers(reader, _HIGH_BIT, 1), _numbers(reader, _STORED, 1)
    return high is not None and stored is not None and high[0] != stored[0] - 1


def _padding(reader: sitk.ImageFileReader) -> tuple[float, float] | None:
    """Pixel Padding Value to Range Limit (PS3.3 C.7.5.1.1.2) of the header just read, rescaled, half a step wider."""
    first = _numbers(reader, _PADDING, 1)
    if first is None:
        return None
    last = _numbers(reader, _PADDING_LIMIT, 1) or first
    slope, intercept = (_numbers(reader, key, 1) or (0.0,) for key in (_SLOPE, _INTERCEPT))
    step = slope[0] or 1.0  # as GDCM takes a slope of 0
    stored = np.array(first + last) % 2**16  # written as signed or not, whatever the pixels are
    if _text(reader, _SIGNED) == "1":
        stored[stored >= 2**15] -= 2**16
    ends = stored * step + intercept[0]
    return float(ends.min() - abs(step) / 2), float(ends.max() + abs(step) / 2)
