"""A gzip or zlib stream, inflated piece by piece to its end, where checksum and length tell whether it is whole.

The readers of ITK and Slicer stop at the last voxel that they expect, and take for voxels whatever came before it.
Standard library only, so that the Slicer side uses it too. Formats: RFC 1950 (zlib), RFC 1952 (gzip).
"""

import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO

GZIP_START = b"\x1f\x8b"
"""The first bytes of a gzip stream."""

_EITHER = zlib.MAX_WBITS | 32
"""zlib's number for a stream that says by its first bytes whether it is gzip or zlib."""

_READ, _PIECE = 1 << 16, 1 << 22
"""Bytes read at once, and the most that they are inflated to at once: 64 kB can hold 64 MB."""


class DamagedStream(Exception):
    """The bytes are no gzip or zlib stream, end early, fail their checksum, or hold another number than they should."""


def inflated(file: BinaryIO, expected: int | None = None) -> Iterator[bytes]:
    """Yield the content of the gzip or zlib stream at the file's position in pieces of 4 MB at most.

    `expected`: how many bytes the stream must hold; one that holds more is not followed further. Parts of gzip that
    follow each other are one stream. When all is read, the file is at the first byte after the stream. `file` must be
    seekable. Raises DamagedStream, OSError.
    """
    gzip, count = at_gzip(file), 0
    more = True
    while more:
        for piece in _part(file):
            count += len(piece)
            if expected is not None and count > expected:
                raise DamagedStream
            yield piece
        more = gzip and at_gzip(file)
    if expected is not None and count < expected:
        raise DamagedStream


def check_stream(file: BinaryIO, expected: int | None = None) -> int:
    """Read a stream as `inflated` does, keeping nothing; return the number of bytes in it. Raises as that."""
    return sum(len(piece) for piece in inflated(file, expected))


def at_gzip(file: BinaryIO) -> bool:
    """Whether a gzip stream begins at the file's position, which stays."""
    start = file.read(len(GZIP_START))
    file.seek(-len(start), os.SEEK_CUR)
    return start == GZIP_START


def _part(file: BinaryIO) -> Iterator[bytes]:
    stream, rest = zlib.decompressobj(_EITHER), b""
    while not stream.eof:
        rest = rest or file.read(_READ)
        if not rest:
            raise DamagedStream
        try:
            piece = stream.decompress(rest, _PIECE)
        except zlib.error:
            raise DamagedStream from None
        rest = stream.unconsumed_tail
        yield piece
    file.seek(-len(stream.unused_data), os.SEEK_CUR)
