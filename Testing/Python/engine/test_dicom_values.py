"""What the stored values of DICOM slices mean: rescale and padding; and the ways to store them that are not read."""

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_slices import COLUMNS, MR, ROWS, refused, rewrite, series, slice_of, stored, values
from phantoms import ct_image
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from afnet.errors import InputError
from afnet.images.reading import read_image
from afnet.opened_study import open_study
from afnet.process.progress import Progress
from afnet.study_request import StudyRequest


def found(folder) -> np.ndarray:
    return sitk.GetArrayFromImage(read_image(folder, "The CT", "CT")).astype(int)


@pytest.mark.parametrize("tags", [("RescaleSlope", "RescaleIntercept"), ("RescaleIntercept",), ("RescaleSlope",)])
@pytest.mark.parametrize("without", [[0], [7], [1, 3, 5]])
def test_some_slices_without_rescale(tmp_path, tags, without, capfd):
    """GDCM would read these 1024 HU higher."""
    slices = series()
    for k in without:
        for tag in tags:
            delattr(slices[k], tag)
    sentence = refused(stored(tmp_path, slices), InputError, "so their Hounsfield units are unknown", capfd)
    assert f"has {len(without)} of 8 slices without the rescale slope or intercept of the others" in sentence


def test_slope_here_and_intercept_there(tmp_path, capfd):
    slices = series()
    for k, item in enumerate(slices):
        delattr(item, "RescaleSlope" if k % 2 else "RescaleIntercept")
    refused(stored(tmp_path, slices), InputError, "has 8 of 8 slices without the rescale slope or intercept", capfd)


def test_empty_rescale_is_none(tmp_path, capfd):
    slices = series()
    slices[2].RescaleIntercept = None
    refused(stored(tmp_path, slices), InputError, "has 1 of 8 slices without the rescale", capfd)


def test_no_slice_has_a_rescale(tmp_path):
    """Whether these are Hounsfield units is seen by their values."""
    slices = series()
    for item in slices:
        del item.RescaleSlope, item.RescaleIntercept
    assert np.array_equal(found(stored(tmp_path, slices)), values(8))


def test_mr_slices_may_differ_in_their_rescale(tmp_path):
    slices = series(kind=MR, modality="MR", intercept=0)
    del slices[3].RescaleSlope, slices[3].RescaleIntercept
    assert read_image(stored(tmp_path, slices), "The T1", "MR").GetSize()[2] == 8


@pytest.mark.parametrize(("tag", "old", "new"), [
    (b"\x28\0\x53\x10DS", b"1.5", b"1,5"), (b"\x28\0\x52\x10DS", b"-1024", b"abcde"),
    (b"\x28\0\x53\x10DS", b"1.5", b"1_5"), (b"\x28\0\x53\x10DS", b"1.5", b"1\\2"),
])
def test_a_rescale_that_is_no_number(tmp_path, tag, old, new, capfd):
    """GDCM would leave out what it cannot read."""
    folder = stored(tmp_path, series(slope=1.5))
    rewrite(folder, tag, old, new)
    refused(folder, InputError, "has 8 of 8 slices whose rescale slope or intercept is not a number", capfd)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_values_that_stand_in_a_table(tmp_path, syntax, capfd):
    slices = series(syntax=syntax)
    for item in slices[2:]:
        del item.RescaleSlope, item.RescaleIntercept
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [4096, 0, 16], "HU", bytes(2 * 4096)
        item.ModalityLUTSequence = [table]
        item["PixelData"].VR = "OW"
    refused(stored(tmp_path, slices), InputError, "has 6 of 8 slices whose rescale slope or intercept", capfd)


def test_what_only_looks_like_a_table_stands_in_the_pixels(tmp_path, monkeypatch):
    """Which are not searched, nor is a file read whole for its header."""
    slices = series(kind=MR, modality="MR")
    for item in slices:
        del item.RescaleSlope, item.RescaleIntercept
        item.PixelData = item.PixelData[:-16] + b"\x28\0\0\x30SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0"
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda file: pytest.fail("read whole"))
    assert read_image(stored(tmp_path, slices), "The T1", "MR").GetSize()[2] == 8


PADDED = np.s_[:2]
"""Rows of every slice without a value."""


@pytest.mark.parametrize(("padding", "limit", "signed"), [
    (63536, None, False), (-2000, None, False), (-2000, None, True), (63536, None, True), (-32768, None, False),
    (4000, 4095, False), (4095, 4000, False),
])
def test_padding_of_a_ct_is_air(tmp_path, padding, limit, signed):
    """−2000 is padding of scanners, 63536 the same without its sign, which would be 62512 HU."""
    slices, expected = series(), values(8).astype(int) - 1024
    for item, plane in zip(slices, values(8), strict=True):
        plane[PADDED] = (limit or padding) % 2**16
        plane[0, 0] = padding % 2**16
        item.PixelData, item.PixelRepresentation = plane.tobytes(), int(signed)
        for tag, value in ((0x00280120, padding), (0x00280121, limit)):
            if value is not None:
                item.add_new(tag, "SS" if value < 0 else "US", value)
    expected[:, PADDED] = -1000
    image = read_image(stored(tmp_path, slices), "The CT", "CT")
    assert np.array_equal(sitk.GetArrayFromImage(image), expected)
    assert image.GetPixelID() == sitk.sitkInt16 and image.GetSize() == (COLUMNS, ROWS, 8)


@pytest.mark.parametrize(("padding", "limit"), [(0, None), (50, None), (-2000, 100), (-299, 4095)])
def test_values_that_tissue_has_are_no_padding(tmp_path, padding, limit):
    """Some writers put a 0 there, which is water where the intercept is 0."""
    slices = series(intercept=0)
    stored_values = values(8).astype(np.int16) - 1024
    for item, plane in zip(slices, stored_values, strict=True):
        plane[PADDED] = 0
        item.PixelData, item.PixelRepresentation = plane.tobytes(), 1
        item.add_new(0x00280120, "SS", padding)
        if limit is not None:
            item.add_new(0x00280121, "SS", limit)
    assert np.array_equal(found(stored(tmp_path, slices)), stored_values)


def test_padding_is_rescaled_as_its_slice_is(tmp_path):
    slices = series(4, slope=0.5, intercept=-1024) + series(4, slope=1, intercept=-1000)
    for k, item in enumerate(slices):
        item.ImagePositionPatient = [0, 0, 2 * k]
        item.PixelPaddingValue = int(values(4)[k % 4].min())
    read = sitk.GetArrayFromImage(read_image(stored(tmp_path, slices), "The CT", "CT"))
    for k, plane in enumerate(values(4)):
        assert np.array_equal(read[k], np.where(plane == plane.min(), -1000, plane * 0.5 - 1024))
        assert np.array_equal(read[4 + k], np.where(plane == plane.min(), -1000, plane * 1.0 - 1000))


def test_padding_of_other_modalities_and_without_a_rescale_stays(tmp_path):
    mr = series(kind=MR, modality="MR", intercept=0)
    ct = series(intercept=0)
    for item in mr + ct:
        item.PixelPaddingValue = int(values(8)[0, 0, 0])
    for item in ct:
        del item.RescaleSlope, item.RescaleIntercept
    for name, slices in (("mr", mr), ("ct", ct)):
        assert np.array_equal(sitk.GetArrayFromImage(read_image(stored(tmp_path / name, slices))), values(8))


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_syntaxes_that_are_not_read(tmp_path, syntax, capfd):
    refused(stored(tmp_path, series(syntax=syntax)), InputError, "(deflated or big-endian); export the series", capfd)


@pytest.mark.parametrize("some", [slice(0, 8), slice(3, 4)])
def test_values_in_the_upper_bits(tmp_path, some, capfd):
    """Twelve bits that end at the sixteenth; GDCM would keep the lower twelve, which are noise."""
    slices = series(bits=12)
    for item in slices[some]:
        item.HighBit = 15
        item.PixelData = (np.frombuffer(item.PixelData, np.uint16) << 4).tobytes()
    refused(stored(tmp_path / "series", slices), InputError, "upper bits of its pixels (High Bit)", capfd)


@pytest.mark.parametrize(("sexes", "told"), [("F", True), ("M", False), ("O", False), ("", False), ("FM", False)])
def test_a_patient_of_another_sex_than_the_models_is_told(tmp_path, tiny_pelvis, sexes, told):
    image = ct_image(spacing=4.0)
    array = (sitk.GetArrayFromImage(image) + 1024).clip(0).astype(np.uint16)
    slices = [slice_of(plane, image.TransformIndexToPhysicalPoint((0, 0, k)), spacing=(4.0, 4.0))
              for k, plane in enumerate(array)]
    for k, item in enumerate(slices):
        item.PatientSex = sexes[k % len(sexes)] if sexes else ""
    progress = Progress()
    folder = stored(tmp_path / "ct", slices)
    study = open_study(StudyRequest(str(tiny_pelvis.folder), {"ct": folder}, tmp_path / "s.seg.nrrd"), progress)
    sentence = "DICOM says that the patient is a woman, but the model is made for men: check every segment."
    assert (sentence in progress.notes) == told and study.manifest.sex == "M"
    assert not any("patient is a" in note for note in progress.notes if note != sentence)
