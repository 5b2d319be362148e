"""MetaImage files that ITK would read as they are: damaged streams, wrong sizes, several files, no geometry."""

import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from image_files import refused, saved, scan

from afnet.errors import InputError
from afnet.images.reading import read_image


def parts(path) -> tuple[bytes, bytes]:
    """Header and data of a .mha file."""
    content = path.read_bytes()
    place = content.index(b"ElementDataFile = LOCAL\n") + len(b"ElementDataFile = LOCAL\n")
    return content[:place], content[place:]


@pytest.fixture
def compressed(tmp_path):
    return saved(tmp_path, scan(), "mha", compress=True)


def test_a_sound_file_is_read(compressed, tmp_path):
    assert (sitk.GetArrayFromImage(read_image(compressed)) == sitk.GetArrayFromImage(scan())).all()


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_one_damaged_byte(compressed, place, capfd):
    header, data = parts(compressed)
    at = int(place * len(data))
    compressed.write_bytes(header + data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
    refused(compressed, InputError, "damaged or incomplete", capfd)


@pytest.mark.parametrize("change", [
    lambda header, data: header + data[:-3] + b"abc",  # the checksum
    lambda header, data: header + data[: len(data) // 2],
    lambda header, data: b"".join(line for line in header.splitlines(keepends=True) if b"DataSize" not in line)
    + data,  # ITK takes other bytes for the data then
    lambda header, data: header + zlib.compress(zlib.decompress(data)[:-2]),
    lambda header, data: header + zlib.decompress(data),  # called compressed, and is not
    lambda header, data: header.replace(b"MET_SHORT", b"MET_STRING") + data,
    lambda header, data: header[: len(header) // 2],
])
def test_data_that_is_not_what_the_header_promises(compressed, change, capfd):
    compressed.write_bytes(change(*parts(compressed)))
    refused(compressed, InputError, "damaged or incomplete", capfd)


@pytest.mark.parametrize("where", ["%s%n%s.raw 1 20 1", "slice%03d.raw 1 9 1", "LIST"])
def test_data_in_several_files(tmp_path, where, capfd):
    path = saved(tmp_path, scan(), "mhd")
    raw = path.with_suffix(".raw").name
    path.write_text(path.read_text().replace(f"ElementDataFile = {raw}", f"ElementDataFile = {where}"))
    refused(path, InputError, "spread over several files", capfd)


def test_compressed_data_in_a_file_of_its_own(tmp_path, capfd):
    path = saved(tmp_path, scan(), "mhd", compress=True)
    assert np.array_equal(sitk.GetArrayFromImage(read_image(path)), sitk.GetArrayFromImage(scan()))
    data = path.with_suffix(".zraw")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0x55
    data.write_bytes(content)
    refused(path, InputError, "damaged or incomplete", capfd)


def plain(tmp_path, *changes):
    path = saved(tmp_path, scan(spacing=(1.0, 1.5, 2.0)), "mha")
    content = path.read_bytes()
    for old, new in changes:
        assert old in content
        content = content.replace(old, new)
    path.write_bytes(content)
    return path


MATRIX, SPACING = b"TransformMatrix = 1 0 0 0 1 0 0 0 1\n", b"ElementSpacing = 1 1.5 2\n"


@pytest.mark.parametrize("line,words", [(MATRIX, "does not say how the patient lies"), (SPACING, "voxel size")])
def test_without_geometry(tmp_path, line, words, capfd):
    refused(plain(tmp_path, (line, b"")), InputError, words, capfd)


def test_older_names_of_the_geometry(tmp_path):
    path = plain(tmp_path, (MATRIX, MATRIX.replace(b"TransformMatrix", b"Rotation")),
                 (SPACING, SPACING.replace(b"Spacing", b"Size")))  # fmt: skip
    assert read_image(path).GetSpacing() == (1.0, 1.5, 2.0)


def test_axes_that_are_not_of_length_1(tmp_path, capfd):
    path = plain(tmp_path, (MATRIX, b"TransformMatrix = 2 0 0 0 2 0 0 0 2\n"))
    refused(path, InputError, "contradicts its orientation", capfd)
