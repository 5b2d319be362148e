"""Whether a NRRD file is whole. Slicer's own reader ends the whole program on some damaged files (seen with 5.12)."""

import zlib
from pathlib import Path

_LONGEST_HEADER = 2**20
_CHUNK = 2**20
_BYTES = {"unsigned char": 1, "uchar": 1, "uint8": 1, "uint8_t": 1}


def is_whole_labelmap(path: Path) -> bool:
    """Tell whether `path` is a NRRD file of bytes, gzip or raw, that holds exactly the voxels its header promises."""
    try:
        with path.open("rb") as file:
            fields = _read_header(file)
            promised = _BYTES[fields["type"]]
            for size in fields["sizes"].split():
                promised *= int(size)
            return promised > 0 and _stored(file, fields["encoding"], promised) == promised
    except (OSError, KeyError, ValueError, zlib.error):
        return False


def _read_header(file) -> dict[str, str]:
    """Return the header's fields (not its keys and values); raises ValueError if it has no end."""
    if not file.readline(16).startswith(b"NRRD000"):
        raise ValueError("no NRRD file")
    fields = {}
    while file.tell() < _LONGEST_HEADER:
        line = file.readline(_LONGEST_HEADER)
        if not line.endswith(b"\n"):
            break
        text = line.strip().decode("utf-8")
        if not text:
            return fields
        name, separator, value = text.partition(": ")
        if separator and ":=" not in name and not text.startswith("#"):
            fields[name] = value
    raise ValueError("the header has no end")


def _stored(file, encoding: str, promised: int) -> int:
    """Return how many bytes of voxels follow, unpacked; counting stops soon after `promised`."""
    if encoding == "raw":
        return len(file.read(promised + 1))
    if encoding not in ("gzip", "gz"):
        raise ValueError("unknown encoding")
    unpack, count = zlib.decompressobj(16 + zlib.MAX_WBITS), 0
    while count <= promised and not unpack.eof:
        chunk = unpack.unconsumed_tail or file.read(_CHUNK)
        if not chunk:
            raise ValueError("the data end early")
        count += len(unpack.decompress(chunk, 16 * _CHUNK))
    return count
