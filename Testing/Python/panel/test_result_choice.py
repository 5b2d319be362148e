"""Several results in a scene, by clicks: which one is looked at, whose it is, and what the views show of the others."""

import sys
from pathlib import Path

import numpy as np
import pytest
from clicks import choose_model, click, click_cell, rows, spin
from engine_result import write_result
from result_lines import said
from test_results_panel import NAME, SHOWN, STATUS, TUMOUR, VOLUME, brain, paint, pelvis, run, show_scene  # noqa: F401

from afnet.models.manifest import find_model

sys.path.append(str(Path(__file__).resolve().parents[1] / "slicer"))

from study_nodes import put_in_study  # noqa: E402
from test_result_edits import clone_of  # noqa: E402


def choose(panel, segmentation):
    """As a user does in the list of results."""
    import slicer
    from PySide6.QtWidgets import QComboBox

    box = panel.ui.resultSelector.findChild(QComboBox)
    index = box.findData(segmentation.GetID())
    assert index >= 0, "it is not offered"
    box.setCurrentIndex(index)
    box.activated.emit(index)
    slicer.app.processEvents()


def offered(panel):
    selector = panel.ui.resultSelector
    return [selector.nodeFromIndex(number).GetName() for number in range(selector.nodeCount())]


def visible(*segmentations):
    return [bool(each.GetDisplayNode().GetVisibility()) for each in segmentations]


@pytest.fixture
def two(pelvis, make_ct):  # noqa: F811
    """The results of two patients, the second one shown; `drawn` is a segmentation of the user's own."""
    from harness.scene_makers import make_segmentation

    pelvis.drawn = make_segmentation(pelvis.volume, {"mine": np.ones((12, 14, 16), bool)}, "drawn by hand")
    pelvis.first, pelvis.brown = pelvis.segmentation, make_ct("CT Brown")
    pelvis.logic.getParameterNode().set_input_node("ct", pelvis.brown)
    pelvis.process()
    pelvis.second = run(pelvis, "pelvis-ct")
    return pelvis


def test_the_results_say_whose_they_are_and_can_be_chosen(two, scene):
    """Table, views, export and the attention's parameter follow; a user's own segmentations are not offered."""
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    assert offered(two) == ["CT segmentation", "CT Brown segmentation"]
    assert two.ui.resultSelector.currentNode() is two.second is two.logic.getParameterNode().result
    paint(two, "bladder", np.s_[4:6, 4:6, 2:12], 1)
    choose(two, two.first)
    assert two.logic.getParameterNode().result is two.first
    assert rows(two.ui.resultsTable, NAME, VOLUME, STATUS)[2] == ("Bladder", "0.32", "Edited")
    assert composite.GetBackgroundVolumeID() == two.volume.GetID()
    assert two.panel._export._segmentation is two.first
    assert two.ui.resultSelector.currentNode() is two.first


def test_images_of_the_same_name_are_told_apart_by_their_study(results, make_ct):
    """As scanners name them; a segmentation's name is the user's to change."""
    for patient in ("Adams", "Brown"):
        volume = make_ct("2: Pelvis")
        put_in_study(volume, patient, "planning", "CT")
        results.logic.getParameterNode().set_input_node("ct", volume)
        segmentation = run(results, "pelvis-ct")
        assert results.ui.resultInfoLabel.text.splitlines()[0] == f"Image: 2: Pelvis ({patient} / planning)"
    assert segmentation.GetName() == "2: Pelvis segmentation_1"


def test_a_long_name_does_not_widen_the_panel(two):
    two.first.SetName("a" * 80)
    two.brown.SetName("b" * 80)
    two.panel.enter()
    two.process()
    label = two.ui.resultInfoLabel
    assert "aaa" in label.text and "bbb" in label.text
    assert two.widget.minimumSizeHint.width() <= 350
    assert label.height >= 2 * label.fontMetrics().height(), "both lines are seen"


def test_nodes_without_a_name_are_told_as_such(two):
    two.first.SetName("")
    two.brown.SetName("")
    two.panel.enter()
    two.process()
    assert said(two) == [
        "Image: (without a name)", "(without a name) is hidden: choose it above to see it."]
    choose_model(two.segment.ui, "pelvis-ct")
    click(two.segment.ui.segmentButton)
    assert [entry.title for entry in two.segment.run.queue.entries] == ["(without a name), Male pelvis on CT"]
    two.ui.exportSection.collapsed = False
    two.process()
    click(two.ui.exportNrrdButton)
    assert two.ui.exportMessageLabel.text.startswith("CT Brown segmentation on (without a name): pelvis-ct.seg.nrrd")


def test_only_the_chosen_result_is_shown(two):
    """Outlines of one patient over another, or of two runs over each other, could not be told apart."""
    assert visible(two.first, two.second, two.drawn) == [False, True, True]
    assert said(two) == ["CT segmentation is hidden: choose it above to see it."]
    choose(two, two.first)
    assert visible(two.first, two.second, two.drawn) == [True, False, True]
    third = run(two, "pelvis-ct")
    assert visible(two.first, two.second, third) == [False, False, True]
    assert said(two) == ["2 other results are hidden: choose one above to see it."]


def test_a_deleted_result_makes_way_for_an_earlier_one(two, scene):
    scene.RemoveNode(two.second)
    two.process()
    assert two.ui.resultsSection.isVisible()
    assert two.ui.resultSelector.currentNode() is two.first is two.logic.getParameterNode().result
    assert "This result is hidden" in two.ui.resultInfoLabel.text
    click(two.ui.viewsButton)
    assert visible(two.first) == [True] and said(two) == []
    scene.RemoveNode(two.first)
    assert not two.ui.resultsSection.isVisible()


def test_a_segmentation_that_takes_a_result_is_offered(pelvis):  # noqa: F811
    """It was in the scene before it was one."""
    from harness.scene_makers import make_segmentation

    drawn = make_segmentation(pelvis.volume, {"mine": np.ones((12, 14, 16), bool)}, "drawn by hand")
    assert offered(pelvis) == ["CT segmentation"]
    pelvis.segment.ui.outputSelector.setCurrentNode(drawn)
    assert run(pelvis, "pelvis-ct") is drawn
    assert offered(pelvis) == ["CT segmentation", "drawn by hand"]
    assert pelvis.ui.resultSelector.currentNode() is drawn
    assert pelvis.ui.resultInfoLabel.text.splitlines()[0] == "Image: CT", "its name does not say so"


def test_the_result_in_the_segment_editor_stays_chosen(two):
    """The other one is told of, hidden, and there to be chosen."""
    from AutofocusSegmentationLib.segments.tags import results_in_scene

    choose(two, two.first)
    click(two.ui.editButton)
    two.window.in_front = False
    arranged = two.window.arranged
    assert run(two, "pelvis-ct") is two.first  # of Brown again
    third = results_in_scene()[-1]
    assert two.window.told[-1].startswith("CT Brown segmentation_1 is ready: choose it under Results")
    two.window.in_front = True
    two.panel.enter()
    assert two.logic.getParameterNode().result is two.first is two.ui.resultSelector.currentNode()
    assert visible(two.first, third) == [True, False] and two.window.arranged == arranged
    choose(two, third)
    assert visible(two.first, third) == [False, True] and two.ui.show3DButton.checked
    two.window.modules.append("Data")  # another module than the editor: the result on the screen is not worked on
    two.window.in_front = False
    fourth = run(two, "pelvis-ct")
    assert two.logic.getParameterNode().result is fourth


def test_a_result_that_the_user_has_taken_up_stays_chosen(two):
    """One that comes from the queue is told of, hidden, and there to be chosen; the name for export stays."""
    from PySide6.QtTest import QTest

    def begin():
        click(two.segment.ui.segmentButton)
        return two.engines[-1]

    def end(engine):
        write_result(engine, find_model("pelvis-ct"))
        spin(lambda: not two.segment.running)
        return slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[-1]

    import slicer.util

    engine = begin()
    choose(two, two.first)
    two.ui.exportNameEdit.setText("plan 17")
    third = end(engine)
    assert two.logic.getParameterNode().result is two.first is two.ui.resultSelector.currentNode()
    assert visible(two.first, two.second, third) == [True, False, False] and two.ui.exportNameEdit.text == "plan 17"
    assert two.window.told == ["CT Brown segmentation_1 is ready: choose it under Results in Autofocus Segmentation."]
    two.process()
    assert said(two) == ["CT Brown segmentation_1 is ready: choose it above to see it.",
                         "CT Brown segmentation is hidden: choose it above to see it."], "until it is chosen"
    choose(two, third)
    assert visible(two.first, third) == [False, True] and two.ui.show3DButton.checked
    assert said(two) == ["2 other results are hidden: choose one above to see it."]
    fourth = end(begin())
    assert two.logic.getParameterNode().result is fourth, "chosen before that run began"
    two.ui.exportSection.collapsed = False
    two.process()
    engine = begin()
    QTest.keyClicks(two.ui.exportNameEdit, "17")
    end(engine)
    assert two.logic.getParameterNode().result is fourth and two.ui.exportNameEdit.text == "pelvis-ct17"


def test_a_run_into_the_chosen_result_is_shown(two):
    two.segment.ui.outputSelector.setCurrentNode(two.second)
    click(two.segment.ui.segmentButton)
    choose(two, two.first)
    choose(two, two.second)
    write_result(two.engines[-1], find_model("pelvis-ct"), {1: ((3, 9), (3, 9), (3, 6))})
    spin(lambda: not two.segment.running)
    assert rows(two.ui.resultsTable, NAME, VOLUME)[0] == ("Prostate", "0.86") and two.window.told == []


def test_what_is_said_of_hidden_results_follows_the_scene(two):
    """As the user shows one in the Data module."""
    assert said(two) == ["CT segmentation is hidden: choose it above to see it."]
    two.first.GetDisplayNode().SetVisibility(True)
    two.process()
    assert said(two) == ["The views show CT segmentation, too: press Show in views to see this result alone."]
    click(two.ui.viewsButton)
    assert said(two) == ["CT segmentation is hidden: choose it above to see it."] and not any(visible(two.first))


def test_an_image_that_was_moved_or_deleted_is_told(pelvis, scene):  # noqa: F811
    assert said(pelvis) == []
    pelvis.volume.SetOrigin(-50, 0, 0)
    pelvis.panel.enter()
    assert pelvis.ui.resultInfoLabel.text.startswith("CT no longer lies where it was when this was made")
    scene.RemoveNode(pelvis.volume)
    pelvis.panel.enter()
    assert pelvis.ui.resultInfoLabel.text.startswith("Its image is not in the scene, or not known")


def regrid(segmentation, volume, box, oversampling=1):
    """Specify geometry in the Segment Editor: the box (i, j, k) of the image's voxels, each cut into smaller ones."""
    import slicer

    from AutofocusSegmentationLib.scene.grids import VoxelGrid, grid_of_volume
    from AutofocusSegmentationLib.segments.voxels import Voxels, label_map, segment_voxels

    grid = grid_of_volume(volume)
    into = np.diag([*[1 / oversampling] * 3, 1.0])
    into[:3, 3] = [side.start + (1 / oversampling - 1) / 2 for side in box]
    finer = VoxelGrid(grid.matrix @ into, tuple((side.stop - side.start) * oversampling for side in box))
    segments, logic = segmentation.GetSegmentation(), slicer.vtkSlicerSegmentationsModuleLogic
    for segment_id in segments.GetSegmentIDs():
        voxels = segment_voxels(segmentation, segment_id, grid)
        mask = voxels.mask.repeat(oversampling, 0).repeat(oversampling, 1).repeat(oversampling, 2)
        start = tuple((first - side.start) * oversampling for first, side in zip(voxels.start, box))
        segments.SeparateSegmentLabelmap(segment_id)
        logic.SetBinaryLabelmapToSegment(
            label_map(Voxels(start, mask), finer), segmentation, segment_id, logic.MODE_REPLACE)
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    image = label_map(Voxels((0, 0, 0), np.ones(finer.size[::-1], bool)), finer)
    segments.SetConversionParameter(name, slicer.vtkSegmentationConverter.SerializeImageGeometry(image))


@pytest.mark.parametrize("box, oversampling", [
    (np.s_[0:16, 0:14, 0:12], 2), (np.s_[0:15, 2:12, 1:11], 1), (np.s_[0:15, 2:12, 1:11], 3)],
    ids=["finer", "cropped", "both"])
def test_voxels_of_its_own_are_no_moved_image(pelvis, box, oversampling):  # noqa: F811
    """Who followed that advice lost the edits. Once the image is moved, it is told."""
    from AutofocusSegmentationLib.results.output_check import output_problem

    regrid(pelvis.segmentation, pelvis.volume, box, oversampling)
    pelvis.panel.enter()
    label = pelvis.ui.resultInfoLabel
    assert said(pelvis) == ["This result's geometry (finer or cropped) differs from that of CT."]
    assert rows(pelvis.ui.resultsTable, NAME, VOLUME)[2] == ("Bladder", "0.06")
    problem = output_problem(find_model("pelvis-ct"), pelvis.volume, pelvis.segmentation)
    assert problem == ("The output's geometry differs from the image's (finer or cropped): choose a new segmentation "
                       "as output.")
    pelvis.volume.SetOrigin(5, 0, 0)
    pelvis.panel.enter()
    assert label.text.startswith("CT no longer lies where it was when this was made")
    problem = output_problem(find_model("pelvis-ct"), pelvis.volume, pelvis.segmentation)
    assert "or before the image was moved" in problem


@pytest.mark.parametrize("move", ["shifted by a part of a voxel", "turned", "under a transform"])
def test_an_image_that_moved_little_is_told(pelvis, scene, move):  # noqa: F811
    import slicer.util

    turn = np.diag([2.0, 2.0, 2.0, 1.0])
    turn[:2, :2] = 2 * np.array([[np.cos(0.05), -np.sin(0.05)], [np.sin(0.05), np.cos(0.05)]])
    if move == "turned":
        pelvis.volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(turn))
    elif move == "under a transform":
        transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        slicer.util.updateTransformMatrixFromArray(transform, np.diag([1.0, 1.0, 1.0, 1.0]) + np.eye(4, k=3))
        pelvis.volume.SetAndObserveTransformNodeID(transform.GetID())
    else:
        pelvis.volume.SetOrigin(0.3, 0, 0)
    pelvis.panel.enter()
    assert pelvis.ui.resultInfoLabel.text.startswith("CT no longer lies where it was when this was made")


def test_a_clone_is_not_told_the_volumes_of_another_run(pelvis):  # noqa: F811
    """Kept as it was, before its original was segmented again."""
    clone = clone_of(pelvis.segmentation)
    pelvis.segment.ui.outputSelector.setCurrentNode(pelvis.segmentation)
    assert run(pelvis, "pelvis-ct", {1: ((4, 8), (4, 8), (2, 8))}) is pelvis.segmentation
    choose(pelvis, clone)
    tips = [pelvis.ui.resultsTable.item(row, NAME).toolTip() for row in range(6)]
    assert not [tip for tip in tips if "As segmented" in tip] and not pelvis.ui.notesLabel.isVisible()
    choose(pelvis, pelvis.segmentation)
    assert rows(pelvis.ui.resultsTable, NAME, STATUS)[2] == ("Bladder", "Not found")
    assert not pelvis.ui.notesLabel.isVisible(), "the table says it"


def test_a_renamed_structure_is_not_defined_by_its_old_name(pelvis):  # noqa: F811
    click_cell(pelvis.ui.resultsTable, 2, NAME)
    assert pelvis.ui.definitionLabel.text.startswith("Bladder")
    pelvis.segmentation.GetSegmentation().GetSegment("bladder").SetName("PTV boost")
    pelvis.process()
    assert pelvis.ui.definitionLabel.text.startswith("The model made it as Bladder. You renamed it")


def test_a_result_hidden_as_a_whole_is_not_shown_as_on(pelvis):  # noqa: F811
    """With the eye in the Data module."""
    display, table = pelvis.segmentation.GetDisplayNode(), pelvis.ui.resultsTable

    def hide():
        display.SetVisibility(False)
        pelvis.process()
        assert {shown for (shown,) in rows(table, SHOWN)} == {"off"}
        assert not pelvis.ui.show3DButton.checked

    hide()
    pelvis.panel.enter()
    assert said(pelvis) == ["This result is hidden: press Show in views to see it."]
    click(pelvis.ui.viewsButton)
    assert display.GetVisibility() and {shown for (shown,) in rows(table, SHOWN)} == {"on"}
    hide()
    click_cell(table, 0, NAME)
    assert display.GetVisibility()
    hide()
    click_cell(table, 2, SHOWN)
    pelvis.process()
    assert display.GetVisibility()
    assert [shown for (shown,) in rows(table, SHOWN)] == ["off", "off", "on", "off", "off", "off"]


def test_a_result_that_nobody_has_seen_is_hidden_in_the_saved_scene_and_said_to_be(results, make_ct, scene, tmp_path):
    import slicer.util

    make_ct()
    results.window.in_front = False
    run(results, "pelvis-ct")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    results.segment.scene_about_to_close()
    results.panel.set_parameters(None)
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    show_scene(results)
    results.window.in_front = True
    results.panel.enter()
    assert {shown for (shown,) in rows(results.ui.resultsTable, SHOWN)} == {"off"}
    assert "This result is hidden" in results.ui.resultInfoLabel.text
    click(results.ui.viewsButton)
    assert visible(results.logic.getParameterNode().result) == [True]


def test_what_was_drawn_since_is_no_longer_not_found(results, make_ct):
    """Of what is approved as it is, the table says that, and below it that it was not found."""
    import slicer

    def told(row):
        click_cell(results.ui.resultsTable, row, NAME)
        return "The model did not find it." in results.ui.definitionLabel.text

    results.volume = make_ct()
    results.segmentation = run(results, "pelvis-ct", {3: ((4, 6), (4, 6), (4, 6))})
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    for item in ("prostate", "rectum"):
        logic.SetSegmentStatus(results.segmentation.GetSegmentation().GetSegment(item), logic.Completed)
    results.panel.enter()
    assert told(0) and told(3) and not told(2)
    paint(results, "prostate", np.s_[4:6, 4:6, 8:10], 1)
    results.panel.enter()
    assert told(3) and not told(0)


def test_nesting_mends_the_segmentation_that_was_asked_about(brain):  # noqa: F811
    """A result of another run comes while the question is open."""
    from AutofocusSegmentationLib.segments.nesting import check_nesting

    manifest = find_model("brain-tumour-mri")
    paint(brain, "enhancing_tumour", np.s_[5, 5, 6:15], 1)
    brain.panel.enter()
    click(brain.segment.ui.segmentButton)

    def confirm(question):
        assert question.startswith("Change the segments of phantom t1ce segmentation?")
        write_result(brain.engines[-1], manifest, TUMOUR)
        spin(lambda: not brain.segment.running)
        return True

    brain.window.confirm = confirm
    click(brain.ui.nestingButton)
    assert brain.logic.getParameterNode().result is brain.segmentation
    assert check_nesting(brain.segmentation, manifest) is None
    assert not brain.ui.nestingButton.isVisible()


def test_a_run_by_default_leaves_an_edited_result_alone(pelvis):  # noqa: F811
    """The tip says what a run into this segmentation does, and of what it is true."""
    paint(pelvis, "bladder", np.s_[4:6, 4:6, 2:12], 1)
    pelvis.panel.enter()
    tip = pelvis.ui.resultsTable.item(2, NAME).toolTip()
    assert "a run into this segmentation keeps it and adds a new one beside it" in tip
    assert run(pelvis, "pelvis-ct") is not pelvis.segmentation
    choose(pelvis, pelvis.segmentation)
    assert rows(pelvis.ui.resultsTable, NAME, STATUS)[2] == ("Bladder", "Edited")
    assert len(rows(pelvis.ui.resultsTable, NAME)) == 6


def test_all_sections_follow_the_chosen_result(open_module, models_folder, make_ct):
    """Through the module's own window: a run chooses its result, and the attention is that of the chosen one."""
    import slicer
    from panel_fakes import FakeEngine

    widget, engines = open_module(), []

    def make_engine():
        engines.append(FakeEngine())
        return engines[-1]

    widget.make_engine = make_engine
    for name in ("CT Adams", "CT Brown"):
        volume = make_ct(name)
        choose_model(widget.segment_panel.ui, "pelvis-ct")
        widget.logic.getParameterNode().set_input_node("ct", volume)
        spin(lambda: widget.segment_panel.ui.segmentButton.enabled)
        click(widget.segment_panel.ui.segmentButton)
        write_result(engines[-1], find_model("pelvis-ct"))
        spin(lambda: not widget.segment_panel.running)
        assert widget.attention_panel.ui.subjectLabel.text == f"Maps of: {name} segmentation"
        assert widget.results_panel.ui.resultSelector.currentNode().GetName() == f"{name} segmentation"
    choose(widget.results_panel, slicer.util.getNode("CT Adams segmentation"))
    assert widget.attention_panel.ui.subjectLabel.text == "Maps of: CT Adams segmentation"
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("CT Adams segmentation"))
    slicer.app.processEvents()
    assert widget.attention_panel.ui.subjectLabel.text == "Maps of: CT Brown segmentation"
    slicer.mrmlScene.Clear(0)
    slicer.app.processEvents()
    assert not widget.results_panel.ui.resultsSection.isVisible()
    assert widget.logic.getParameterNode().result is None
