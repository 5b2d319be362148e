"""A compressed stream is read to its end, in little memory, and anything wrong in it is noticed."""

import gzip
import io
import tracemalloc
import zlib

import numpy as np
import pytest

from afnet.images.compressed_stream import DamagedStream, at_gzip, check_stream, inflated

CONTENT = np.random.default_rng(0).integers(-1000, 1500, 300_000).astype(np.int16).tobytes()
GZIP, ZLIB = gzip.compress(CONTENT), zlib.compress(CONTENT)


def read(content: bytes, expected: int | None = None) -> bytes:
    return b"".join(inflated(io.BytesIO(content), expected))


@pytest.mark.parametrize("packed", [GZIP, ZLIB], ids=["gzip", "zlib"])
def test_whole_streams(packed):
    assert read(packed) == CONTENT == read(packed, len(CONTENT))
    file = io.BytesIO(b"before" + packed + b"after")
    file.seek(6)
    assert check_stream(file, len(CONTENT)) == len(CONTENT)
    assert file.read() == b"after"
    assert at_gzip(io.BytesIO(packed)) is (packed is GZIP) and not at_gzip(io.BytesIO(b"\x1f"))


def test_parts_of_gzip_are_one_stream_and_padding_is_none_of_it():
    parts = [gzip.compress(CONTENT[place : place + 5000]) for place in range(0, len(CONTENT), 5000)]
    file = io.BytesIO(b"".join(parts) + bytes(512))
    assert b"".join(inflated(file, len(CONTENT))) == CONTENT and file.read() == bytes(512)
    file = io.BytesIO(ZLIB + GZIP)
    assert b"".join(inflated(file)) == CONTENT and file.read() == GZIP, "what follows zlib is something else"


@pytest.mark.parametrize("packed", [GZIP, ZLIB], ids=["gzip", "zlib"])
@pytest.mark.parametrize("damage", [
    lambda s: s[: len(s) // 2], lambda s: s[:-1], lambda s: b"", lambda s: s[:1], lambda s: CONTENT,
    lambda s: s[:-6] + bytes([s[-6] ^ 1]) + s[-5:], lambda s: s[:-2] + bytes([s[-2] ^ 1]) + s[-1:],
    lambda s: s[:9000] + bytes(512) + s[9512:], lambda s: s[:9000] + bytes([s[9000] ^ 16]) + s[9001:],
], ids=["half", "last byte", "nothing", "first byte", "not compressed", "checksum", "end", "zeroed block", "one bit"])
def test_damaged_streams(packed, damage):
    with pytest.raises(DamagedStream):
        read(damage(packed))


@pytest.mark.parametrize("expected", [0, len(CONTENT) - 1, len(CONTENT) + 1])
def test_another_length_than_expected(expected):
    with pytest.raises(DamagedStream):
        read(GZIP, expected)


def test_little_memory_for_much_content():
    """64 kB can hold 64 MB; what is more than expected is not followed."""
    packed = gzip.compress(bytes(1 << 28))
    tracemalloc.start()
    try:
        assert check_stream(io.BytesIO(packed)) == 1 << 28
        with pytest.raises(DamagedStream):
            check_stream(io.BytesIO(packed), 1000)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
