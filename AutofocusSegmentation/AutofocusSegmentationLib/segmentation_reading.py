"""Read the .seg.nrrd file that the engine wrote (afnet/segmentation_file.py says how), without Slicer's reader.

Slicer's reader ends the whole program on some damaged files, turns left-handed grids round, and takes seconds to let
go of a large label map that segments share (seen with 5.12). This one refuses what is not whole.
"""

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .segment_voxels import Grid, Voxels, cut_to_box

_LONGEST_HEADER = 2**20
_CHUNK = 2**20
_BYTES = ("unsigned char", "uchar", "uint8", "uint8_t")
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


class DamagedFile(Exception):
    """The file is no segmentation, or not all of it is there."""


@dataclass(frozen=True)
class SegmentationFile:
    """grid: in RAS, mm. layers: [k, j, i, layer], bytes. segments: structure id to its layer and its label there."""

    grid: Grid
    layers: np.ndarray
    segments: dict[str, tuple[int, int]]

    def voxels(self, structure_id: str) -> Voxels:
        layer, label = self.segments[structure_id]
        return cut_to_box(self.layers[..., layer] == label)


def read_segmentation_file(path: Path, structure_tag: str) -> SegmentationFile:
    """Read a .seg.nrrd of bytes, gzip or raw; a segment's structure is in the tag `structure_tag`, else its id.

    Raises DamagedFile unless the file holds exactly the voxels and segments that its header promises.
    """
    try:
        with path.open("rb") as file:
            header = _read_header(file)
            sizes = [int(size) for size in header["sizes"].split()]
            content = _read_voxels(file, header["encoding"], int(np.prod(sizes, dtype=np.int64)))
        if header["type"] not in _BYTES or len(sizes) not in (3, 4):
            raise DamagedFile
        layers = np.frombuffer(content, np.uint8).reshape([*reversed(sizes[-3:]), sizes[0] if len(sizes) == 4 else 1])
        segments = _segments(header, structure_tag)
        if not all(0 <= layer < layers.shape[-1] for layer, _ in segments.values()):
            raise DamagedFile
        return SegmentationFile(Grid(_matrix(header), tuple(sizes[-3:])), layers, segments)
    except (OSError, KeyError, ValueError, zlib.error):
        raise DamagedFile from None


def _read_header(file) -> dict[str, str]:
    """Return the header's fields and keys with their values; raises ValueError if it has no end."""
    if not file.readline(16).startswith(b"NRRD000"):
        raise ValueError("no NRRD file")
    header = {}
    while file.tell() < _LONGEST_HEADER:
        line = file.readline(_LONGEST_HEADER)
        if not line.endswith(b"\n"):
            break
        text = line.rstrip(b"\r\n").decode("utf-8")
        if not text:
            return header
        name, _, value = text.partition(":") if not text.startswith("#") else ("", "", "")
        header[name] = value.removeprefix("=").strip()
    raise ValueError("the header has no end")


def _read_voxels(file, encoding: str, promised: int) -> bytearray:
    """Return `promised` bytes of voxels, unpacked; raises ValueError or zlib.error if there are fewer or more."""
    content = bytearray()
    if promised <= 0 or encoding not in ("raw", "gzip", "gz"):
        raise ValueError("no voxels")
    if encoding == "raw":
        content += file.read(promised + 1)
    else:
        unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while len(content) <= promised and not unpack.eof:
            chunk = unpack.unconsumed_tail or file.read(_CHUNK)
            if not chunk:
                raise ValueError("the data end early")
            content += unpack.decompress(chunk, 16 * _CHUNK)
    if len(content) != promised:
        raise ValueError("not the voxels that were promised")
    return content


def _segments(header: dict[str, str], structure_tag: str) -> dict[str, tuple[int, int]]:
    segments = {}
    while f"Segment{len(segments)}_ID" in header:
        prefix = f"Segment{len(segments)}_"
        tags = dict(part.split(":", 1) for part in header.get(prefix + "Tags", "").split("|") if ":" in part)
        structure = tags.get(structure_tag) or header[prefix + "ID"]
        if structure in segments:
            raise ValueError("two segments of one structure")
        segments[structure] = int(header[prefix + "Layer"]), int(header[prefix + "LabelValue"])
    return segments


def _matrix(header: dict[str, str]) -> np.ndarray:
    """Return the 4x4 IJK-to-RAS matrix of the last three axes; raises ValueError."""
    if header["space"] not in ("left-posterior-superior", "LPS"):
        raise ValueError("another space")
    axes = np.array([_vector(text) for text in re.findall(r"\([^)]*\)", header["space directions"])])
    matrix = np.eye(4)
    matrix[:3, :3] = _LPS_TO_RAS @ axes.T
    matrix[:3, 3] = _LPS_TO_RAS @ _vector(header["space origin"])
    if not np.isfinite(matrix).all() or np.linalg.det(matrix) == 0:
        raise ValueError("no grid")
    return matrix


def _vector(text: str) -> np.ndarray:
    return np.array([float(part) for part in text.strip("()").split(",")])
