"""DICOM folders that GDCM would read as they are: damaged slices, other modalities, colour, names that are no text."""

import os
from pathlib import Path

import pydicom
import pytest
from dicom_slices import COLUMNS, MR, ROWS, SECONDARY, refused, series, stored
from pydicom.uid import ImplicitVRLittleEndian

from afnet.errors import InputError, RequestError
from afnet.images.reading import read_image


def damage(folder: Path, change) -> None:
    """Change the bytes of the slice that lies last."""
    last = max(folder.iterdir(), key=lambda file: pydicom.dcmread(file).ImagePositionPatient[2])
    last.write_bytes(change(last.read_bytes()))


@pytest.mark.parametrize("change", [
    lambda content: b"", lambda content: bytes(len(content)), lambda content: content[: len(content) // 2],
    lambda content: content[:-100],
])
@pytest.mark.parametrize("preamble", [True, False])
def test_a_damaged_last_slice_is_missed(tmp_path, change, preamble, capfd):
    folder = stored(tmp_path / "series", series(syntax=ImplicitVRLittleEndian))
    if not preamble:
        for file in folder.iterdir():
            data = pydicom.dcmread(file)
            del data.file_meta
            pydicom.dcmwrite(file, data, implicit_vr=True, little_endian=True)
        last = max(folder.iterdir(), key=lambda file: pydicom.dcmread(file, force=True).ImagePositionPatient[2])
        last.write_bytes(change(last.read_bytes()))
    else:
        damage(folder, change)
    refused(folder, InputError, "cannot be read", capfd)


def test_pixels_shorter_than_the_slice_are_noticed(tmp_path, capfd):
    slices = series()
    slices[3].PixelData = slices[3].PixelData[:100]
    refused(stored(tmp_path / "series", slices), InputError, "cannot be read whole", capfd)


def test_a_series_of_another_modality_is_refused(tmp_path):
    folder = stored(tmp_path / "series", series(modality="MR", kind=MR))
    assert read_image(folder, "The CT").GetSize() == (COLUMNS, ROWS, 8)
    with pytest.raises(InputError, match="of the modality MR, not CT; give the CT"):
        read_image(folder, "The CT", "CT")
    assert read_image(stored(tmp_path / "other", series(modality="OT")), "The CT", "CT").GetSize()[2] == 8


def test_inverted_values_are_refused(tmp_path, capfd):
    slices = series()
    for item in slices:
        item.PhotometricInterpretation = "MONOCHROME1"
    refused(stored(tmp_path / "series", slices), InputError, "MONOCHROME1", capfd)


def test_colour_pictures_are_no_slices(tmp_path, capfd):
    slices = series(kind=SECONDARY, modality="OT")
    for item in slices:
        item.SamplesPerPixel, item.PhotometricInterpretation, item.PlanarConfiguration = 3, "RGB", 0
        item.BitsAllocated, item.BitsStored, item.HighBit = 8, 8, 7
        item.PixelData = bytes(3 * ROWS * COLUMNS)
        del item.RescaleSlope, item.RescaleIntercept
    folder = stored(tmp_path / "pictures", slices)
    refused(folder, InputError, "8 DICOM pictures in colour or without position", capfd)
    stored(folder, series(), prefix="x")
    assert read_image(folder).GetSize() == (COLUMNS, ROWS, 8), "beside a series they are left aside"


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_slices_without_a_place_are_told(tmp_path, tag, capfd):
    slices = series()
    for item in slices:
        delattr(item, tag)
    refused(stored(tmp_path / "series", slices), InputError, "without position, orientation or pixel spacing", capfd)


def test_one_instance_number_for_all_slices(tmp_path):
    slices = series()
    for item in slices:
        item.SOPInstanceUID = item.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    assert read_image(stored(tmp_path / "series", slices)).GetSize() == (COLUMNS, ROWS, 8)


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_not_utf8_are_told(tmp_path, capfd):
    folder = stored(tmp_path / "series", series())
    first = sorted(folder.iterdir())[0]
    os.rename(first, os.fsencode(folder) + b"/\xe4.dcm")
    with pytest.raises(RequestError, match="A file of The CT has characters .* not UTF-8; rename it"):
        read_image(folder, "The CT")
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    os.rename(folder, strange)
    with pytest.raises(RequestError, match="not UTF-8"):
        read_image(strange, "The CT")
    assert capfd.readouterr() == ("", "")
