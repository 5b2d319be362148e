"""DICOM folders that GDCM would read as they are: damaged slices, other modalities, colour, names that are no text."""

import os
from pathlib import Path

import pydicom
import pytest
from dicom_slices import AXIAL, COLUMNS, MR, ROWS, SECONDARY, refused, rewrite, series, stored
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
    refused(folder, InputError, "8 DICOM images in colour or without position", capfd)
    stored(folder, series(), prefix="x")
    assert read_image(folder).GetSize() == (COLUMNS, ROWS, 8), "beside a series they are left aside"


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_slices_without_a_place_are_told(tmp_path, tag, capfd):
    slices = series()
    for item in slices:
        delattr(item, tag)
    refused(stored(tmp_path / "series", slices), InputError, "without position, orientation or pixel spacing", capfd)


@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
@pytest.mark.parametrize("which", [slice(0, 1), slice(5, 8), slice(1, None, 2)], ids=["first", "last", "every second"])
def test_some_slices_without_a_place_are_missed(tmp_path, tag, which, capfd):
    slices = series()
    for item in slices[which]:
        delattr(item, tag)
    lost = len(slices[which])
    words = f"has {lost} slice{'s' * (lost > 1)} in colour or without a readable position, orientation or pixel spacing"
    assert f"beside {8 - lost} others" in refused(stored(tmp_path / "series", slices), InputError, words, capfd)


def test_positions_with_a_decimal_comma_are_missed(tmp_path, capfd):
    """Every second of slices 2.5 mm apart: the others, 5 mm apart, would be a volume."""
    folder = stored(tmp_path / "series", series(10, step=2.5))
    rewrite(folder, b"\x20\0\x32\0DS", b".5", b",5")
    refused(folder, InputError, "has 5 slices in colour or without a readable position", capfd)


def test_pictures_without_a_place_of_another_series_or_kind_are_left_aside(tmp_path):
    folder = stored(tmp_path / "series", series())
    for name, other in (("a", {"series": "1.2.3.2"}), ("b", {"kind": SECONDARY})):
        report = series(1, **other)[0]
        del report.ImagePositionPatient
        stored(folder, [report], name)
    assert read_image(folder).GetSize() == (COLUMNS, ROWS, 8)


@pytest.mark.skipif(os.name == "nt", reason="links of Unix")
@pytest.mark.parametrize("which", [slice(6, 8), slice(1, None, 2), slice(0, 8)], ids=["last", "every second", "all"])
def test_links_without_their_files_are_missed(tmp_path, which, capfd):
    """As where git-annex or DataLad has not fetched them."""
    folder = stored(tmp_path / "series", series())
    files = sorted(folder.iterdir(), key=lambda file: pydicom.dcmread(file).ImagePositionPatient[2])[which]
    for file in files:
        file.unlink()
        file.symlink_to(tmp_path / "nowhere" / "Secret")
    refused(folder, InputError, f"has {len(files)} links to files that are not there", capfd)


@pytest.mark.skipif(os.name == "nt", reason="links of Unix")
def test_linked_files_and_folders_are_followed(tmp_path):
    folder, elsewhere = stored(tmp_path / "series", series()), tmp_path / "elsewhere"
    (elsewhere / "below").mkdir(parents=True)
    for k, file in enumerate(sorted(folder.iterdir())[3:]):
        file.rename((elsewhere if k % 2 else elsewhere / "below") / file.name)
    (folder / "more").symlink_to(elsewhere)
    (folder / "Secret_link").symlink_to(folder / "Secret001")
    (elsewhere / "round").symlink_to(folder)
    (elsewhere / "below" / "itself").symlink_to(elsewhere / "below")
    assert read_image(folder).GetSize() == (COLUMNS, ROWS, 8)


@pytest.mark.skipif(os.name == "nt", reason="links of Unix")
@pytest.mark.parametrize("ending", ["", ".dcm"])
def test_links_that_were_no_slices_are_left_aside(tmp_path, ending, capfd):
    folder = stored(tmp_path / "series", series())
    files = [file.rename(f"{file}{ending}") for file in sorted(folder.iterdir())]
    for name in (".#lock", f".#{files[0].name}", "report.pdf", "latest"):
        (folder / name).symlink_to("user@machine.4711")
    assert read_image(folder).GetSize() == (COLUMNS, ROWS, 8)
    if ending:  # names without numbers in order, as archives give them
        (folder / "f0e1secret.dcm").symlink_to("nowhere")
        refused(folder, InputError, "has 1 link to files that are not there", capfd)
    for file in files:
        file.unlink()
    refused(folder, InputError, f"has {5 if ending else 4} links to files that are not there", capfd)


@pytest.mark.skipif(os.name == "nt", reason="links of Unix")
def test_links_to_other_studies_are_not_part_of_the_series(tmp_path, capfd):
    folder, other = stored(tmp_path / "series", series()), stored(tmp_path / "other", series(6, series="1.2.3.2"))
    damage(other, lambda content: content[:-100])
    (other / "Secret100").symlink_to("nowhere")
    for name, place in (("prior", other), ("up", tmp_path), ("relative", "../..")):
        (folder / name).symlink_to(place)
    assert read_image(folder).GetSize() == (COLUMNS, ROWS, 8)
    (other / "Secret100").unlink()
    stored(other, series(10)[8:], "more")  # of this series: all that is there counts
    refused(folder, InputError, "1 DICOM file that cannot be read whole", capfd)


@pytest.mark.skipif(os.name == "nt", reason="links of Unix")
@pytest.mark.parametrize("localizer", [False, True])
def test_a_folder_of_links_alone_is_followed(tmp_path, localizer, capfd):
    stored(tmp_path / "a", series())
    stored(tmp_path / "b", series(6, series="1.2.3.2"))
    folder = tmp_path / "links"
    folder.mkdir()
    if localizer:
        stored(folder, series(2, axes=(0.0, 1, 0, 0, 0, -1), series="1.2.3.9"))
    (folder / "one").symlink_to("../a")
    (folder / "up").symlink_to("..")
    assert read_image(folder).GetSize() == (COLUMNS, ROWS, 8)
    (folder / "two").symlink_to("../b")
    refused(folder, RequestError, "2 DICOM series (8 slices of CT, 6 slices of CT)", capfd)


@pytest.mark.skipif(os.name == "nt", reason="links of Unix")
def test_a_linked_rest_that_is_damaged_is_missed(tmp_path, capfd):
    folder = stored(tmp_path / "series", series())
    rest = tmp_path / "rest"
    rest.mkdir()
    for file in sorted(folder.iterdir())[5:]:
        (rest / file.name).write_bytes(file.read_bytes()[:-100])
        file.unlink()
    (folder / "rest").symlink_to(rest)
    refused(folder, InputError, "3 DICOM files that cannot be read whole", capfd)


@pytest.mark.parametrize("which", [slice(6, 8), slice(0, 8, 7), slice(7, 8)], ids=["last two", "ends", "last"])
@pytest.mark.parametrize("change", ["matrix", "series", "spacing", "orientation"])
def test_slices_that_continue_the_stack_are_no_localizer(tmp_path, which, change, capfd):
    slices = series()
    for item in slices[which]:
        if change == "matrix":
            item.Columns, item.PixelData = COLUMNS // 2, item.PixelData[::2]
        elif change == "series":
            item.SeriesInstanceUID = "1.2.3.9"
        elif change == "spacing":
            item.PixelSpacing = [1.5, 1.3]
        else:
            item.ImageOrientationPatient = [0.9998, 0.02, 0, -0.02, 0.9998, 0]
    lost = len(slices[which])
    words = f"has {lost} slice{'s' * (lost > 1)} that by position or series should continue its other {8 - lost}"
    refused(stored(tmp_path / "series", slices), InputError, words, capfd)


def test_a_localizer_beside_the_stack_is_left_aside(tmp_path):
    folder = stored(tmp_path / "series", series())
    for name, step, more in (("1", 9.5, {}), ("2", -7.0, {}), ("3", 3.0, {"axes": (0.0, 1, 0, 0, 0, -1)})):
        stored(folder, series(2, step=step, series=f"1.2.3.9{name}", seed=1, **more), name)
    assert read_image(folder).GetSize() == (COLUMNS, ROWS, 8)


@pytest.mark.parametrize("beyond", [-2, -1, 8, 9])
@pytest.mark.parametrize("change", [{"Rows": ROWS // 2}, {"PixelSpacing": [0.9, 0.9]}], ids=["matrix", "spacing"])
def test_a_slice_of_another_series_beyond_an_end_is_left_aside(tmp_path, beyond, change):
    """One to watch contrast medium arrive, or an axial localizer."""
    folder = stored(tmp_path / "series", series())
    other = series(1, series="1.2.3.9")[0]
    other.ImagePositionPatient = [-20, 15, 40 + 3 * beyond]
    for tag, value in change.items():
        setattr(other, tag, value)
    other.PixelData = other.PixelData[: 2 * other.Rows * COLUMNS]
    stored(folder, [other], "x")
    assert read_image(folder).GetSize() == (COLUMNS, ROWS, 8)


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


def test_longer_localizers_are_left_out_by_their_mark_and_told(tmp_path, capfd):
    """Three planes of several slices, as for MR; the CT's own kind, and even more slices than the scan."""
    folder = stored(tmp_path / "series", series())
    others = [series(count, axes=axes, series=f"1.2.3.9{count}", seed=1)
              for count, axes in ((3, (0.0, 1, 0, 0, 0, -1)), (15, AXIAL))]
    for number, slices in enumerate(others):
        stored(folder, slices, f"x{number}")
    refused(folder, RequestError, "3 DICOM series", capfd)
    for number, slices in enumerate(others):
        for item in slices:
            item.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        stored(folder, slices, f"x{number}")
    told = []
    assert read_image(folder, "CT", tell=told.append).GetSize() == (COLUMNS, ROWS, 8)
    assert told == ["CT: 18 slices that the folder also holds are marked as localizer and were left out."]
    stored(folder, series(4, series="1.2.3.8"), "y")
    refused(folder, RequestError, "4 DICOM series", capfd)


def test_a_localizer_alone_is_read(tmp_path):
    slices = series()
    for item in slices:
        item.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    told = []
    assert read_image(stored(tmp_path, slices), tell=told.append).GetSize() == (COLUMNS, ROWS, 8) and told == []
