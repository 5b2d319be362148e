"""What ITK does not check when it reads NIfTI: the byte count and the two orientation matrices.

ITK fills missing data with zeros without a word, gives a file without any orientation an identity, and lets
the voxel size win where it contradicts the orientation matrix. Fields and offsets: nifti1.h and nifti2.h
(NIH).
"""

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
"""Code of the length unit (metre, millimetre, micrometre) to its length in mm; an unknown unit is taken as
mm."""

_HEADER_BYTES = 540
"""Length of the longer of the two headers (NIfTI-2); NIfTI-1 has 348."""

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# Where each field lies: struct format without byte order, and offset.
_NIFTI_1 = {"dim": ("8h", 40), "bitpix": ("h", 72), "pixdim": ("8f", 76), "vox_offset": ("f", 108),
            "units": ("B", 123), "codes": ("2h", 252), "quatern": ("6f", 256), "srow": ("12f", 280)}
_NIFTI_2 = {"bitpix": ("h", 14), "dim": ("8q", 16), "pixdim": ("8d", 104), "vox_offset": ("q", 168),
            "codes": ("2i", 344), "quatern": ("6d", 352), "srow": ("12d", 400), "units": ("i", 500)}


class Truncated(Exception):
    """The file holds fewer bytes than its header promises, or its compressed stream is damaged."""


@dataclass(frozen=True)
class NiftiHeader:
    """The index-to-LPS matrices (4×4, mm) that the file states; None if it states none.

    `sform_is_template`: the sform leads to a template's space (MNI, Talairach), an affine warp beside the
    qform's pose.
    """

    qform: np.ndarray | None
    sform: np.ndarray | None
    sform_is_template: bool


def read_nifti_header(path: Path) -> NiftiHeader:
    """Read the header of a .nii or .nii.gz file and check that all of its data is there.

    A compressed file is decompressed to its end once, which also verifies its checksum (0.4 s for 80 MB of
    voxels). Raises Truncated; ValueError if the file is no single-file NIfTI; OSError.
    """
    head, length = _decompressed_length(path)
    for order in "<>":
        if len(head) >= 348 and head[344:348] == b"n+1\0" and struct.unpack_from(order + "i", head)[0] == 348:
            return _parse(head, length, order, _NIFTI_1)
        if len(head) >= 540 and head[4:8] == b"n+2\0" and struct.unpack_from(order + "i", head)[0] == 540:
            return _parse(head, length, order, _NIFTI_2)
    if len(head) < 348:
        raise Truncated
    raise ValueError("not a single-file NIfTI")


def _decompressed_length(path: Path) -> tuple[bytes, int]:
    """First bytes and length of the file's content, decompressed if it is gzip (by its content, not by its
    name)."""
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            file.seek(0)
            return file.read(_HEADER_BYTES), path.stat().st_size
        file.seek(0)
        head, length = b"", 0
        stream = zlib.decompressobj(wbits=31)
        rest = file.read(1 << 20)
        while rest:
            try:
                part = stream.decompress(rest)
            except zlib.error:
                raise Truncated from None
            length += len(part)
            if len(head) < _HEADER_BYTES:
                head = (head + part)[:_HEADER_BYTES]
            rest = stream.unused_data
            if stream.eof:
                rest = rest or file.read(1 << 20)
                if rest[:2] != b"\x1f\x8b":  # padding after the last member
                    return head, length
                stream = zlib.decompressobj(wbits=31)
            else:
                rest = file.read(1 << 20)
        raise Truncated


def _parse(head: bytes, length: int, order: str, layout: dict) -> NiftiHeader:
    value = {name: struct.unpack_from(order + form, head, offset) for name, (form, offset) in layout.items()}
    rank = value["dim"][0]
    if not 1 <= rank <= 7:
        raise ValueError("bad number of dimensions")
    size = value["dim"][1 : rank + 1]
    needed = value["vox_offset"][0] + math.prod(max(count, 1) for count in size) * value["bitpix"][0] / 8
    if length < needed:
        raise Truncated
    scale = np.diag([_MILLIMETRES.get(value["units"][0] & 7, 1.0)] * 3 + [1.0])
    quaternion_code, matrix_code = value["codes"]
    qform = sform = None
    if quaternion_code > 0:
        qform = _LPS_FROM_RAS @ scale @ _quaternion_matrix(value["quatern"], value["pixdim"])
    if matrix_code > 0:
        rows = np.array(value["srow"], dtype=float).reshape(3, 4)
        sform = _LPS_FROM_RAS @ scale @ np.vstack([rows, [0, 0, 0, 1]])
    return NiftiHeader(qform, sform, matrix_code > 2 and quaternion_code > 0)


def _quaternion_matrix(quatern: tuple, pixdim: tuple) -> np.ndarray:
    """Index-to-RAS matrix (4×4) of method 2 of nifti1.h: rotation by the quaternion, third column times
    qfac."""
    b, c, d = quatern[:3]
    a = math.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ])
    qfac = -1.0 if pixdim[0] < 0 else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * [pixdim[1], pixdim[2], pixdim[3] * qfac]
    matrix[:3, 3] = quatern[3:]
    return matrix
