"""Export by clicks: what is written, what cannot be and why."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from clicks import click
from test_results_panel import paint, pelvis, run  # noqa: F401 - a fixture

sys.path.append(str(Path(__file__).resolve().parents[1] / "engine"))

from unprivileged import unprivileged  # noqa: E402


class RecordedExporters:
    """DicomExporters whose problems the test sets; they write a few bytes."""

    def __init__(self) -> None:
        self.seg, self.rt = "", ""
        self.calls: list[str] = []
        self.names: list[str] = []

    def seg_problem(self, image) -> str:
        return self.seg

    def rtstruct_problem(self, image) -> str:
        return self.rt

    def write_seg(self, segmentation, segment_ids, file, description) -> None:
        self.calls.append("SEG")
        file.write_bytes(b"DICM")

    def write_rtstruct(self, segmentation, image, folder, description) -> None:
        self.calls.append("RTSTRUCT")
        segments = segmentation.GetSegmentation()
        self.names = [segments.GetSegment(item).GetName() for item in segments.GetSegmentIDs()]
        (folder / "rtss.dcm").write_bytes(b"DICM")


@pytest.fixture
def export(pelvis, tmp_path):  # noqa: F811
    """The results with the export part open; `folder` is where it writes to, `exporters` record."""
    folder = tmp_path / "export"
    folder.mkdir()
    pelvis.exporters = pelvis.panel._export._exporters = RecordedExporters()
    pelvis.panel.enter()
    pelvis.ui.exportSection.collapsed = False
    pelvis.ui.exportFolderButton.directory = str(folder)
    pelvis.folder = folder
    pelvis.process()
    return pelvis


def test_every_format(export):
    ui = export.ui
    for button in (ui.exportSegButton, ui.exportRtButton, ui.exportNrrdButton, ui.exportNiftiButton,
                   ui.exportStlButton):
        assert button.enabled
        click(button)
        assert f"written to {export.folder}" in ui.exportMessageLabel.text
    names = {file.name for file in export.folder.iterdir()}
    assert {"pelvis-ct.seg.nrrd", "pelvis-ct.nii.gz", "pelvis-ct.tsv", "pelvis-ct-SEG.dcm", "pelvis-ct-RTSTRUCT",
            "pelvis-ct-Prostate.stl", "pelvis-ct-Left femur.stl"} <= names
    assert export.exporters.calls == ["SEG", "RTSTRUCT"]
    assert set(sitk.GetArrayFromImage(sitk.ReadImage(str(export.folder / "pelvis-ct.nii.gz"))).flat) == set(range(7))
    assert export.messages.shown == [], "no pop-up"


def test_what_was_exported_is_named_until_it_is_another(export):
    """Whose it is, too: the sentence is what somebody reads who exports several patients."""
    label = export.ui.exportMessageLabel
    click(export.ui.exportNrrdButton)
    assert label.text == f"CT segmentation on CT: pelvis-ct.seg.nrrd written to {export.folder}."
    paint(export, "bladder", np.s_[4:6, 4:6, 2:12], 1)
    assert not label.isVisible() and label.text == ""
    export.ui.exportNameEdit.setText("b")
    click(export.ui.exportNrrdButton)
    assert label.isVisible()
    export.segment.ui.outputSelector.setCurrentNode(export.segmentation)
    assert run(export, "pelvis-ct") is export.segmentation
    assert label.text == "", "it is about the voxels before"


def test_the_name_is_the_users_and_nothing_is_overwritten(export):
    ui = export.ui
    assert ui.exportNameEdit.text == "pelvis-ct", "nothing of the patient"
    ui.exportNameEdit.setText("case 7")
    click(ui.exportNrrdButton)
    before = (export.folder / "case 7.seg.nrrd").read_bytes()
    click(ui.exportNrrdButton)
    assert "case 7.seg.nrrd is already in" in ui.exportMessageLabel.text
    assert (export.folder / "case 7.seg.nrrd").read_bytes() == before
    assert len(list(export.folder.iterdir())) == 1


def test_what_cannot_be_written_says_why(export):
    ui = export.ui
    export.exporters.rt = "RTSTRUCT needs the extension SlicerRT: install it in the Extensions Manager."
    export.panel.enter()
    assert ui.exportSegButton.enabled and not ui.exportRtButton.enabled
    assert ui.exportRtButton.toolTip == export.exporters.rt == ui.exportReasonLabel.text
    export.exporters.rt = ""
    export.panel.enter()
    assert ui.exportRtButton.enabled and "TG-263" in ui.exportRtButton.toolTip
    assert not ui.exportReasonLabel.isVisible()


def test_an_image_without_voxels_is_told(export):
    """As of a scene whose file of the image is gone. What needs no image is written."""
    export.volume.SetAndObserveImageData(None)
    for button in (export.ui.exportSegButton, export.ui.exportRtButton):
        click(button)
        assert export.ui.exportMessageLabel.text == "CT has no voxels: load it again."
    assert export.exporters.calls == [] and list(export.folder.iterdir()) == []
    for button in (export.ui.exportNrrdButton, export.ui.exportNiftiButton, export.ui.exportStlButton):
        click(button)
        assert f"written to {export.folder}" in export.ui.exportMessageLabel.text


def test_a_renamed_segment_is_exported_under_its_new_name(export):
    segments = export.segmentation.GetSegmentation()
    for segment_id, name in (("femur_left", "Right femur"), ("femur_right", "Left femur"), ("bladder", "PTV boost")):
        segments.GetSegment(segment_id).SetName(name)
    click(export.ui.exportRtButton)
    assert export.exporters.names == [
        "Prostate", "SeminalVes", "PTV boost", "Rectum", "Right femur", "Left femur"]
    click(export.ui.exportNiftiButton)
    lines = (export.folder / "pelvis-ct.tsv").read_text().splitlines()[1:]
    names = dict(line.split("\t")[:2] for line in lines)
    assert names == {"1": "Prostate", "2": "Seminal vesicles", "4": "Rectum", "7": "PTV boost", "8": "Right femur",
                     "9": "Left femur"}


def test_a_label_map_after_a_second_run_into_the_same(export):
    """What the user completed is found again: no twin of it takes its place, nor hinders the label map."""
    import slicer

    logic, segments = slicer.vtkSlicerSegmentationsModuleLogic, export.segmentation.GetSegmentation()
    logic.SetSegmentStatus(segments.GetSegment("femur_left"), logic.Completed)
    export.segment.ui.outputSelector.setCurrentNode(export.segmentation)
    assert run(export, "pelvis-ct") is export.segmentation and segments.GetNumberOfSegments() == 6
    export.ui.exportNameEdit.setText("case1.nii.gz")
    click(export.ui.exportNiftiButton)
    assert export.ui.exportMessageLabel.text == (
        f"CT segmentation on CT: case1.nii.gz, case1.tsv written to {export.folder}.")
    segments.GetSegment("rectum").SetName("Anal canal")
    assert run(export, "pelvis-ct") is export.segmentation
    export.ui.exportNameEdit.setText("case2")
    click(export.ui.exportNiftiButton)
    assert "case2.nii.gz, case2.tsv written to" in export.ui.exportMessageLabel.text
    assert "NOT in these files: Anal canal." in export.ui.exportMessageLabel.text


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as on Unix")
def test_a_folder_within_one_that_is_closed_is_told(export):
    """As another user's on a shared workstation."""
    closed = export.folder / "closed"
    (closed / "export").mkdir(parents=True)
    export.ui.exportFolderButton.directory = str(closed / "export")
    closed.chmod(0)
    with unprivileged():
        click(export.ui.exportNrrdButton)
    closed.chmod(0o700)
    text = export.ui.exportMessageLabel.text
    assert text.startswith(f"Nothing can be written into {closed / 'export'}") and "choose another folder" in text


def test_the_folder_is_remembered(export, repository):
    import qt

    from AutofocusSegmentationLib.panels.export_controls import FOLDER_SETTING

    assert qt.QSettings().value(FOLDER_SETTING) == str(export.folder)
    export.ui.exportFolderButton.directory = str(export.folder / "gone")
    click(export.ui.exportNrrdButton)
    assert "does not exist" in export.ui.exportMessageLabel.text


def test_another_result_starts_anew(export, make_volume):
    click(export.ui.exportNrrdButton)
    assert export.ui.exportMessageLabel.isVisible()
    for name in ("t1", "t1ce", "t2", "flair"):
        make_volume(export_array(), name=name)
    run(export, "brain-tumour-mri")
    assert not export.ui.exportMessageLabel.isVisible()
    assert export.ui.exportNameEdit.text == "brain-tumour-mri"


def export_array():
    import numpy as np

    array = np.zeros((12, 14, 16), np.int16)
    array[3:-3, 3:-3, 3:-3] = 100
    return array


def test_without_segments_nothing_is_written_in_any_format(export):
    """As when all were deleted: they are not there, and so not empty either."""
    segments = export.segmentation.GetSegmentation()
    for item in list(segments.GetSegmentIDs()):
        segments.RemoveSegment(item)
    export.process()
    ui = export.ui
    for button in (ui.exportSegButton, ui.exportRtButton, ui.exportNrrdButton, ui.exportNiftiButton,
                   ui.exportStlButton):
        ui.exportMessageLabel.setText("")
        click(button)
        assert ui.exportMessageLabel.text == "There is nothing to export: this segmentation has no segments."
    assert not list(export.folder.iterdir())
