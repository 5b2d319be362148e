"""The results section by clicks: table, views, edits and their mending, a second run, a saved scene."""

import numpy as np
import pytest
from clicks import choose_model, click, click_cell, rows, spin
from engine_result import write_result

from afnet.models.manifest import find_model

SHOWN, COLOR, NAME, VOLUME, STATUS = range(5)
VOXEL_ML = 2**3 / 1000

TUMOUR = {2: ((3, 9), (3, 11), (2, 14)), 1: ((4, 8), (4, 10), (4, 12)), 4: ((5, 7), (5, 9), (6, 10))}
"""Label-map code -> box: the three regions in each other."""


def run(panel, model, codes=None):
    """Segment with a fake engine; returns the segmentation node."""
    choose_model(panel.segment.ui, model)
    panel.process()
    click(panel.segment.ui.segmentButton)
    write_result(panel.engines[-1], find_model(model), codes)
    spin(lambda: not panel.segment.running)
    return panel.logic.getParameterNode().result


@pytest.fixture
def pelvis(results, make_ct):
    """The results of a pelvic CT: boxes of 2 x 2 x 2 voxels of 8 mm3."""
    results.volume = make_ct()
    results.segmentation = run(results, "pelvis-ct")
    return results


@pytest.fixture
def brain(results, make_volume):
    for name in ("t1", "t1ce", "t2", "flair"):
        array = np.zeros((12, 14, 16), np.int16)
        array[2:-2, 2:-2, 1:-1] = 100
        volume = make_volume(array, name=f"phantom {name}", ijk_to_ras=np.diag([2.0, 2.0, 2.0, 1.0]))
        if name == "t1ce":
            results.volume = volume
    results.segmentation = run(results, "brain-tumour-mri", TUMOUR)
    return results


def paint(panel, segment_id, box, value):
    """Edit a segment as the Segment Editor does, which keeps the surfaces up to date."""
    import slicer.util

    from AutofocusSegmentationLib.scene.grids import grid_of_volume
    from AutofocusSegmentationLib.segments.voxels import cut_to_box, replace_voxels

    mask = slicer.util.arrayFromSegmentBinaryLabelmap(panel.segmentation, segment_id, panel.volume) != 0
    mask[box] = value
    replace_voxels(panel.segmentation, segment_id, cut_to_box(mask), grid_of_volume(panel.volume))
    panel.process()


def show_scene(panel):
    """What the module's widget does after a scene was closed or loaded."""
    for each in (panel.segment, panel.panel):
        each.set_parameters(panel.logic.getParameterNode())


# The table


def test_the_table(pelvis):
    import qt

    structures = find_model("pelvis-ct").structures
    assert rows(pelvis.ui.resultsTable, NAME, VOLUME) == [(structure.name, "0.06") for structure in structures]
    color = pelvis.ui.resultsTable.item(0, COLOR).data(qt.Qt.DecorationRole)
    assert (color.red(), color.green(), color.blue()) == structures[0].color
    assert structures[0].definition in pelvis.ui.resultsTable.item(0, NAME).toolTip()


def test_the_check_box_shows_and_hides(pelvis):
    """In both directions: from the table to the views, and from wherever else to the table."""
    import qt

    display, table = pelvis.segmentation.GetDisplayNode(), pelvis.ui.resultsTable
    click_cell(table, 2, SHOWN)
    assert not display.GetSegmentVisibility("bladder") and display.GetSegmentVisibility("prostate")
    click_cell(table, 2, SHOWN)
    assert display.GetSegmentVisibility("bladder")
    display.SetSegmentVisibility("rectum", False)
    spin(lambda: table.item(3, SHOWN).checkState() == qt.Qt.Unchecked)
    assert not display.GetSegmentVisibility("rectum")


def test_names_and_colours_follow_the_scene(pelvis):
    import qt

    segment, table = pelvis.segmentation.GetSegmentation().GetSegment("bladder"), pelvis.ui.resultsTable
    segment.SetName("Urinary bladder")
    segment.SetColor(0, 0, 1)
    spin(lambda: table.item(2, NAME).text() == "Urinary bladder")
    assert table.item(2, COLOR).data(qt.Qt.DecorationRole).blue() == 255
    pelvis.segmentation.GetSegmentation().AddEmptySegment("mine", "Mine", (1, 1, 0))
    spin(lambda: table.rowCount == 7)
    assert rows(table, NAME, STATUS)[-1] == ("Mine", "Added")
    pelvis.segmentation.GetSegmentation().RemoveSegment("mine")
    spin(lambda: table.rowCount == 6)


def test_a_row_brings_the_slices_to_its_structure_and_says_what_it_is(pelvis, scene):
    """Pressing the check box alone does not move the slices."""
    slices = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    table = pelvis.ui.resultsTable
    assert not pelvis.ui.definitionLabel.isVisible()
    offset = slices.GetSliceOffset()
    click_cell(table, 4, SHOWN)
    assert slices.GetSliceOffset() == offset
    click_cell(table, 4, NAME)
    assert slices.GetSliceOffset() == pytest.approx(2 * 4)  # the first slice of the box, 2 mm apart
    assert pelvis.ui.definitionLabel.text.startswith("Left femur (Femur_L in TG-263): Head, neck and shaft")
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    QTest.keyClick(table, Qt.Key_Up)
    assert pelvis.ui.definitionLabel.text.startswith("Rectum (Rectum in TG-263)")


def test_what_is_cut_off_left_out_or_not_found_is_told(results, make_ct):
    """In the engine's own notes, and of each structure in the table."""
    codes = {1: ((4, 6), (4, 6), (6, 8)), 3: ((4, 6), (4, 6), (0, 4)), 5: ((4, 6), (8, 10), (0, 4))}
    make_ct()
    choose_model(results.segment.ui, "pelvis-ct")
    results.process()
    click(results.segment.ui.segmentButton)
    note = "Cut off by the scan's inferior edge: prostate; the volumes are those of the part that the scan shows."
    write_result(results.engines[-1], find_model("pelvis-ct"), codes, edges={"bladder", "prostate", "femur_left"},
                 left_out={"seminal_vesicles"}, notes=[note])
    spin(lambda: not results.segment.running)
    status = dict(rows(results.ui.resultsTable, NAME, STATUS))
    assert status["Bladder"] == "Flagged" and status["Rectum"] == "Not found"
    assert results.ui.notesLabel.text == note
    click_cell(results.ui.resultsTable, 2, NAME)
    assert "a part of it may be missing" in results.ui.definitionLabel.text
    assert status["Seminal vesicles"] == "Withheld"
    click_cell(results.ui.resultsTable, 1, NAME)
    assert results.ui.definitionLabel.text.endswith("Withheld as implausible; see the notes.")
    click_cell(results.ui.resultsTable, 3, NAME)
    assert results.ui.definitionLabel.text.endswith("The model did not find it.")


# Views


def test_a_new_result_is_brought_into_view(results, make_ct, make_volume, scene):
    other = make_volume(name="other")
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetBackgroundVolumeID(other.GetID())
    volume = make_ct()
    segmentation = run(results, "pelvis-ct")
    assert results.window.arranged == 1
    assert composite.GetBackgroundVolumeID() == volume.GetID()
    assert segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    assert results.ui.show3DButton.checked
    composite.SetBackgroundVolumeID(other.GetID())
    click(results.ui.viewsButton)
    assert results.window.arranged == 2 and composite.GetBackgroundVolumeID() == volume.GetID()


def test_a_result_that_comes_while_another_is_edited_waits_to_be_shown(pelvis, make_ct, scene):
    """The views stay on what the user edits; the module shows the new result when it is entered."""
    from AutofocusSegmentationLib.views.display import is_shown_in_3d

    arranged, pelvis.window.in_front = pelvis.window.arranged, False
    other = make_ct("CT other")
    pelvis.logic.getParameterNode().set_input_node("ct", other)
    pelvis.process()
    second = run(pelvis, "pelvis-ct")
    assert pelvis.window.arranged == arranged and not is_shown_in_3d(second)
    assert second is not pelvis.segmentation and not second.GetDisplayNode().GetVisibility()
    assert pelvis.segmentation.GetDisplayNode().GetVisibility()
    assert pelvis.window.told[-1].startswith("CT other segmentation is ready")
    pelvis.logic.getParameterNode().set_input_node("ct", make_ct("CT third"))
    pelvis.process()
    third = run(pelvis, "pelvis-ct")
    pelvis.window.in_front = True
    pelvis.panel.enter()
    assert pelvis.window.arranged == arranged + 1
    assert is_shown_in_3d(third) and third.GetDisplayNode().GetVisibility()
    assert not second.GetDisplayNode().GetVisibility(), "it would lie over the third's image"
    assert second.GetSegmentation().ContainsRepresentation("Closed surface"), "shown in 3D once it is chosen"
    pelvis.panel.enter()
    assert pelvis.window.arranged == arranged + 1, "once"


def test_show_3d_and_edit(pelvis, scene):
    segmentation = pelvis.segmentation
    click(pelvis.ui.show3DButton)
    assert not segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    click(pelvis.ui.show3DButton)
    assert segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    assert segmentation.GetDisplayNode().GetVisibility3D()
    click_cell(pelvis.ui.resultsTable, 3, NAME)
    click(pelvis.ui.editButton)
    assert pelvis.window.modules == ["SegmentEditor"]
    editor = scene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    assert editor.GetSegmentationNode() is segmentation
    assert editor.GetSourceVolumeNode() is pelvis.volume
    assert editor.GetSelectedSegmentID() == "rectum"
    assert editor.GetOverwriteMode() == editor.OverwriteAllSegments


def test_the_editor_is_ready_before_it_opens(brain, scene):
    """It reads its node when it opens: overlapping regions must be safe by then."""
    seen = []

    def choose(name):
        editor = scene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        seen.append((name, editor.GetSegmentationNode(), editor.GetOverwriteMode() == editor.OverwriteNone))

    brain.window.choose_module = choose
    click(brain.ui.editButton)
    assert seen == [("SegmentEditor", brain.segmentation, True)]


def test_the_editor_never_keeps_the_image_of_another_result(pelvis, make_ct, scene):
    """Strokes by intensity would take that image's voxels, and it would be shown behind."""
    pelvis.logic.getParameterNode().set_input_node("ct", make_ct("CT of another patient", (12, 14, 18)))
    pelvis.process()
    other = run(pelvis, "pelvis-ct")
    click(pelvis.ui.editButton)
    editor = scene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    assert (editor.GetSegmentationNode(), editor.GetSourceVolumeNode().GetName()) == (other, "CT of another patient")
    scene.RemoveNode(pelvis.volume)
    pelvis.panel._result_chosen(pelvis.segmentation)
    click(pelvis.ui.editButton)
    assert editor.GetSegmentationNode() is pelvis.segmentation and editor.GetSourceVolumeNode() is None


def test_surfaces_are_called_so_and_not_edited(pelvis):
    """Nobody can tell what was edited in them, so a DICOM SEG goes on calling them automatic."""
    from AutofocusSegmentationLib.segments.tags import ALGORITHM_TYPE, tag_of

    segments = pelvis.segmentation.GetSegmentation()
    segments.CreateRepresentation("Closed surface")
    segments.SetSourceRepresentationName("Closed surface")
    pelvis.panel.enter()
    assert {row[0] for row in rows(pelvis.ui.resultsTable, STATUS)} == {"Surface"}
    click_cell(pelvis.ui.resultsTable, 2, NAME)
    assert "choose Make source for Binary labelmap" in pelvis.ui.definitionLabel.text
    assert "edited it" not in pelvis.ui.definitionLabel.text
    assert {tag_of(segments.GetSegment(each), ALGORITHM_TYPE) for each in segments.GetSegmentIDs()} == {"AUTOMATIC"}


def test_surfaces_from_which_all_else_is_made_are_hidden_not_removed(pelvis):
    """Made the source representation in the module Segmentations, they are the segments."""
    segments = pelvis.segmentation.GetSegmentation()
    segments.SetSourceRepresentationName("Closed surface")
    for shown in (False, True):
        click(pelvis.ui.show3DButton)
        pelvis.process()
        assert pelvis.ui.show3DButton.checked is shown
        assert bool(pelvis.segmentation.GetDisplayNode().GetVisibility3D()) is shown
        assert all(segments.GetSegment(each).GetRepresentation("Closed surface") for each in segments.GetSegmentIDs())


# Edits


def test_volumes_follow_an_edit_on_request(pelvis):
    table = pelvis.ui.resultsTable
    assert not pelvis.ui.updateButton.enabled
    paint(pelvis, "bladder", np.s_[4:6, 4:6, 2:12], 1)
    assert rows(table, NAME, VOLUME, STATUS)[2] == ("Bladder", "0.06", ""), "no look at the voxels at every stroke"
    assert pelvis.ui.updateButton.enabled
    click(pelvis.ui.updateButton)
    assert rows(table, NAME, VOLUME, STATUS)[2] == ("Bladder", f"{40 * VOXEL_ML:.2f}", "Edited")
    assert not pelvis.ui.updateButton.enabled
    assert "As segmented: 0.1 ml." in table.item(2, NAME).toolTip()
    paint(pelvis, "bladder", np.s_[:], 0)
    pelvis.panel.enter()
    assert rows(table, NAME, VOLUME, STATUS)[2] == ("Bladder", "0.0", "Edited")


def test_regions_that_no_longer_nest_are_mended_by_one_click(brain):
    assert not brain.ui.nestingButton.isVisible() and not brain.ui.nestingLabel.isVisible()
    paint(brain, "enhancing_tumour", np.s_[5, 5, 6:15], 1)
    brain.panel.enter()
    assert "Enhancing tumour extends outside Tumour core by 3 voxels (0.02 ml)" in brain.ui.nestingLabel.text
    before = dict(rows(brain.ui.resultsTable, NAME, VOLUME))
    brain.window.answer = False
    click(brain.ui.nestingButton)
    assert "cannot undo" in brain.window.questions[-1] and "adds these voxels" in brain.window.questions[-1]
    assert brain.ui.nestingButton.isVisible() and dict(rows(brain.ui.resultsTable, NAME, VOLUME)) == before
    brain.window.answer = True
    click(brain.ui.nestingButton)
    assert not brain.ui.nestingButton.isVisible() and not brain.ui.nestingLabel.isVisible()
    after = dict(rows(brain.ui.resultsTable, NAME, VOLUME))
    assert before["Enhancing tumour"] == after["Enhancing tumour"]
    assert (before["Tumour core"], after["Tumour core"]) == ("1.5", "1.6")  # 192 voxels, then 195: 1.536, 1.560
    assert dict(rows(brain.ui.resultsTable, NAME, STATUS)) == {
        "Whole tumour": "Edited", "Tumour core": "Edited", "Enhancing tumour": "Edited"}


def test_a_second_run_keeps_edits_and_the_users_view(pelvis, scene):
    """Into the same segmentation: the edited bladder stays, the new one comes beside it, 3D stays off."""
    paint(pelvis, "bladder", np.s_[4:6, 4:6, 2:12], 1)
    click(pelvis.ui.show3DButton)
    click_cell(pelvis.ui.resultsTable, 0, SHOWN)
    pelvis.segment.ui.outputSelector.setCurrentNode(pelvis.segmentation)
    assert run(pelvis, "pelvis-ct") is pelvis.segmentation
    table = rows(pelvis.ui.resultsTable, NAME, VOLUME, STATUS)
    assert ("Bladder", "0.32", "Edited") in table and ("Bladder (new)", "0.06", "") in table and len(table) == 7
    assert not pelvis.ui.show3DButton.checked
    assert not pelvis.segmentation.GetDisplayNode().GetSegmentVisibility("prostate")


# Scene


def test_deleting_the_result_hides_it(pelvis, scene):
    assert pelvis.ui.resultsSection.isVisible()
    scene.RemoveNode(pelvis.segmentation)
    assert not pelvis.ui.resultsSection.isVisible()


def test_deleting_the_image_leaves_the_result_usable(pelvis, scene):
    scene.RemoveNode(pelvis.volume)
    for button in (pelvis.ui.viewsButton, pelvis.ui.updateButton, pelvis.ui.editButton, pelvis.ui.show3DButton):
        click(button)
    pelvis.panel.enter()
    assert len(rows(pelvis.ui.resultsTable, NAME)) == 6


def test_the_scene_keeps_the_results(brain, scene, tmp_path):
    """Table, visibility, status, opacities, what is shown in 3D, and that the edit is still seen as one."""
    import slicer.util

    logic = slicer.vtkSlicerSegmentationsModuleLogic
    click_cell(brain.ui.resultsTable, 1, SHOWN)
    segments = brain.segmentation.GetSegmentation()
    logic.SetSegmentStatus(segments.GetSegment("tumour_core"), logic.Completed)
    paint(brain, "enhancing_tumour", np.s_[5, 5, 6:15], 1)
    brain.panel.enter()
    before = rows(brain.ui.resultsTable, *range(5))
    sentence = brain.ui.nestingLabel.text
    assert [row[STATUS] for row in before] == ["", "Completed", "Edited"] and sentence
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    brain.segment.scene_about_to_close()
    brain.panel.set_parameters(None)
    scene.Clear(0)
    show_scene(brain)
    assert not brain.ui.resultsSection.isVisible()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    show_scene(brain)
    brain.process()
    assert rows(brain.ui.resultsTable, *range(5)) == before
    assert brain.ui.nestingLabel.text == sentence
    assert brain.ui.show3DButton.checked
    loaded = brain.logic.getParameterNode().result
    assert loaded is not brain.segmentation
    display = loaded.GetDisplayNode()
    assert display.GetSegmentOpacity3D("whole_tumour") == pytest.approx(0.3)
    assert not display.GetSegmentVisibility2DFill("whole_tumour")
    assert not display.GetSegmentVisibility("tumour_core")
    click_cell(brain.ui.resultsTable, 1, SHOWN)
    assert display.GetSegmentVisibility("tumour_core"), "the table drives the loaded node"


def test_cleanup_leaves_nothing(pelvis, scene):
    pelvis.panel.cleanup()
    assert pelvis.panel.Observations == []
    assert not pelvis.panel._timer.active
    pelvis.segmentation.GetDisplayNode().SetSegmentVisibility("prostate", False)
    pelvis.segmentation.GetSegmentation().AddEmptySegment("mine", "Mine", (1, 1, 0))
    pelvis.process()
    assert not pelvis.panel._timer.active


def test_a_renamed_segment_says_what_the_model_made_it_as(pelvis):
    """As where a user corrects the side; a name of the same meaning is no news."""
    segments = pelvis.segmentation.GetSegmentation()
    segments.GetSegment("femur_left").SetName("Right femur ")
    segments.GetSegment("femur_right").SetName("Femur_R")
    pelvis.process()
    assert rows(pelvis.ui.resultsTable, NAME, STATUS)[4:] == [("Right femur ", "Renamed"), ("Femur_R", "")]
    click_cell(pelvis.ui.resultsTable, 4, NAME)
    assert pelvis.ui.definitionLabel.text == (
        "The model made it as Left femur. You renamed it; a run into this segmentation keeps it and adds a new one "
        "beside it.")
