"""SimpleITK says in words that memory ran out, wherever that is: exit code 4, and neither file nor disk is blamed."""

import pytest
import SimpleITK as sitk
from command_line import ct_arguments, left_in
from dicom_slices import series, stored

from afnet import evaluation
from afnet.errors import OutOfMemory
from afnet.images.reading import read_image


def fail(*arguments):
    raise RuntimeError("Exception thrown in SimpleITK: std::bad_alloc")


def test_while_segmentations_are_compared(refused, tmp_path, monkeypatch):
    file = tmp_path / "labels.nrrd"
    sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkUInt8), str(file))
    monkeypatch.setattr(evaluation, "_on_one_box", fail)
    refused(4, ["evaluate", "--model", "pelvis-ct", "--truth", file, "--prediction", file], "ran out of memory")


@pytest.mark.parametrize("step", ["create", "join"])
def test_while_a_thread_is_made(refused, tmp_path, monkeypatch, step):
    def no_thread(*arguments):
        raise RuntimeError(f"Exception thrown in SimpleITK Resample: ITK ERROR: Unable to {step} thread.")

    file = tmp_path / "labels.nrrd"
    sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkUInt8), str(file))
    monkeypatch.setattr(evaluation, "_on_one_box", no_thread)
    refused(4, ["evaluate", "--model", "pelvis-ct", "--truth", file, "--prediction", file], "ran out of memory")


def test_while_a_file_is_read(tmp_path, monkeypatch):
    sitk.WriteImage(sitk.GaussianSource(size=[4, 4, 4]), str(tmp_path / "scan.nrrd"))
    monkeypatch.setattr(sitk.ImageFileReader, "Execute", fail)
    with pytest.raises(OutOfMemory, match="does not fit into memory"):
        read_image(tmp_path / "scan.nrrd")


def test_while_a_series_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sitk.ImageSeriesReader, "Execute", fail)
    with pytest.raises(OutOfMemory, match="does not fit into memory"):
        read_image(stored(tmp_path / "series", series()))


def test_while_a_result_is_written(refused, ct_file, tiny_pelvis, out, monkeypatch):
    monkeypatch.setattr(sitk, "WriteImage", fail)
    refused(4, ct_arguments(ct_file, tiny_pelvis, out, "--progress", "none"), "ran out of memory")
    assert left_in(out) == []
