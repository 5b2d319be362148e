"""NIfTI says where the patient lies in two ways, and ITK believes it blindly: both ways, alone and at odds.

And the other fields of the header that ITK believes, or does not look at.
"""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from image_files import SECRET, refused, saved, scan

from afnet.errors import InputError
from afnet.images import nifti_header
from afnet.images.geometry import index_to_lps
from afnet.images.reading import read_image, read_labelmap

CODES, PIXDIM, ROWS = (252, "<2h"), (80, "<3f"), (280, "<12f")
"""Offset and format of qform and sform code, voxel size, and sform rows in a NIfTI-1 header."""

BITPIX, VOX_OFFSET, SCALING, QUATERNION, QOFFSET = (72, "<h"), (108, "<f"), (112, "<2f"), (256, "<3f"), (268, "<3f")


def nifti(folder: Path, *fields) -> Path:
    """A sound NIfTI file (1 × 1.5 × 2 mm, qform and sform alike) with fields of its header replaced."""
    path = saved(folder, scan(spacing=(1.0, 1.5, 2.0)), "nii")
    data = bytearray(path.read_bytes())
    for (offset, form), values in fields:
        struct.pack_into(form, data, offset, *values)
    path.write_bytes(data)
    return path


def test_nifti_with_either_form_alone(tmp_path):
    both = read_image(nifti(tmp_path))
    for codes in [(1, 0), (0, 1), (0, 2)]:
        assert index_to_lps(read_image(nifti(tmp_path, (CODES, codes)))) == pytest.approx(index_to_lps(both), abs=1e-5)


def test_nifti_without_orientation(tmp_path, capfd):
    refused(nifti(tmp_path, (CODES, (0, 0))), InputError, "does not state the patient orientation", capfd)


SHEARED = (1, 0.3, 0, 0, 0, 1.5, 0, 0, 0, 0, 2, 0)


@pytest.mark.parametrize("codes", [(0, 1), (1, 1), (1, 2)])
def test_sheared_nifti(tmp_path, codes, capfd):
    refused(nifti(tmp_path, (CODES, codes), (ROWS, SHEARED)), InputError, "not perpendicular", capfd)


def test_affine_to_a_template_beside_the_scanners_form_is_no_shear(tmp_path):
    warped = (-1.2, -0.3, 0.2, 9, 0, -1.9, 0.3, 0, 0, -0.4, 2.2, 0)
    read = read_image(nifti(tmp_path, (CODES, (1, 4)), (ROWS, warped)))
    assert index_to_lps(read) == pytest.approx(index_to_lps(scan(spacing=(1.0, 1.5, 2.0))), abs=1e-5)


@pytest.mark.parametrize("rows", [
    (1, 0, 0, 0, 0, -1.5, 0, 0, 0, 0, 2, 0), (1, 0, 0, 0, 0, 1.5, 0, 0, 0, 0, 2, 0),
    (-1, 0, 0, 0, 0, 0, 2, 0, 0, 1.5, 0, 0), (0, -1.5, 0, 0, -1, 0, 0, 0, 0, 0, 2, 0),
    (-1, -1.6, 0, 0, -1.2, -1.5, 0, 0, 0, 0, 2, 0),
], ids=["mirrored", "half a turn", "axes exchanged", "left is behind", "mirrored by a warp"])
@pytest.mark.parametrize("code", [3, 4, 5])
def test_a_template_that_lies_elsewhere_than_the_scanner(tmp_path, rows, code, capfd):
    """Which of the two is believed differs between programs, and with it where left is."""
    refused(nifti(tmp_path, (CODES, (1, code)), (ROWS, rows)), InputError, "contradictory positions or "
                                                                           "orientations", capfd)


def test_nifti_with_contradictory_forms(tmp_path, capfd):
    mirrored = (1, 0, 0, 0, 0, -1.5, 0, 0, 0, 0, 2, 0)
    refused(nifti(tmp_path, (ROWS, mirrored)), InputError, "contradictory positions or orientations", capfd)


@pytest.mark.parametrize("codes", [(0, 1), (1, 1)])
def test_nifti_voxel_size_against_matrix(tmp_path, codes, capfd):
    """ITK would take the voxel size, and other programs the matrix: the scan would be stretched by two."""
    rows = (-2, 0, 0, -30, 0, -3, 0, -12.5, 0, 0, 4, 7.25)
    refused(nifti(tmp_path, (CODES, codes), (ROWS, rows)), InputError, "contradicts its orientation", capfd)


@pytest.mark.parametrize("rows", [(float("nan"), *SHEARED[1:]), (0,) * 12])
def test_nifti_without_numbers_for_axes(tmp_path, rows, capfd):
    refused(nifti(tmp_path, (CODES, (0, 1)), (ROWS, rows)), InputError, "damaged", capfd)


@pytest.mark.parametrize("field", [
    (QUATERNION, (0.0, 0.0, float(np.cos(np.radians(20))))),  # 40 degrees: each axis is still nearest to the same
    (QOFFSET, (80.0, -12.5, 7.25)),
])
def test_nifti_with_forms_that_lie_apart(tmp_path, field, capfd):
    refused(nifti(tmp_path, field), InputError, "contradictory positions or orientations", capfd)
    assert read_image(nifti(tmp_path, field, (CODES, (1, 4)))).GetSize() == (11, 10, 9), "the sform is a template's"


def test_nifti_with_forms_that_rounding_parted(tmp_path):
    read_image(nifti(tmp_path, (QOFFSET, (30.02, -12.48, 7.26))))


@pytest.mark.filterwarnings("error")
def test_a_voxel_size_that_is_no_number_is_said_in_one_sentence(tmp_path, capfd):
    for size in (float("inf"), float("nan")):
        refused(nifti(tmp_path, (PIXDIM, (size, 1.5, 2.0))), InputError, "damaged", capfd)


@pytest.mark.parametrize("sizes", [(-1.0, 1.5, 2.0), (1.0, 1.5, -2.0)])
def test_negative_voxel_size_in_a_qform(tmp_path, sizes, capfd):
    """ITK mirrored the anatomy."""
    refused(nifti(tmp_path, (PIXDIM, sizes), (CODES, (1, 0))), InputError, "damaged", capfd)


@pytest.mark.parametrize("offset", [0.0, 348.0, -100.0, float("nan"), float("inf")])
def test_voxels_from_inside_the_header(tmp_path, offset, capfd):
    refused(nifti(tmp_path, (VOX_OFFSET, (offset,))), InputError, "damaged", capfd)


@pytest.mark.parametrize("bits", [0, 8, -16, 32])
def test_voxels_of_another_size_than_their_type(tmp_path, bits, capfd):
    """Half of the voxels may be missing then: ITK fills them with zeros."""
    path = nifti(tmp_path, (BITPIX, (bits,)))
    path.write_bytes(path.read_bytes()[:-990])
    refused(path, InputError, "damaged", capfd)


@pytest.mark.parametrize("slope,intercept", [
    (0, -150), (float("nan"), -150), (1, float("nan")), (float("inf"), 0), (0, float("inf")), (2, float("inf")),
    (1e-30, 0),
])
def test_contradictory_scaling(tmp_path, slope, intercept, capfd):
    """ITK adds the intercept though a slope of 0 says that nothing is scaled, and leaves out one that is no number,
    or a slope that is next to 0."""
    refused(nifti(tmp_path, (SCALING, (slope, intercept))), InputError, "rescaling", capfd)


@pytest.mark.parametrize("slope,intercept", [(0, 0), (float("nan"), float("nan")), (2, -100)])
def test_sound_scaling(tmp_path, slope, intercept):
    values = sitk.GetArrayFromImage(read_image(nifti(tmp_path, (SCALING, (slope, intercept)))))
    stored = sitk.GetArrayFromImage(scan())
    assert np.array_equal(values, 2 * stored - 100 if slope == 2 else stored)


def test_nifti_without_voxel_size(tmp_path, capfd):
    refused(nifti(tmp_path, (PIXDIM, (0, 0, 0))), InputError, "damaged", capfd)


def test_nifti_in_metres(tmp_path):
    path = nifti(tmp_path, (PIXDIM, (0.001, 0.0015, 0.002)), ((123, "<b"), (1,)), (CODES, (1, 0)),
                 ((268, "<3f"), (0.03, -0.0125, 0.00725)))
    assert index_to_lps(read_image(path)) == pytest.approx(index_to_lps(scan(spacing=(1.0, 1.5, 2.0))), abs=1e-4)


def test_header_reader_agrees_with_itk_on_real_scans(shared_data):
    for path in [*(shared_data / "brain_native").glob("*/t*.nii.gz"), shared_data / "pelvis" / "umea" / "ct.nii.gz"]:
        header = nifti_header.read_nifti_header(path)
        image = read_image(path)
        corner = np.array([*image.GetSize(), 1.0])
        form = header.qform if header.qform is not None else header.sform
        assert form @ corner == pytest.approx(index_to_lps(image) @ corner, abs=0.01), path.parent.name


def test_nifti_2(tmp_path, capfd):
    """ITK does not know it."""
    path = tmp_path / f"{SECRET}.nii"
    path.write_bytes(struct.pack("<i8s", 540, b"n+2\0\r\n\x1a\n") + bytes(4000))
    refused(path, InputError, "NIfTI-2", capfd)


def test_gzip_in_parts_and_with_padding_is_whole(tmp_path):
    path = saved(tmp_path, scan(), "nii")
    data = path.read_bytes()
    packed = tmp_path / "scan.nii.gz"
    packed.write_bytes(gzip.compress(data[:700]) + gzip.compress(data[700:]) + b"\0" * 512)
    assert np.array_equal(sitk.GetArrayFromImage(read_image(packed)), sitk.GetArrayFromImage(scan()))


def test_gzip_that_is_not_called_so(tmp_path, capfd):
    """ITK tells by the name whether to decompress."""
    path = saved(tmp_path, scan(), "nii")
    packed = gzip.compress(path.read_bytes())
    path.write_bytes(packed)
    refused(path, InputError, "is compressed, though its name ends in .nii; give it a name that ends in .nii.gz", capfd)
    path.write_bytes(packed[:-100])
    refused(path, InputError, "damaged or incomplete", capfd)


@pytest.mark.parametrize("ending", ["nii.gz", "NII.GZ", "NII", "Nii.gz", "nii.Gz", "NII.gz", "Nii"])
@pytest.mark.parametrize("read", [read_image, read_labelmap])
def test_capital_letters_in_the_ending(tmp_path, ending, read, capfd):
    path = saved(tmp_path, scan(), ending.lower())
    path = path.rename(path.with_name(f"{SECRET}.{ending}"))
    if ending in (ending.lower(), ending.upper()):
        assert read(path).GetSize() == scan().GetSize()
    else:
        refused(path, InputError, f"rename it to .{ending.lower()}", capfd, read)


@pytest.mark.parametrize("sizes", [(0, 10, 9), (11, 0, 9), (11, 10, 0), (11, 10, -9)])
def test_a_side_without_voxels(tmp_path, sizes, capfd):
    refused(nifti(tmp_path, ((42, "<3h"), sizes)), InputError, "holds no voxels; copy or export it again", capfd)
