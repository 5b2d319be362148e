"""Files of every kind that is read, in any orientation, and every broken one with the sentence it earns."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from image_files import DIRECTIONS, SECRET, refused, saved, scan
from unprivileged import unprivileged

import afnet
from afnet.errors import AfnetError, InputError, RequestError
from afnet.images.geometry import index_to_lps
from afnet.images.names import IMAGE_SUFFIXES, image_stem
from afnet.images.reading import describe_grid, read_image, read_labelmap

KINDS = ["nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd"]


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_values_type_and_geometry_are_kept(tmp_path, kind, direction, capfd):
    image = scan(direction=direction)
    read = read_image(saved(tmp_path, image, kind))
    assert read.GetPixelID() == sitk.sitkInt16
    assert np.array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(image))
    corners = np.array([[0, 0, 0, 1], [11, 10, 9, 1]]).T
    assert index_to_lps(read) @ corners == pytest.approx(index_to_lps(image) @ corners, abs=1e-4)
    assert capfd.readouterr() == ("", "")


def test_double_becomes_float32_and_upper_case_endings_are_known(tmp_path):
    path = saved(tmp_path, scan(dtype=np.float64), "nrrd").rename(tmp_path / "SCAN.NRRD")
    read = read_image(str(path))
    assert read.GetPixelID() == sitk.sitkFloat32
    assert sitk.GetArrayFromImage(read)[3, 2, 1] == sitk.GetArrayFromImage(scan())[3, 2, 1]


def test_one_volume_in_four_dimensions_is_a_volume(tmp_path):
    image = sitk.JoinSeries([scan()])
    assert read_image(saved(tmp_path, image, "mha")).GetSize() == (11, 10, 9)


def test_label_map_may_be_empty_and_float(tmp_path):
    read = read_labelmap(saved(tmp_path, scan() * 0, "nii.gz"))
    assert read.GetPixelID() == sitk.sitkInt16
    read = read_labelmap(saved(tmp_path, sitk.Cast(scan() > 0, sitk.sitkFloat32) * 3.0, "nii.gz"))
    assert read.GetPixelID() == sitk.sitkInt32
    assert set(np.unique(sitk.GetArrayFromImage(read))) == {0, 3}


def test_label_map_of_fractions_is_refused(tmp_path, capfd):
    path = saved(tmp_path, sitk.Cast(scan(), sitk.sitkFloat32) * 0.5, "nrrd")
    refused(path, InputError, "not whole numbers", capfd, read_labelmap)


def test_describe_grid():
    assert describe_grid(scan()) == {
        "size": [11, 10, 9], "spacing_mm": [0.9, 1.1, 2.5], "origin_mm": [-30.0, 12.5, 7.25],
        "direction": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    }


def test_every_kind_is_known_by_its_name_in_any_case():
    assert {f".{kind}" for kind in KINDS} == set(IMAGE_SUFFIXES)
    for kind in KINDS:
        assert image_stem(Path(f"a.b.{kind.upper()}")) == "a.b"
    assert image_stem(Path("a.png")) == "a.png"


# What a user can get wrong about the path


def test_missing(tmp_path, capfd):
    refused(tmp_path / f"{SECRET}.nii", RequestError, "was not found", capfd)
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / SECRET, RequestError, "was not found", capfd)


def test_name_too_long(tmp_path, capfd):
    refused(tmp_path / (SECRET * 40 + ".nii"), RequestError, "cannot be opened", capfd)


@pytest.mark.parametrize(("name", "words"), [
    ("a.png", "unknown kind"), ("a", "unknown kind"), ("a.HDR", "one of a pair of files (.hdr and .img"),
    ("a.img.gz", "export the image as one file, .nii.gz or .nrrd"), ("a.zip", "is an archive; unpack it"),
    ("a.tar.gz", "is an archive; unpack it"), ("a.nii.bz2", "is an archive; unpack it"),
])
def test_a_kind_that_is_not_read(tmp_path, name, words, capfd):
    (tmp_path / name).write_bytes(b"something")
    refused(tmp_path / name, RequestError, words, capfd)


def test_a_pipe_is_not_waited_for(tmp_path, capfd):
    os.mkfifo(tmp_path / "scan.nii")
    refused(tmp_path / "scan.nii", RequestError, "neither a file nor a folder", capfd)


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_no_permission(tmp_path, capfd):
    path = saved(tmp_path, scan(), "nii")
    path.chmod(0)
    with unprivileged():
        refused(path, RequestError, "cannot be opened (no permission)", capfd)
    folder = tmp_path / "series"
    folder.mkdir(mode=0)
    with unprivileged():
        refused(folder, RequestError, "cannot be opened (no permission)", capfd)


# What can be wrong with the bytes


@pytest.mark.parametrize("kind", KINDS)
def test_empty_file(tmp_path, kind, capfd):
    path = tmp_path / f"{SECRET}.{kind}"
    path.touch()
    refused(path, InputError, "is an empty file", capfd)


@pytest.mark.parametrize("kind", KINDS)
def test_text_under_the_name_of_an_image(tmp_path, kind, capfd):
    path = tmp_path / f"{SECRET}.{kind}"
    path.write_bytes(b"this is no image " * 100)
    refused(path, InputError, "damaged", capfd)


@pytest.mark.parametrize(("old", "new"), [(b"NDims = 3", b"NDims =-3"), (b"NDims = 3\n", b""),
                                          (b"DimSize = 11 10 9", b"DimSize = 11 10"), (b"DimSize =", b"D Size =")])
def test_metaimage_that_would_crash_the_process(tmp_path, old, new, capfd):
    path = saved(tmp_path, scan(), "mha")
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    refused(path, InputError, "damaged or incomplete", capfd)


@pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
@pytest.mark.parametrize(("kind", "compress"), [("nii", False), ("nii.gz", True), ("nrrd", False), ("nrrd", True),
                                                ("mha", False), ("mha", True)])
def test_truncated(tmp_path, kind, compress, part, capfd):
    path = saved(tmp_path, scan((20, 30, 40)), kind, compress)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    refused(path, InputError, "damaged or incomplete", capfd)


@pytest.mark.parametrize(("kind", "data", "compress"), [("mhd", "raw", False), ("mhd", "zraw", True),
                                                        ("nhdr", "raw", False), ("nhdr", "raw.gz", True)])
def test_data_file_missing_or_cut(tmp_path, kind, data, compress, capfd):
    path = saved(tmp_path, scan((20, 30, 40)), kind, compress)
    data = tmp_path / f"{SECRET}.{data}"
    content = data.read_bytes()
    data.write_bytes(content[: len(content) // 2])
    refused(path, InputError, "damaged or incomplete", capfd)
    data.unlink()
    refused(path, InputError, "damaged or incomplete", capfd)


def test_one_damaged_byte_in_a_compressed_file(tmp_path, capfd):
    path = saved(tmp_path, scan((20, 30, 40)), "nii.gz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    refused(path, InputError, "damaged or incomplete", capfd)


def test_header_that_promises_more_than_any_memory(tmp_path, capfd):
    path = tmp_path / f"{SECRET}.nrrd"
    nrrd(path, "(1,0,0) (0,1,0) (0,0,2.5)")
    path.write_bytes(path.read_bytes().replace(b"sizes: 11 10 9", b"sizes: 90000 90000 90000"))
    with pytest.raises(AfnetError, match="damaged or incomplete|memory"):
        read_image(path)
    assert capfd.readouterr() == ("", "")


# What can be wrong with the values


@pytest.mark.parametrize("kind", ["nii", "nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_a_number(tmp_path, kind, value, capfd):
    values = sitk.GetArrayFromImage(scan(dtype=np.float32))
    values[3, 4, 5] = values[0, 0, 0] = value
    refused(saved(tmp_path, sitk.GetImageFromArray(values), kind), InputError, "has 2 voxels without a valid", capfd)


def test_value_beyond_float32(tmp_path, capfd):
    values = sitk.GetArrayFromImage(scan(dtype=np.float64))
    values[3, 4, 5] = 1e300
    refused(saved(tmp_path, sitk.GetImageFromArray(values), "nrrd"), InputError, "has 1 voxels without", capfd)


@pytest.mark.parametrize("value", [0, -1024])
def test_constant(tmp_path, value, capfd):
    path = saved(tmp_path, scan() * 0 + value, "nii.gz")
    refused(path, InputError, f"same value ({value}) everywhere", capfd)


# What can be wrong with the kind of image


@pytest.mark.parametrize("kind", ["nrrd", "mha", "nii"])
def test_colour_and_vectors(tmp_path, kind, capfd):
    image = sitk.Compose(*[sitk.Cast(scan(seed=seed) > 0, sitk.sitkUInt8) for seed in range(3)])
    refused(saved(tmp_path, image, kind), InputError, "3 values per voxel", capfd)


@pytest.mark.parametrize("kind", ["nrrd", "mha", "nii.gz"])
def test_four_dimensions(tmp_path, kind, capfd):
    path = saved(tmp_path, sitk.JoinSeries([scan(), scan(seed=1)]), kind)
    refused(path, InputError, "has 4 dimensions", capfd)


def test_complex(tmp_path, capfd):
    values = sitk.Cast(scan(), sitk.sitkFloat32)
    refused(saved(tmp_path, sitk.RealAndImaginaryToComplex(values, values), "nii"), InputError, "complex", capfd)


@pytest.mark.parametrize("kind", ["nrrd", "mha", "nii"])
def test_one_slice(tmp_path, kind, capfd):
    path = saved(tmp_path, scan((1, 10, 11)), kind)
    refused(path, InputError, "only one slice", capfd)


@pytest.mark.parametrize("kind", ["nrrd", "mha"])
def test_two_dimensions(tmp_path, kind, capfd):
    refused(saved(tmp_path, scan()[:, :, 3], kind), InputError, "2-D image", capfd)


def test_a_segmentation_is_no_scan(tmp_path, capfd):
    image = sitk.Cast(scan() > 0, sitk.sitkUInt8)
    image.SetMetaData("Segment0_ID", "bladder")
    refused(saved(tmp_path, image, "nrrd"), RequestError, "is a segmentation", capfd)


# What can be wrong with the geometry


def nrrd(path: Path, directions: str, shape=(9, 10, 11)) -> Path:
    header = ("NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\n"
              f"sizes: {shape[2]} {shape[1]} {shape[0]}\nspace directions: {directions}\nkinds: domain domain domain\n"
              "endian: little\nencoding: raw\nspace origin: (0,0,0)\n\n")
    path.write_bytes(header.encode() + sitk.GetArrayFromImage(scan(shape)).tobytes())
    return path


def test_sheared_nrrd(tmp_path, capfd):
    path = nrrd(tmp_path / f"{SECRET}.nrrd", "(1,0,0) (0,1,0) (0,0.3,2.5)")
    refused(path, InputError, "not perpendicular", capfd)
    assert read_image(nrrd(path, "(1,0,0) (0,1,0) (0,0.001,2.5)")).GetSize() == (11, 10, 9)


def test_sheared_metaimage(tmp_path, capfd):
    path = saved(tmp_path, scan(), "mha")
    data = path.read_bytes().replace(b"TransformMatrix = 1 0 0 0 1 0 0 0 1", b"TransformMatrix = 1 0 0 0 1 0 0 .3 1")
    path.write_bytes(data)
    refused(path, InputError, "not perpendicular", capfd)


@pytest.mark.parametrize("third", ["(0,0,0)", "(0,1,0)", "(0,0,nan)"])
def test_impossible_axes(tmp_path, third, capfd):
    path = nrrd(tmp_path / f"{SECRET}.nrrd", f"(1,0,0) (0,1,0) {third}")
    refused(path, InputError, "", capfd)


@pytest.mark.parametrize("spacing", [0.001, 2500.0])
def test_impossible_voxel_size(tmp_path, spacing, capfd):
    path = saved(tmp_path, scan(spacing=(1.0, 1.0, spacing)), "nrrd")
    refused(path, InputError, f"voxel size of {spacing:g} mm", capfd)


@pytest.mark.parametrize(("shape", "spacing", "words"), [
    ((40, 101, 122), (20, 20, 20), "is 2.4 m long and 2.0 m wide"), ((9, 10, 60), (50, 50, 50), "is 3.0 m long"),
    ((3, 27, 27), (49, 49, 5), "is 1.3 m long and 1.3 m wide"),
])
def test_sides_that_no_scan_has(tmp_path, shape, spacing, words, capfd):
    path = saved(tmp_path, scan(shape, spacing=spacing), "nrrd")
    refused(path, InputError, words, capfd)


@pytest.mark.parametrize(("shape", "spacing"), [
    ((220, 50, 50), (18, 18, 10)), ((120, 45, 200), (10, 10, 10)), ((9, 90, 90), (14, 14, 5)),
], ids=["whole body, widest CT", "whole body, coronal MR", "turned by 45 degrees"])
def test_sides_that_a_scan_may_have(tmp_path, shape, spacing):
    assert read_image(saved(tmp_path, scan(shape, spacing=spacing), "nrrd")).GetSize() == shape[::-1]


@pytest.mark.parametrize("space", [b"", b"space dimension: 3\n", b"space: scanner-xyz\n"])
def test_nrrd_without_the_patients_space(tmp_path, space, capfd):
    path = nrrd(tmp_path / f"{SECRET}.nrrd", "(1,0,0) (0,1,0) (0,0,2.5)")
    data = path.read_bytes().replace(b"space: left-posterior-superior\n", space)
    if not space:
        data = data.replace(b"space directions: (1,0,0) (0,1,0) (0,0,2.5)\n", b"")
        data = data.replace(b"space origin: (0,0,0)\n", b"")
    path.write_bytes(data)
    refused(path, InputError, "does not state the patient orientation", capfd)


def test_nrrd_in_slicers_axes(tmp_path):
    path = nrrd(tmp_path / f"{SECRET}.nrrd", "(0,1,0) (1,0,0) (0,0,2.5)")
    path.write_bytes(path.read_bytes().replace(b"left-posterior-superior", b"right-anterior-superior"))
    assert index_to_lps(read_image(path)) @ (1, 2, 3, 1) == pytest.approx([-2, -1, 7.5, 1])


def test_files_are_read_and_written_without_torch():
    """Reading, writing and scoring work in a Python that has none."""
    code = ("import sys; sys.modules['torch'] = None\n"
            "import afnet.images.reading, afnet.output.writing, afnet.evaluation")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(afnet.__file__).parents[1])
