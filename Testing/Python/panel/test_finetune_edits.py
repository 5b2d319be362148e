"""The fine-tuning panel after its cases were edited in other modules: what was said of them is said anew."""

import shutil

import numpy as np
import pytest
import slicer
from clicks import click, spin
from tuning_panel import SHAPE, add_study, check, checked, column, message, start
from tuning_results import make_image

from harness.scene_makers import make_volume


def choose(tuning, model):
    tuning.ui.baseSelector.setCurrentIndex(tuning.ui.baseSelector.findData(model))


def come_back(tuning):
    tuning.panel.enter()
    tuning.process()


def test_a_models_result_is_used_once_it_is_corrected(tuning, make_ct):
    from attention_study import segmented

    from afnet.models.manifest import find_model
    from AutofocusSegmentationLib.scene.grids import grid_of_volume
    from AutofocusSegmentationLib.segments.voxels import Voxels, replace_voxels

    volume = make_ct()
    segmentation = segmented(find_model("pelvis-ct"), {"ct": volume})
    choose(tuning, "pelvis-ct")
    click(tuning.ui.fromSceneButton)
    assert column(tuning.ui.casesTable, 2) == ["Not corrected"] and not tuning.ui.startButton.enabled
    come_back(tuning)
    assert column(tuning.ui.casesTable, 2) == ["Not corrected"]
    replace_voxels(segmentation, "prostate", Voxels((2, 2, 2), np.ones((5, 5, 5), bool)), grid_of_volume(volume))
    come_back(tuning)
    assert column(tuning.ui.casesTable, 2) == ["Not checked"] and tuning.ui.startButton.enabled
    assert "not corrected" not in tuning.ui.caseLabel.text
    assert "not corrected" not in tuning.parameters().parameterNode.GetParameter("FineTuning.Cases")


@pytest.mark.parametrize("edit", ["renamed", "removed", "painted", "other"])
def test_a_check_is_forgotten_when_the_segmentation_was_edited(listed, edit):
    from AutofocusSegmentationLib.scene.grids import grid_of_volume
    from AutofocusSegmentationLib.segments.voxels import Voxels, replace_voxels

    check(listed, *(checked(f"case {number}") for number in (1, 2, 3)))
    volume, node = listed.studies[0]
    segments = node.GetSegmentation()
    if edit == "renamed":
        segments.GetSegment("Blase").SetName("Bladder")
    elif edit == "removed":
        segments.RemoveSegment("Blase")
    elif edit == "painted":
        replace_voxels(node, "Blase", Voxels((2, 2, 2), np.ones((5, 5, 5), bool)), grid_of_volume(volume))
    else:
        node.CreateDefaultDisplayNodes()
        node.CreateClosedSurfaceRepresentation()
    come_back(listed)
    first = "1 of 6 drawn" if edit == "other" else "Not checked"
    assert column(listed.ui.casesTable, 2) == [first, "1 of 6 drawn", "1 of 6 drawn"]


def test_a_file_that_was_written_again_is_to_be_checked_again(tuning, tmp_path):
    place = tmp_path / "cases" / "one"
    make_image(place / "ct.nrrd")
    shutil.copyfile(place / "ct.nrrd", place / "labels.nrrd")
    choose(tuning, "pelvis-ct")
    tuning.window.folder = str(tmp_path / "cases")
    click(tuning.ui.fromFolderButton)
    check(tuning, checked("case 1"))
    come_back(tuning)
    assert column(tuning.ui.casesTable, 2) == ["1 of 6 drawn"]
    (place / "labels.nrrd").write_bytes(b"another")
    come_back(tuning)
    assert column(tuning.ui.casesTable, 2) == ["Not checked"]


def test_a_check_of_what_was_edited_meanwhile_is_not_taken(listed):
    click(listed.ui.checkButton)
    engine = listed.engines[-1]
    listed.studies[0][1].GetSegmentation().GetSegment("Blase").SetName("Bladder")
    come_back(listed)
    for number in (1, 2, 3):
        engine.tell(checked(f"case {number}"))
    engine.succeed()
    spin(lambda: not listed.panel.running)
    assert column(listed.ui.casesTable, 2) == ["Not checked", "1 of 6 drawn", "1 of 6 drawn"]


def test_a_correction_of_a_segment_that_went_does_not_reach_the_engine(listed):
    import json

    check(listed, *(checked(f"case {number}") for number in (1, 2, 3)))
    listed.panel._list.cases[0].mapping = {"Blase": "bladder", "Gone": None}
    check(listed, *(checked(f"case {number}") for number in (1, 2, 3)))
    engine = start(listed)
    entry = json.loads((engine.folder / "training" / "inputs" / "cases.json").read_text())["cases"][0]
    assert entry["mapping"] == {"Blase": "bladder"}


def test_an_image_that_was_deleted_and_loaded_again_is_found(listed, scene):
    volume, node = listed.studies[0]
    scene.RemoveNode(volume)
    come_back(listed)
    assert "load it again and press From scene" in listed.ui.hintLabel.text
    again = make_volume(np.zeros(SHAPE, np.int16), "CT patient a", np.diag([2.0, 2.0, 2.0, 1.0]))
    node.SetReferenceImageGeometryParameterFromVolumeNode(again)
    click(listed.ui.fromSceneButton)
    assert message(listed) == "" and column(listed.ui.casesTable, 2) == ["Not checked"] * 3
    assert listed.panel._list.cases[0].inputs["ct"] is again and listed.ui.startButton.enabled


def test_a_segmentation_that_was_deleted_and_loaded_again_is_a_new_case(listed, scene):
    scene.RemoveNode(listed.studies[0][1])
    come_back(listed)
    assert "remove this case from the list" in listed.ui.hintLabel.text
    add_study("patient a")
    click(listed.ui.fromSceneButton)
    click(listed.ui.removeCaseButton)  # the first is selected
    assert column(listed.ui.casesTable, 0) == ["case 2: patient b", "case 3: patient c", "case 4: patient a"]
    assert listed.ui.startButton.enabled


def test_an_image_without_a_telling_name_is_asked_for_without_a_chooser(tuning):
    volume, _ = add_study("drawn")
    volume.SetName("Series 1")
    choose(tuning, "brain-tumour-mri")
    click(tuning.ui.fromSceneButton)
    assert "It is not known which image is its T1" in tuning.ui.hintLabel.text
    assert "Choose a volume" not in tuning.ui.hintLabel.text and "press From scene" in tuning.ui.hintLabel.text


def test_the_row_and_the_label_name_image_and_segmentation(listed):
    assert "CT: CT patient a\nSegmentation: patient a" in listed.ui.casesTable.item(0, 0).toolTip()
    assert listed.ui.caseLabel.text == "CT: CT patient a\nSegmentation: patient a"


def test_folders_that_were_left_out_are_named(tuning, tmp_path):
    for name, files in (("one", ("ct", "a.seg", "b.seg")), ("two", ("ct",)), ("three", ("ct", "labels"))):
        for file in files:
            make_image(tmp_path / "cases" / name / f"{file}.nrrd")
    choose(tuning, "pelvis-ct")
    tuning.window.folder = str(tmp_path / "cases")
    click(tuning.ui.fromFolderButton)
    assert column(tuning.ui.casesTable, 0) == ["case 1: three"]
    assert "one holds a.seg.nrrd, b.seg.nrrd" in message(tuning) and message(tuning).endswith(": two.")
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []
