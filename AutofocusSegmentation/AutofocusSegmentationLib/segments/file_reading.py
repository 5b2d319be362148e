"""Read the .seg.nrrd file that the engine wrote (afnet/output/segmentation_file.py says how), without Slicer's reader.

Slicer's reader ends the whole program on some damaged files, turns left-handed grids round, and takes seconds to let
go of a large label map that segments share (seen with 5.12). This one refuses what is not whole.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from afnet.images.compressed_stream import DamagedStream, inflated
from afnet.images.nrrd_header import GZIP_ENCODINGS, NrrdHeader, read_nrrd_header
from afnet.output.segment_header import Segment, read_segments
from afnet.output.segment_tags import STRUCTURE_TAG

from ..scene.grids import VoxelGrid
from ..scene.transforms import LPS_TO_RAS
from .voxels import Voxels, cut_to_box


class DamagedFile(Exception):
    """The file is no segmentation, or not all of it is there."""


@dataclass(frozen=True)
class SegmentationFile:
    """grid: in RAS, mm. layers: [k, j, i, layer], bytes. segments: structure id to its layer and its label there."""

    grid: VoxelGrid
    layers: np.ndarray
    segments: dict[str, tuple[int, int]]

    def voxels(self, structure_id: str) -> Voxels:
        layer, label = self.segments[structure_id]
        return cut_to_box(self.layers[..., layer] == label)


def read_segmentation_file(path: Path) -> SegmentationFile:
    """Read a .seg.nrrd of bytes, gzip or raw; a segment's structure is in its STRUCTURE_TAG, else its id.

    Raises DamagedFile unless the file holds exactly the voxels and segments that its header promises.
    """
    try:
        with path.open("rb") as file:
            header = read_nrrd_header(file)
            content = _read_voxels(file, header)
        layers = np.frombuffer(content, np.uint8).reshape(*reversed(header.sizes[-3:]), -1)
        segments = _by_structure(read_segments(header.texts))
        if not all(layer < layers.shape[-1] for layer, _ in segments.values()):
            raise DamagedFile
        return SegmentationFile(VoxelGrid(_matrix(header), header.sizes[-3:]), layers, segments)
    except (OSError, KeyError, ValueError, DamagedStream):
        raise DamagedFile from None


def _read_voxels(file: BinaryIO, header: NrrdHeader) -> bytes:
    """Return the bytes of the voxels after a header; raises ValueError or DamagedStream if there are fewer or more."""
    promised = header.voxel_bytes
    if len(header.sizes) not in (3, 4) or promised != math.prod(header.sizes):
        raise ValueError("no bytes")
    if header.encoding in GZIP_ENCODINGS:
        return b"".join(inflated(file, promised))
    content = file.read(promised + 1)
    if header.encoding != "raw" or len(content) != promised:
        raise ValueError("not the voxels that were promised")
    return content


def _by_structure(segments: Iterable[Segment]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for segment in segments:
        structure = segment.tags.get(STRUCTURE_TAG) or segment.id
        if structure in found:
            raise ValueError("two segments of one structure")
        found[structure] = segment.layer, segment.label
    return found


def _matrix(header: NrrdHeader) -> np.ndarray:
    """Return the 4x4 IJK-to-RAS matrix of the last three axes; raises ValueError."""
    if header.fields["space"] not in ("left-posterior-superior", "LPS"):
        raise ValueError("another space")
    axes = np.array([_vector(text) for text in header.axes])
    matrix = np.eye(4)
    matrix[:3, :3] = axes.T
    matrix[:3, 3] = _vector(header.fields["space origin"])
    matrix = LPS_TO_RAS @ matrix
    if not np.isfinite(matrix).all() or np.linalg.det(matrix) == 0:
        raise ValueError("no grid")
    return matrix


def _vector(text: str) -> np.ndarray:
    return np.array([float(part) for part in text.strip("()").split(",")])
