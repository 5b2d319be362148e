"""DICOM folders as scanners and archives leave them: unsorted, mixed, incomplete, tilted."""

import os

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_slices import (
    AXIAL,
    COLUMNS,
    CT,
    MR,
    OBLIQUE,
    ROWS,
    SECONDARY,
    STRUCTURES,
    dataset,
    normal,
    refused,
    series,
    stored,
    values,
)
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from afnet.errors import InputError, RequestError
from afnet.images import dicom_header
from afnet.images.geometry import index_to_lps
from afnet.images.reading import read_image


@pytest.mark.parametrize("axes", [AXIAL, OBLIQUE, (0.0, 1, 0, 0, 0, -1)], ids=["axial", "oblique", "sagittal"])
@pytest.mark.parametrize("step", [3.0, -3.0], ids=["up", "down"])
def test_unsorted_series(tmp_path, axes, step, capfd):
    image = read_image(stored(tmp_path, series(axes=axes, step=step)))
    assert image.GetPixelID() == sitk.sitkInt16
    assert image.GetSpacing() == pytest.approx((1.25, 1.5, 3.0), abs=1e-4)
    assert np.linalg.det(np.array(image.GetDirection()).reshape(3, 3)) == pytest.approx(1)
    found = sitk.GetArrayFromImage(image).astype(int)
    for k, plane in enumerate(values(8)):  # each slice lies where its own header puts it
        at = image.TransformPhysicalPointToContinuousIndex((np.array((-20, 15, 40)) + k * normal(axes) * step).tolist())
        assert at == pytest.approx((0, 0, round(at[2])), abs=1e-3)
        assert np.array_equal(found[round(at[2])], plane.astype(int) - 1024)
    assert capfd.readouterr() == ("", "")


def test_in_plane_axes(tmp_path):
    """The column index runs along the first direction, in steps of the second pixel spacing (PS3.3 10.7.1.3)."""
    image = read_image(stored(tmp_path, series(axes=OBLIQUE)))
    expected = np.array((-20, 15, 40)) + 5 * 1.25 * np.array(OBLIQUE[:3]) + 4 * 1.5 * np.array(OBLIQUE[3:])
    assert index_to_lps(image) @ (5, 4, 0, 1) == pytest.approx([*expected, 1], abs=1e-3)


def test_pixel_spacing_is_as_exact_as_in_the_files(tmp_path):
    """A field of view of 500 mm: rounded to 0.9766 mm the last of 512 voxels would be 0.02 voxel off, another grid to
    the evaluation."""
    image = read_image(stored(tmp_path, series(spacing=(0.9765625, 0.48828125))))
    assert image.GetSpacing() == pytest.approx((0.48828125, 0.9765625, 3.0), abs=1e-9)


def test_slices_with_a_rounded_spacing_are_of_the_same_stack(tmp_path):
    slices = series(spacing=(0.9765625, 0.9765625))
    for data in slices[1::2]:
        data.PixelSpacing = [0.97656, 0.97656]
    image = read_image(stored(tmp_path, slices))
    assert image.GetSize()[2] == 8 and image.GetSpacing()[:2] == pytest.approx((0.9765625,) * 2, abs=5e-6)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless])
def test_transfer_syntaxes(tmp_path, syntax):
    slices = series()
    for data in slices:
        if syntax.is_compressed:
            data.compress(syntax)
        data.file_meta.TransferSyntaxUID = syntax
    image = read_image(stored(tmp_path, slices))
    assert np.array_equal(sitk.GetArrayFromImage(image), values(8).astype(int) - 1024)


def test_subfolders_other_files_and_localizer(tmp_path):
    stored(tmp_path / "a" / "b", series())
    stored(tmp_path / "a", series(2, axes=(0.0, 1, 0, 0, 0, -1), seed=1), "localizer_same_series")
    stored(tmp_path, series(2, seed=1, series="1.2.3.9"), "localizer")
    contours = dataset(STRUCTURES, "1.2.3.8", "RTSTRUCT")
    stored(tmp_path, [contours], "contours")
    screen = dataset(SECONDARY, "1.2.3.7", "OT")
    screen.Rows = screen.Columns = 10
    screen.SamplesPerPixel, screen.PhotometricInterpretation, screen.PixelRepresentation = 1, "MONOCHROME2", 0
    screen.BitsAllocated, screen.BitsStored, screen.HighBit, screen.PixelData = 8, 8, 7, bytes(100)
    stored(tmp_path, [screen] * 3, "screen")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 300)
    (tmp_path / "report.txt").write_text("text")
    assert read_image(tmp_path).GetSize() == (COLUMNS, ROWS, 8)


def test_the_same_slice_twice_is_one(tmp_path):
    slices = series()
    stored(tmp_path, slices)
    stored(tmp_path, slices, "copy")
    assert read_image(tmp_path).GetSize()[2] == 8


def test_rescale_differs_between_slices(tmp_path):
    slices = series(4, slope=1, intercept=0) + series(4, slope=0.5, intercept=3)
    for k, data in enumerate(slices):
        data.ImagePositionPatient = [0, 0, 2 * k]
    image = read_image(stored(tmp_path, slices))
    assert image.GetPixelID() == sitk.sitkFloat32
    assert np.allclose(sitk.GetArrayFromImage(image)[:4], values(4))
    assert np.allclose(sitk.GetArrayFromImage(image)[4:], values(4) * 0.5 + 3)


def test_values_beyond_int16_stay(tmp_path):
    slices = series(3, intercept=0)
    slices[1].PixelData = np.full((ROWS, COLUMNS), 60000, np.uint16).tobytes()
    image = read_image(stored(tmp_path, slices))
    assert sitk.GetArrayFromImage(image)[1].min() == 60000


def test_no_dicom(tmp_path, capfd):
    refused(tmp_path, RequestError, "without DICOM slices", capfd)
    (tmp_path / "a.txt").write_text("text" * 100)
    refused(tmp_path, RequestError, "without DICOM slices", capfd)
    stored(tmp_path, [dataset(STRUCTURES, modality="RTSTRUCT")])
    refused(tmp_path, RequestError, "give the folder that holds the series", capfd)


def test_a_file_instead_of_the_folder(tmp_path, capfd):
    stored(tmp_path, series())
    refused(tmp_path / "Secret000", RequestError, "give the folder that holds the whole series", capfd)
    (tmp_path / "x.dcm").write_bytes(b"no preamble")
    refused(tmp_path / "x.dcm", RequestError, "give the folder that holds the whole series", capfd)


def test_several_series_are_listed_without_names(tmp_path, capfd):
    stored(tmp_path, series(9), "a")
    stored(tmp_path, series(5, series="1.2.3.2", kind=MR, modality="MR"), "b")
    stored(tmp_path, series(5, series="1.2.3.3", kind=MR, modality="MR"), "c")
    stored(tmp_path, series(1, series="1.2.3.4"), "d")
    sentence = refused(tmp_path, RequestError, "into a folder of its own", capfd)
    assert "3 DICOM series (9 slices of CT, 2 times 5 slices of MR)" in sentence


@pytest.mark.parametrize(
    "tag,names", [("PatientID", ("ID4711", "Secret2")), ("FrameOfReferenceUID", ("1.2.4", "1.2.5"))]
)
@pytest.mark.parametrize("second", [slice(4, 8), slice(1, 8, 2)])
def test_two_patients_in_one_series(tmp_path, tag, names, second, capfd):
    """As after names were removed: the slices would make one image, the one on top of the other or between it."""
    slices = series()
    for item in slices:
        setattr(item, tag, names[0])
    for item in slices[second]:
        setattr(item, tag, names[1])
    refused(stored(tmp_path / "series", slices), RequestError, "2 DICOM series (2 times 4 slices of CT)", capfd)


@pytest.mark.parametrize("tag,names", [("PatientID", ("ID1", "ID2")), ("FrameOfReferenceUID", ("1.2.4", "1.2.5"))])
def test_the_last_slices_are_of_another_patient(tmp_path, tag, names, capfd):
    slices = series()
    for number, item in enumerate(slices):
        setattr(item, tag, names[number >= 6])
    refused(stored(tmp_path / "series", slices), InputError, "patient, frame of reference or series, so slices would",
            capfd)


@pytest.mark.parametrize("tag,name", [("PatientID", "ID4711"), ("FrameOfReferenceUID", "1.2.4")])
@pytest.mark.parametrize("without", [slice(0, 8), slice(2, 4), slice(0, 7)])
def test_slices_that_do_not_say_whose_they_are(tmp_path, tag, name, without):
    slices = series()
    for item in slices:
        setattr(item, tag, name)
    for number, item in enumerate(slices[without]):
        if number % 2:
            delattr(item, tag)
        else:
            setattr(item, tag, "")
    assert read_image(stored(tmp_path / "series", slices)).GetSize()[2] == 8


def test_modality_is_no_way_to_leak(tmp_path, capfd):
    stored(tmp_path, series(3, modality="SECRETPATIENT"), "a")
    stored(tmp_path, series(4, series="1.2.3.2"), "b")
    assert "3 slices of another kind" in refused(tmp_path, RequestError, "2 DICOM series", capfd)


@pytest.mark.parametrize("absent", [[3], [2, 5], [3, 4]])
def test_missing_slices(tmp_path, absent, capfd):
    slices = [data for k, data in enumerate(series(10)) if k not in absent]
    sentence = refused(stored(tmp_path, slices), InputError, "lacks", capfd)
    assert f"{len(absent)} slice" in sentence and f"after slice {absent[0]} of {10 - len(absent)}" in sentence


def test_uneven_distances(tmp_path, capfd):
    slices = series(8)
    for k in range(5, 8):
        slices[k].ImagePositionPatient = [-20, 15, 40 + 3 * 4 + 5.0 * (k - 4)]
    refused(stored(tmp_path, slices), InputError, "uneven distances between slices (3.00 to 5.00 mm)", capfd)


def test_rounded_positions_are_even(tmp_path):
    slices = series(40, step=0.625)
    for data in slices:
        data.ImagePositionPatient = [-20, 15, f"{float(data.ImagePositionPatient[2]):.1f}"]
    image = read_image(stored(tmp_path, slices))
    assert image.GetSpacing()[2] == pytest.approx(0.625, abs=0.003)


def test_several_phases(tmp_path, capfd):
    slices = series(6) + series(6, seed=1)
    refused(stored(tmp_path, slices), InputError, "several slices at the same position (6 of 12)", capfd)


@pytest.mark.parametrize("shear", [(0.0, 0.3, 0.0), (0.05, 0.0, 0.0)])
def test_tilted_gantry(tmp_path, shear, capfd):
    refused(stored(tmp_path, series(10, shear=shear)), InputError, "tilted gantry", capfd)


def test_one_slice(tmp_path, capfd):
    refused(stored(tmp_path, series(1)), InputError, "only one slice", capfd)


def test_three_plane_localizer_alone(tmp_path, capfd):
    stored(tmp_path, series(1), "a")
    stored(tmp_path, series(1, axes=(0.0, 1, 0, 0, 0, -1)), "b")
    refused(tmp_path, RequestError, "2 DICOM series (2 times 1 slice of CT)", capfd)


@pytest.mark.parametrize("length", [140, 200, 400, -1, -100])
def test_a_cut_slice(tmp_path, length, capfd):
    folder = stored(tmp_path, series())
    file = folder / "Secret003"
    file.write_bytes(file.read_bytes()[:length])
    refused(folder, InputError, "1 DICOM file that cannot be read", capfd)


def test_every_slice_cut(tmp_path, capfd):
    folder = stored(tmp_path, series())
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[:300])
    refused(folder, InputError, "none of them can be read", capfd)


def test_multi_frame(tmp_path, capfd):
    data = series(1)[0]
    data.NumberOfFrames = 4
    data.PixelData = data.PixelData * 4
    words = "is stored as multi-frame DICOM, which is not supported; load it in Slicer"
    refused(stored(tmp_path, [data]), InputError, words, capfd)
    stored(tmp_path, series(2, series="1.2.3.9"), "localizer")
    refused(tmp_path, InputError, words, capfd)
    stored(tmp_path, series(4, series="1.2.3.8"), "slices")
    words = "2 DICOM series (4 frames of CT, 4 slices of CT); put the one that is meant into a folder of its own"
    refused(tmp_path, RequestError, words, capfd)


@pytest.mark.parametrize(("kind", "name"), [(f"{CT}.1", "Enhanced CT"), (f"{MR}.4", "Legacy Converted Enhanced MR")])
def test_enhanced_files_of_one_frame(tmp_path, kind, name, capfd):
    slices = series(6, kind=kind)
    for item in slices:  # a sequence that is not read here has them
        del item.ImagePositionPatient, item.ImageOrientationPatient, item.PixelSpacing
    folder = stored(tmp_path / "series", slices)
    refused(folder, InputError, f"is stored as {name} DICOM, which is not supported; load it in Slicer", capfd)
    stored(folder, series(4), "x")
    refused(folder, RequestError, "2 DICOM series (6 frames of CT, 4 slices of CT)", capfd)


def test_constant_series(tmp_path, capfd):
    slices = series()
    for data in slices:
        data.PixelData = bytes(2 * ROWS * COLUMNS)
    refused(stored(tmp_path, slices), InputError, "same value (-1024) everywhere", capfd)


def test_somebodys_whole_disk(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(dicom_header, "MOST_FILES", 7)
    refused(stored(tmp_path, series()), RequestError, "over 7 files", capfd)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="switches to an unprivileged user")
def test_a_slice_without_permission(tmp_path, capfd):
    folder = stored(tmp_path / "series", series())
    for parent in [folder, *folder.parents][:4]:
        parent.chmod(0o755)
    (folder / "Secret003").chmod(0)
    os.seteuid(65534)
    try:
        refused(folder, RequestError, "cannot be opened (no permission)", capfd)
    finally:
        os.seteuid(0)


def test_loose_slices_of_real_scanners(shared_data):
    with pytest.raises(RequestError, match=r"10 DICOM series \(10 times 2 slices of CT\)"):
        read_image(shared_data / "pelvis" / "loose_slices_unlabelled")
