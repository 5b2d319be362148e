"""What ITK does not check when it reads NIfTI: the bytes, the values' scale and the two orientation matrices.

ITK fills missing data with zeros and turns NaN into 0 without a word, adds an intercept without a slope, reads voxels
from inside the header if told so, gives a file without any orientation an identity, and lets the voxel size win where
it contradicts the orientation matrix. Fields and offsets: nifti1.h (NIH).
"""

import math
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from .compressed_stream import DamagedStream, at_gzip, inflated

_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
"""Code of the length unit (metre, millimetre, micrometre) to its length in mm; an unknown unit is taken as mm."""

_HEADER_BYTES = 348

_PIECE = 1 << 20
"""Bytes read at once."""

# Where each field lies: struct format without byte order, and offset.
_LAYOUT = {
    "dim": ("8h", 40), "datatype": ("h", 70), "bitpix": ("h", 72), "pixdim": ("8f", 76), "vox_offset": ("f", 108),
    "slope": ("2f", 112), "units": ("B", 123), "codes": ("2h", 252), "quatern": ("6f", 256), "srow": ("12f", 280),
}

_BITS = {
    1: 1, 2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64, 1536: 128,
    1792: 128, 2048: 256, 2304: 32,
}
"""Bits of a voxel of each datatype code."""

_FIRST_OFFSET = 352
"""Least offset of the voxels: after the header and four bytes that say whether extensions follow."""

_LEAST_SLOPE = sys.float_info.epsilon
"""ITK takes a smaller slope for none."""

_FLOATS = {16: "f4", 64: "f8"}
"""Datatype code of floating-point voxels to numpy's name."""


class Truncated(Exception):
    """The file holds fewer bytes than its header promises, or its compressed stream is damaged."""


class ContradictoryScaling(Exception):
    """Slope and intercept say together neither how the values are scaled nor that they are not."""


@dataclass(frozen=True)
class NiftiHeader:
    """What a file says and holds.

    `size`: voxels along its first three axes, 0 where it says so. `qform`, `sform`: its index-to-LPS matrices (4×4,
    mm), None if it states none. `sform_is_template`: the sform leads to a template's space (MNI, Talairach), an affine
    warp beside the qform's pose. `not_finite`: number of voxels that are NaN or infinite.
    """

    size: tuple[int, ...]
    qform: np.ndarray | None
    sform: np.ndarray | None
    sform_is_template: bool
    not_finite: int


def read_nifti_header(path: Path) -> NiftiHeader:
    """Read the header of a .nii or .nii.gz file and check that all of its data is there.

    The file is read, and decompressed, to its end, which also verifies a compressed file's checksum (0.4 s for 80 MB
    of voxels). Raises Truncated; ContradictoryScaling; ValueError if the file is no single-file NIfTI, or its header
    contradicts the format; OSError.
    """
    content = _content(path)
    head = b""
    for part in content:
        head += part
        if len(head) >= _HEADER_BYTES:
            break
    if len(head) < _HEADER_BYTES:
        raise Truncated
    order = {b"\x5c\1\0\0": "<", b"\0\0\1\x5c": ">"}.get(head[:4])  # 348, the header's length
    if order is None or head[344:348] != b"n+1\0":
        raise ValueError("not a NIfTI-1 file with header and voxels in one")
    value = {name: struct.unpack_from(order + form, head, offset) for name, (form, offset) in _LAYOUT.items()}
    if not 1 <= value["dim"][0] <= 7:
        raise ValueError("bad number of dimensions")
    (bits,), (code,), (offset,) = value["bitpix"], value["datatype"], value["vox_offset"]
    if not (math.isfinite(offset) and offset >= _FIRST_OFFSET) or _BITS.get(code) != bits:
        raise ValueError("voxels inside the header, or of another size than their type")
    quaternion_code, matrix_code = value["codes"]
    if quaternion_code > 0 and min(value["pixdim"][1:4]) <= 0:  # ITK and others mirror the axis, or do not
        raise ValueError("a voxel size that is not positive")
    _check_scaling(*value["slope"])
    return NiftiHeader(
        tuple(max(count, 0) if axis < value["dim"][0] else 1 for axis, count in enumerate(value["dim"][1:4])),
        _qform(value) if quaternion_code > 0 else None, _sform(value) if matrix_code > 0 else None,
        matrix_code > 2 and quaternion_code > 0, _read_voxels(head, content, value, order),
    )


def _content(path: Path) -> Iterator[bytes]:
    """The file's bytes in pieces, decompressed if they are gzip (by their content, not by the file's name)."""
    with path.open("rb") as file:
        try:
            yield from inflated(file) if at_gzip(file) else iter(lambda: file.read(_PIECE), b"")
        except DamagedStream:
            raise Truncated from None


def _check_scaling(slope: float, intercept: float) -> None:
    """Raise ContradictoryScaling. A slope of 0 says that nothing is scaled; some programs write NaN for both."""
    if slope == 0 or math.isnan(slope):
        sound = intercept == 0 or math.isnan(intercept)
    else:
        sound = _LEAST_SLOPE <= abs(slope) < math.inf and math.isfinite(intercept)
    if not sound:
        raise ContradictoryScaling


def _read_voxels(head: bytes, content: Iterator[bytes], value: dict[str, tuple], order: str) -> int:
    """Read on to the end; return how many voxels are not finite. Raises Truncated if bytes are missing."""
    (bits,), (code,), rank = value["bitpix"], value["datatype"], value["dim"][0]
    needed = math.prod(max(count, 1) for count in value["dim"][1 : rank + 1]) * bits // 8
    skip = int(value["vox_offset"][0])
    kind = np.dtype(order + _FLOATS[code]) if code in _FLOATS else None
    bad, rest = 0, b""
    for part in chain([head], content):
        here = part[skip:][:needed]
        skip = max(0, skip - len(part))
        needed -= len(here)
        if kind is not None:
            here = rest + here
            whole = len(here) - len(here) % kind.itemsize
            bad += int(np.count_nonzero(~np.isfinite(np.frombuffer(here[:whole], kind))))
            rest = here[whole:]
    if needed > 0:
        raise Truncated
    return bad


def _qform(value: dict[str, tuple]) -> np.ndarray:
    return _lps(_quaternion_matrix(value["quatern"], value["pixdim"]), value)


def _sform(value: dict[str, tuple]) -> np.ndarray:
    rows = np.array(value["srow"], dtype=float).reshape(3, 4)
    return _lps(np.vstack([rows, [0, 0, 0, 1]]), value)


def _lps(matrix: np.ndarray, value: dict[str, tuple]) -> np.ndarray:
    """Index-to-RAS in the file's unit of length to index-to-LPS in mm."""
    unit = _MILLIMETRES.get(value["units"][0] & 7, 1.0)
    with np.errstate(invalid="ignore", over="ignore"):  # a header of NaN is the caller's to refuse
        return np.diag([-unit, -unit, unit, 1.0]) @ matrix


def _quaternion_matrix(quatern: tuple, pixdim: tuple) -> np.ndarray:
    """Index-to-RAS matrix (4×4) of method 2 of nifti1.h: rotation by the quaternion, third column times qfac."""
    b, c, d = quatern[:3]
    a = math.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ])
    qfac = -1.0 if pixdim[0] < 0 else 1.0
    matrix = np.eye(4)
    with np.errstate(invalid="ignore", over="ignore"):  # a header of NaN is the caller's to refuse
        matrix[:3, :3] = rotation * [pixdim[1], pixdim[2], pixdim[3] * qfac]
    matrix[:3, 3] = quatern[3:]
    return matrix
