"""NRRD that ITK would misread: axes without a direction, other units than mm, damaged voxels; one-component axes."""

import bz2
import gzip
import os

import numpy as np
import pytest
import SimpleITK as sitk
from image_files import NO_FILES, SECRET, refused, scan

from afnet.errors import InputError
from afnet.images.reading import read_image, read_labelmap
from afnet.models.manifest import find_model
from afnet.output.segmentation_file import read_segmentation
from afnet.output.writing import write_segmentation

AXES = "(1,0,0) (0,1.5,0) (0,0,2)"
VOXELS = sitk.GetArrayFromImage(scan())


def nrrd(folder, *lines, directions=AXES, sizes="11 10 9", kinds="domain domain domain", data=None,
         encoding="raw", kind="short"):
    path = folder / f"{SECRET}.nrrd"
    header = ["NRRD0004", "# made by a test", f"type: {kind}", f"dimension: {len(sizes.split())}",
              "space: left-posterior-superior", f"sizes: {sizes}", f"space directions: {directions}", f"kinds: {kinds}",
              "endian: little", f"encoding: {encoding}", "space origin: (0,0,0)", *lines]
    path.write_bytes("\n".join(header).encode() + b"\n\n" + (VOXELS.tobytes() if data is None else data))
    return path


@pytest.mark.parametrize("directions", ["none (0,1.5,0) (0,0,2)", "none none none"])
def test_axes_without_a_direction(tmp_path, directions, capfd):
    refused(nrrd(tmp_path, directions=directions), InputError, "does not state the patient orientation", capfd)


@pytest.mark.parametrize("unit", ["um", "cm", "m"])
def test_lengths_that_are_not_in_mm(tmp_path, unit, capfd):
    refused(nrrd(tmp_path, f'space units: "{unit}" "{unit}" "{unit}"'), InputError, "another unit than mm", capfd)


@pytest.mark.parametrize("units", ['"mm" "mm" "mm"', '"" "" ""', '"millimeter" "mm" "mm"'])
def test_lengths_in_mm(tmp_path, units):
    assert read_image(nrrd(tmp_path, f"space units: {units}")).GetSpacing() == (1.0, 1.5, 2.0)


@pytest.mark.parametrize("layout", [
    {"sizes": "1 11 10 9", "kinds": "list domain domain domain", "directions": f"none {AXES}"},
    {"sizes": "11 10 9 1", "kinds": "domain domain domain list", "directions": f"{AXES} none"},
])
@pytest.mark.parametrize("read", [read_image, read_labelmap])
def test_an_axis_of_one_component(tmp_path, layout, read):
    image = read(nrrd(tmp_path, **layout))
    assert image.GetPixelID() == sitk.sitkInt16 and image.GetSpacing() == (1.0, 1.5, 2.0)
    assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(scan()))


def whole(path) -> bool:
    return np.array_equal(sitk.GetArrayFromImage(read_image(path)), VOXELS)


@pytest.mark.parametrize("encoding", ["bzip2", "bz2", "BZ2"])
def test_bzip2_is_told_by_its_name(tmp_path, encoding, capfd):
    path = nrrd(tmp_path, data=bz2.compress(VOXELS.tobytes()), encoding=encoding)
    refused(path, InputError, "compressed with bzip2, which is not supported; save it with gzip", capfd)


def zeroed(stream: bytes) -> bytes:
    middle = len(stream) // 2
    return stream[:middle] + bytes(64) + stream[middle + 64 :]


def one_bit(stream: bytes) -> bytes:
    middle = len(stream) // 2
    return stream[:middle] + bytes([stream[middle] ^ 16]) + stream[middle + 1 :]


DAMAGE = {
    "zeroed block": zeroed, "one bit": one_bit, "truncated": lambda stream: stream[:-30],
    "checksum": lambda stream: stream[:-5] + bytes([stream[-5] ^ 1]) + stream[-4:],
    "fewer voxels": lambda stream: gzip.compress(gzip.decompress(stream)[:-2]),
    "more voxels": lambda stream: gzip.compress(gzip.decompress(stream) + b"ab"),
    "not compressed": gzip.decompress, "nothing": lambda stream: b"",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_voxels_of_a_scan(tmp_path, damage, capfd):
    """ITK took what was there for the scan, wrong from the damage on."""
    stream = gzip.compress(VOXELS.tobytes())
    assert whole(nrrd(tmp_path, data=stream, encoding="gzip"))
    refused(nrrd(tmp_path, data=damage(stream), encoding="gzip"), InputError, "damaged or incomplete", capfd)


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("model", ["pelvis-ct", "brain-tumour-mri"])
def test_damaged_voxels_of_a_segmentation(tmp_path, model, damage, capfd):
    """One layer, and several."""
    path = tmp_path / f"{SECRET}.seg.nrrd"
    codes = np.random.default_rng(0).choice([0, 1, 2, 4], (9, 10, 11)).astype(np.uint8)
    write_segmentation(path, sitk.GetImageFromArray(codes), find_model(model))
    read_segmentation(path)
    header, mark, stream = path.read_bytes().partition(b"\n\n")
    path.write_bytes(header + mark + damage(stream))
    refused(path, InputError, "damaged or incomplete", capfd, read_segmentation)


def test_bytes_after_the_voxels_are_no_damage(tmp_path):
    assert whole(nrrd(tmp_path, data=VOXELS.tobytes() + b"end"))
    stream = gzip.compress(VOXELS.tobytes())
    for more in (bytes(512), b"more"):
        assert whole(nrrd(tmp_path, data=stream + more, encoding="gzip"))
    parts = gzip.compress(VOXELS.tobytes()[:500]) + gzip.compress(VOXELS.tobytes()[500:])
    assert whole(nrrd(tmp_path, data=parts, encoding="gzip"))


@pytest.mark.parametrize("lines,data", [
    (["line skip: 2"], lambda voxels: b"two\nlines\n" + gzip.compress(voxels)),
    (["byte skip: 5"], lambda voxels: gzip.compress(b"bytes" + voxels)),
    (["byteskip: -1"], lambda voxels: gzip.compress(b"any number of them" + voxels)),
    (["lineskip: 1", "byte skip: 3"], lambda voxels: b"line\n" + gzip.compress(b"two" + voxels)),
])
def test_what_stands_before_the_voxels(tmp_path, lines, data, capfd):
    assert whole(nrrd(tmp_path, *lines, data=data(VOXELS.tobytes()), encoding="gz"))
    cut = data(VOXELS.tobytes()[100:])
    refused(nrrd(tmp_path, *lines, data=cut, encoding="gz"), InputError, "damaged or incomplete", capfd)
    refused(nrrd(tmp_path, *lines, data=b"line", encoding="gz"), InputError, "damaged or incomplete", capfd)


@pytest.mark.parametrize("field,name", [
    ("data file", "voxels.gz"), ("datafile", "./voxels and more.gz"), ("data file", "50% voxels.gz"),
])
def test_voxels_in_a_file_of_their_own(tmp_path, field, name, capfd):
    path = nrrd(tmp_path, f"{field}: {name}", data=b"", encoding="gzip")
    data = tmp_path / name
    data.write_bytes(gzip.compress(VOXELS.tobytes()))
    header = path.with_suffix(".nhdr")
    header.write_bytes(path.read_bytes().rstrip() + b"\n")
    assert whole(header)
    data.write_bytes(one_bit(data.read_bytes()))
    refused(header, InputError, "damaged or incomplete", capfd)
    data.unlink()
    refused(header, InputError, "damaged or incomplete", capfd)


def test_more_data_than_the_header_says(tmp_path, capfd):
    """A header before the voxels that it does not mention: ITK took that for voxels."""
    (tmp_path / "voxels.raw").write_bytes(bytes(36) + VOXELS.tobytes())
    for lines in (["byte skip: 36"], ["byte skip: -1"], []):
        path = nrrd(tmp_path, *lines, "data file: voxels.raw", data=b"")
        assert not lines or whole(path)
    refused(path, InputError, "has 36 bytes of data more than its header says", capfd)


def test_a_last_line_without_an_end(tmp_path, capfd):
    """ITK does not see it: the scan lay at 0."""
    (tmp_path / "voxels.raw").write_bytes(VOXELS.tobytes())
    path = nrrd(tmp_path, "data file: voxels.raw", data=b"").with_suffix(".nhdr")
    for end in (b"", b"\n"):
        lines = nrrd(tmp_path, "data file: voxels.raw", data=b"").read_bytes().rstrip().split(b"\n")
        lines = [line for line in lines if b"origin" not in line] + [b"space origin: (10,20,30)"]
        path.write_bytes(b"\n".join(lines) + end)
        if end:
            assert read_image(path).GetOrigin() == (10.0, 20.0, 30.0)
        else:
            refused(path, InputError, "damaged or incomplete", capfd)


@pytest.mark.parametrize("old,new", [
    ("space origin: (0,0,0)", "space origin: (1_0,0,0)"), ("space origin: (0,0,0)", "space origin: (-4..5,0,0)"),
    ("space origin: (0,0,0)", "space origin: (nan,0,0) (0,1,0)"), ("(0,1.5,0)", "(0,1x.5,0)"),
])
def test_a_position_that_is_no_number(tmp_path, old, new, capfd):
    """ITK took what stood before the first letter that it cannot read."""
    path = nrrd(tmp_path)
    assert whole(path)
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))
    refused(path, InputError, "damaged or incomplete", capfd)


@pytest.mark.parametrize("space,place", [
    *((name, (10, 20, 30)) for name in ("left-posterior-superior", "LPS", "lps", "left posterior superior")),
    *((name, (-10, -20, 30)) for name in ("right-anterior-superior", "Right-Anterior-Superior", "RAS")),
    *((name, (10, -20, 30)) for name in ("left-anterior-superior", "LAS")),
])
def test_every_way_to_write_a_space(tmp_path, space, place):
    path = nrrd(tmp_path)
    content = path.read_bytes().replace(b"left-posterior-superior", space.encode())
    path.write_bytes(content.replace(b"(0,0,0)", b"( 10 , 20, 30)"))
    assert read_image(path).GetOrigin() == place


@pytest.mark.parametrize("line", [
    "x" * 3000, "unknown: " + "x" * 3000, "data file: " + "x" * 3000, "units: " + "1 " * 500, "sizes: " + "(" * 900,
])
def test_a_line_longer_than_a_field(tmp_path, line, capfd):
    """The process ended."""
    refused(nrrd(tmp_path, line), InputError, "damaged or incomplete", capfd)


@pytest.mark.parametrize("line", ["content: ", "key:=", "# "])
def test_a_long_note(tmp_path, line):
    assert whole(nrrd(tmp_path, line + "x" * 3000))


def test_a_name_of_data_that_no_file_can_have(tmp_path, capfd):
    refused(nrrd(tmp_path, "data file: a\0b", data=b""), InputError, "damaged or incomplete", capfd)


@pytest.mark.parametrize("lines", [
    ["data file: LIST", "a.raw", "b.raw"], ["datafile: LIST 3", "a.raw"], ["data file: a%d.raw 0 8 1"],
    ["data file: a%03d.raw 9 1 -1 2"],
])
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_voxels_in_several_files(tmp_path, lines, encoding, capfd):
    path = nrrd(tmp_path, *lines, data=b"", encoding=encoding)
    path.write_bytes(path.read_bytes().rstrip() + b"\n")
    refused(path.rename(path.with_suffix(".nhdr")), InputError, "spread over several files", capfd)


@pytest.mark.skipif(os.name == "nt", reason="no pipes and devices in folders there")
@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_voxels_in_what_is_no_file(tmp_path, make, encoding, capfd):
    path = nrrd(tmp_path, "data file: a", data=b"", encoding=encoding)
    path.write_bytes(path.read_bytes().rstrip() + b"\n")
    path = path.rename(path.with_suffix(".nhdr"))
    refused(path, InputError, "damaged or incomplete", capfd)
    make(tmp_path / "a")
    refused(path, InputError, "a pipe, a device or a folder", capfd)


def test_voxels_on_standard_input(tmp_path, capfd):
    path = nrrd(tmp_path, "data file: -", data=b"")
    refused(path, InputError, "a pipe, a device or a folder", capfd)


def test_a_header_that_itk_does_not_know(tmp_path, capfd):
    layout = {"sizes": "11 10 9 1", "kinds": "domain domain domain domain", "directions": f"{AXES} none"}
    refused(nrrd(tmp_path, **layout), InputError, "4 axes, of which only three are directions in space", capfd)
    path = nrrd(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"NRRD0004", b"NRRD0006"))
    refused(path, InputError, "damaged or incomplete", capfd)


@pytest.mark.parametrize("name,dtype", [
    *((name, np.int8) for name in ("signed char", "int8", "int8_t")),
    *((name, np.uint8) for name in ("uchar", "unsigned char", "uint8", "uint8_t")),
    *((name, np.int16) for name in ("short", "short int", "signed short", "signed short int", "int16", "int16_t")),
    *((name, np.uint16) for name in ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t")),
    *((name, np.int32) for name in ("int", "signed int", "int32", "int32_t")),
    *((name, np.uint32) for name in ("uint", "unsigned int", "uint32", "uint32_t")),
    *((name, np.int64) for name in ("longlong", "long long", "long long int", "signed long long",
                                    "signed long long int", "int64", "int64_t")),
    *((name, np.uint64) for name in ("ulonglong", "unsigned long long", "unsigned long long int", "uint64",
                                     "uint64_t")),
    ("float", np.float32), ("double", np.float64), ("Unsigned Short", np.uint16),
])
def test_every_name_of_a_type(tmp_path, name, dtype):
    voxels = np.arange(990).reshape(9, 10, 11).astype(dtype)
    read = read_image(nrrd(tmp_path, kind=name, data=gzip.compress(voxels.tobytes()), encoding="gzip"))
    assert np.array_equal(sitk.GetArrayFromImage(read), voxels)


def test_a_header_without_an_end(tmp_path, capfd):
    path = nrrd(tmp_path, encoding="gzip")
    path.write_bytes(path.read_bytes()[:300].partition(b"\n\n")[0])
    refused(path, InputError, "damaged or incomplete", capfd)


@pytest.mark.parametrize("space", ["RPS", "right-posterior-superior"])
def test_a_space_that_the_format_does_not_have_is_no_damage(tmp_path, space, capfd):
    path = nrrd(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"left-posterior-superior", space.encode()))
    assert path.read_bytes() != content
    refused(path, InputError, "does not state the patient orientation", capfd)
