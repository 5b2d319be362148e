"""MetaImage files that ITK would read as they are: damaged streams, wrong sizes, several files, no geometry."""

import os
import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from image_files import NO_FILES, refused, saved, scan

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


@pytest.mark.parametrize("yes", [b"True", b"TRUE", b"T", b"t", b"1", b"tes"])
def test_every_way_to_say_that_the_data_are_compressed(compressed, yes, capfd):
    """MetaIO looks at the first letter."""
    header, data = parts(compressed)
    header = header.replace(b"CompressedData = True", b"CompressedData = " + yes)
    compressed.write_bytes(header + data)
    assert np.array_equal(sitk.GetArrayFromImage(read_image(compressed)), sitk.GetArrayFromImage(scan()))
    middle = len(data) // 2
    compressed.write_bytes(header + data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :])
    refused(compressed, InputError, "damaged or incomplete", capfd)


@pytest.mark.skipif(os.name == "nt", reason="no pipes and devices in folders there")
@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
@pytest.mark.parametrize("compress", [False, True])
def test_data_in_what_is_no_file(tmp_path, make, compress, capfd):
    path = saved(tmp_path, scan(), "mhd", compress)
    data = path.with_suffix(".zraw" if compress else ".raw")
    data.unlink()
    refused(path, InputError, "damaged or incomplete", capfd)
    make(data)
    refused(path, InputError, "a pipe, a device or a folder", capfd)


def test_more_data_than_the_header_says(tmp_path, capfd):
    """A header before the voxels that it does not mention, or voxels of another size."""
    path = saved(tmp_path, scan(), "mhd")
    raw, voxels = path.with_suffix(".raw"), scan()
    raw.write_bytes(bytes(36) + raw.read_bytes())
    refused(path, InputError, "has 36 bytes of data more than its header says", capfd)
    for size in (36, -1):
        path.write_text(path.read_text().replace("ElementType", f"HeaderSize = {size}\nElementType"))
        assert np.array_equal(sitk.GetArrayFromImage(read_image(path)), sitk.GetArrayFromImage(voxels))
        path.write_text(path.read_text().replace(f"HeaderSize = {size}\n", ""))
    one = saved(tmp_path, scan(dtype=np.int64), "mha")
    one.write_bytes(one.read_bytes().replace(b"MET_LONG_LONG", b"MET_LONG"))
    refused(one, InputError, "has 3960 bytes of data more than its header says", capfd)


@pytest.mark.parametrize("form", ["mhd", "mha"])
@pytest.mark.parametrize("surplus", [b"\n", b"\r\n", bytes(3), bytes(4), bytes(8)])
def test_an_end_of_line_after_the_voxels(tmp_path, form, surplus, capfd):
    path = saved(tmp_path, scan(), form)
    data = path.with_suffix(".raw") if form == "mhd" else path
    data.write_bytes(data.read_bytes() + surplus)
    if len(surplus) < 4:
        assert np.array_equal(sitk.GetArrayFromImage(read_image(path)), sitk.GetArrayFromImage(scan()))
    else:
        refused(path, InputError, f"has {len(surplus)} bytes of data more than its header says", capfd)


def plain(tmp_path, *changes):
    path = saved(tmp_path, scan(spacing=(1.0, 1.5, 2.0)), "mha")
    content = path.read_bytes()
    for old, new in changes:
        assert old in content
        content = content.replace(old, new)
    path.write_bytes(content)
    return path


MATRIX, SPACING = b"TransformMatrix = 1 0 0 0 1 0 0 0 1\n", b"ElementSpacing = 1 1.5 2\n"


@pytest.mark.parametrize("line,words", [(MATRIX, "does not state the patient orientation"), (SPACING, "voxel size")])
def test_without_geometry(tmp_path, line, words, capfd):
    refused(plain(tmp_path, (line, b"")), InputError, words, capfd)


def test_older_names_of_the_geometry(tmp_path):
    path = plain(tmp_path, (MATRIX, MATRIX.replace(b"TransformMatrix", b"Rotation")),
                 (SPACING, SPACING.replace(b"Spacing", b"Size")))
    assert read_image(path).GetSpacing() == (1.0, 1.5, 2.0)
    path = plain(tmp_path, (b"Offset = ", b"Position = "), (SPACING, SPACING + b"ElementSize = 1 1.5 5\n"))
    found = read_image(path)  # thick slices that overlap
    assert found.GetOrigin() == (-30.0, 12.5, 7.25) and found.GetSpacing() == (1.0, 1.5, 2.0)


def test_a_name_that_is_not_ascii(tmp_path):
    sitk.WriteImage(scan(), str(tmp_path / "ü.mhd"), True)
    assert np.array_equal(sitk.GetArrayFromImage(read_image(tmp_path / "ü.mhd")), sitk.GetArrayFromImage(scan()))


OFFSET = b"Offset = -30 12.5 7.25\n"


@pytest.mark.parametrize("field", [
    b"Offset = -30,12.5,7.25", b"Offset = nan 0 0", b"Offset = inf 0 0", b"Offset = 0 0", b"Offset = 0 0 0 0",
    b"Offset =", b"Offset = 1_0 0 0", b"Offset = 0x10 0 0", b"Offset: 1;2;3", b"Position = 1,2,3", b"Origin = 1,2,3",
])
def test_a_position_that_cannot_be_read(tmp_path, field, capfd):
    """ITK takes 0 for what it cannot read."""
    refused(plain(tmp_path, (OFFSET, field + b"\n")), InputError, "is not 3 numbers", capfd)


def test_two_positions(tmp_path, capfd):
    assert read_image(plain(tmp_path, (OFFSET, OFFSET + OFFSET.replace(b"Offset", b"Origin")))).GetOrigin()[0] == -30
    refused(plain(tmp_path, (OFFSET, OFFSET + b"Position = 1 2 3\n")), InputError, "damaged", capfd)


def test_without_a_position_it_is_0_as_in_nrrd(tmp_path):
    assert read_image(plain(tmp_path, (OFFSET, b""))).GetOrigin() == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("line,words", [
    (b"DistanceUnits = cm", "another unit than mm"), (b"DistanceUnits = m", "another unit than mm"),
    (b"DistanceUnits: um", "another unit than mm"),
    (b"ElementToIntensityFunctionSlope = 2", "rescaling of its values"),
    (b"ElementToIntensityFunctionSlope = ?", "rescaling of its values"),
    (b"ElementToIntensityFunctionOffset = -1024", "rescaling of its values"),
])
def test_units_and_rescaling_that_itk_ignores(tmp_path, line, words, capfd):
    refused(plain(tmp_path, (OFFSET, OFFSET + line + b"\n")), InputError, words, capfd)


def test_units_and_rescaling_that_change_nothing(tmp_path):
    lines = b"DistanceUnits = mm\nElementToIntensityFunctionSlope = 1\nElementToIntensityFunctionOffset = 0.0\n"
    for line in (lines, b"DistanceUnits = ?\n"):
        assert read_image(plain(tmp_path, (OFFSET, OFFSET + line))).GetOrigin() == (-30.0, 12.5, 7.25)


@pytest.mark.parametrize("line,words", [
    (b"ElementSpacing = 1 -1.5 2\n", "a voxel size of -1.5 mm"), (b"ElementSpacing = 1 0 2\n", "a voxel size of 0 mm"),
    (b"ElementSpacing = 1 1.5\n", "ElementSpacing is not 3 numbers"), (b"ElementSize = 1 1 -2\n", "a voxel size of -2"),
])
def test_a_spacing_that_cannot_be_right(tmp_path, line, words, capfd):
    """ITK turns an axis with a negative one."""
    refused(plain(tmp_path, (SPACING, line)), InputError, words, capfd)


@pytest.mark.parametrize("centre", [b"", b"0 0", b"1"])
def test_a_line_after_one_that_lacks_numbers(tmp_path, centre, capfd):
    """MetaIO takes its words for them: the voxels were of 1 mm."""
    path = plain(tmp_path, (b"CenterOfRotation = 0 0 0\n", b"CenterOfRotation = " + centre + b"\n"),
                 (b"AnatomicalOrientation = RAI\n", b""))
    refused(path, InputError, "damaged", capfd)


def test_a_header_that_is_said_to_end_within_itself(tmp_path, capfd):
    """MetaIO took the rest of it for voxels."""
    refused(plain(tmp_path, (OFFSET, OFFSET + b"HeaderSize = 5\n")), InputError, "damaged", capfd)


def test_axes_that_are_not_of_length_1(tmp_path, capfd):
    path = plain(tmp_path, (MATRIX, b"TransformMatrix = 2 0 0 0 2 0 0 0 2\n"))
    refused(path, InputError, "contradicts its orientation", capfd)
