"""The fine-tuning panel beside the rest: one engine, closing the scene and Slicer, saved scenes."""

import json

import pytest
from clicks import click, spin
from tuning_panel import (
    add_study,
    check,
    checked,
    column,
    epoch,
    finish,
    message,
    run_begun,
    start,
    tick,
)
from tuning_results import write_state


def test_one_engine_at_a_time(listed):
    other = object()
    listed.one_engine.take(other, "A segmentation is running: wait until it has ended, or cancel it.")
    assert not listed.ui.startButton.enabled and not listed.ui.checkButton.enabled
    assert listed.ui.hintLabel.text.startswith("A segmentation is running")
    listed.one_engine.release(other)
    assert listed.ui.startButton.enabled and listed.one_engine.refusal(other) == ""
    engine = start(listed)
    assert listed.one_engine.refusal(other).startswith("A fine-tuning is running")
    engine.fail(1, "x")
    spin(lambda: not listed.panel.running)
    assert listed.one_engine.refusal(other) == ""


def test_closing_slicer_asks_and_waits_for_the_checkpoint(listed):
    engine = start(listed)
    write_state(engine.folder, "running")
    listed.window.answer = False
    assert listed.window.may_close() is False and not engine.cancelled
    listed.window.answer = True
    assert listed.window.may_close() is True
    assert engine.cancelled and not listed.panel.running and listed.window.may_close is None
    assert "resume it later" in listed.window.questions[-1] and engine.folder.exists()


def test_a_closed_scene_leaves_the_training_running(listed, scene):
    engine = start(listed)
    engine.tell(run_begun())
    engine.tell(epoch(0, None, 0.6))
    spin(lambda: scene.GetFirstNodeByClass("vtkMRMLPlotChartNode") is not None)
    listed.panel.scene_about_to_close()
    scene.Clear(0)
    listed.panel.set_parameters(listed.parameters())
    assert listed.panel.running and not engine.cancelled
    assert listed.ui.casesTable.rowCount == 0
    engine.tell(epoch(1, 0.5, 0.7))
    spin(lambda: scene.GetFirstNodeByClass("vtkMRMLPlotChartNode") is not None)
    table = scene.GetFirstNodeByClass("vtkMRMLPlotSeriesNode").GetTableNode()
    assert table.GetNumberOfRows() == 2
    finish(listed, engine)
    click(listed.ui.showHeldOutButton)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 3


def test_what_was_said_of_a_closed_scene_goes_with_it(listed, scene):
    start(listed).fail(1, "The training diverged.")
    spin(lambda: not listed.panel.running)
    assert message(listed) == "The training diverged." and listed.ui.tuneMessageIcon.isVisible()
    listed.panel.scene_about_to_close()
    scene.Clear(0)
    listed.panel.set_parameters(listed.parameters())
    assert message(listed) == "" and not listed.ui.tuneMessageIcon.isVisible()


def held_out_image(scene):
    """The volume over which the held-out case's segmentations lie."""
    nodes = [scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode")
             for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"))]
    shown = [node for node in nodes if node.GetName().startswith("case 3")]
    assert len(shown) == 3
    images = {node.GetNodeReference("referenceImageGeometryRef") for node in shown}
    assert len(images) == 1
    return images.pop()


def test_a_held_out_case_is_never_shown_over_another_patient_of_the_next_scene(listed, scene):
    """Ids of nodes begin anew in every scene."""
    engine, former = start(listed), listed.studies[2][0].GetID()
    listed.panel.scene_about_to_close()
    scene.Clear(0)
    others = [add_study(name)[0] for name in ("x", "y", "z")]
    assert former in [volume.GetID() for volume in others]
    listed.panel.set_parameters(listed.parameters())
    finish(listed, engine)
    click(listed.ui.showHeldOutButton)
    assert held_out_image(scene).GetName() == "case 3", "loaded from the case's own file"


def test_an_earlier_result_is_not_shown_over_the_images_of_a_later_training(listed, scene):
    finish(listed, start(listed))
    for _ in range(3):
        click(listed.ui.removeCaseButton)
    for _, segmentation in listed.studies:
        scene.RemoveNode(segmentation)
    for name in ("x", "y", "z"):
        add_study(name)
    click(listed.ui.fromSceneButton)
    assert column(listed.ui.casesTable, 0) == ["case 1: x", "case 2: y", "case 3: z"]
    later = start(listed)
    later.fail(1, "x")
    spin(lambda: not listed.panel.running)
    click(listed.ui.resumeButton)
    assert listed.ui.resumeButton.text == "Show result" and listed.ui.verdictLabel.isVisible()
    click(listed.ui.showHeldOutButton)
    assert held_out_image(scene).GetName() == "case 3"


def test_an_image_hardened_during_the_training_is_not_shown_with_it(listed, scene):
    import numpy as np
    import slicer.util

    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = np.eye(4)
    shift[0, 3] = 100
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    for node in listed.studies[2]:
        node.SetAndObserveTransformNodeID(transform.GetID())
    engine = start(listed)
    for node in listed.studies[2]:
        node.HardenTransform()
    finish(listed, engine)
    click(listed.ui.showHeldOutButton)
    image, segments, around = held_out_image(scene), np.zeros(6), np.zeros(6)
    assert image.GetName() == "case 3", "loaded from the case's own file"
    image.GetRASBounds(around)
    scene.GetFirstNodeByName("case 3: drawn").GetRASBounds(segments)
    assert (segments[0::2] > around[0::2] - 1).all() and (segments[1::2] < around[1::2] + 1).all()


@pytest.mark.parametrize("way", ["button", "start"])
def test_a_correction_in_a_shown_case_outlives_it(listed, scene, way):
    import slicer.util

    finish(listed, start(listed))
    click(listed.ui.showHeldOutButton)
    drawn, image = scene.GetFirstNodeByName("case 3: drawn"), listed.studies[2][0]
    segment_id = drawn.GetSegmentation().GetNthSegmentID(0)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(drawn, segment_id, image)
    mask[1:3] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, drawn, segment_id, image)
    click(listed.ui.showHeldOutButton if way == "button" else listed.ui.startButton)
    assert drawn.GetScene() is scene and drawn.GetName() == "case 3: drawn, edited"
    np_mask = slicer.util.arrayFromSegmentBinaryLabelmap(drawn, segment_id, image)
    assert np_mask[1:3].all()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 4
    if way == "button":
        click(listed.ui.fromSceneButton)
        assert column(listed.ui.casesTable, 0)[3:] == ["case 4: case 3: drawn, edited"]


def test_a_check_that_outlives_its_scene_says_nothing_of_the_next_ones_cases(listed, scene, tmp_path):
    import slicer.util

    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    click(listed.ui.checkButton)
    engine = listed.engines[-1]
    listed.panel.scene_about_to_close()
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    listed.panel.set_parameters(listed.parameters())
    engine.tell(checked("case 1"))
    engine.succeed()
    spin(lambda: not listed.panel.running)
    assert [case.name for case in listed.panel._list.cases] == ["case 1", "case 2", "case 3"]
    assert column(listed.ui.casesTable, 2) == ["Not checked"] * 3


def another_scene(listed, scene, file, base="pelvis-ct", fill=True):
    """Save the scene of patient y, with his case if `fill`; then list patients a and b in a scene of their own."""
    import slicer.util

    def choose(model):
        listed.panel.scene_about_to_close()
        scene.Clear(0)
        listed.panel.set_parameters(listed.parameters())
        listed.ui.baseSelector.setCurrentIndex(listed.ui.baseSelector.findData(model))

    choose(base)
    add_study("y")
    if fill:
        click(listed.ui.fromSceneButton)
    assert slicer.util.saveScene(str(file))
    choose("pelvis-ct")
    for name in "ab":
        add_study(name)
    click(listed.ui.fromSceneButton)


@pytest.mark.parametrize("fill", [True, False])
def test_the_cases_of_an_added_scene_come_behind_those_of_the_list(listed, scene, tmp_path, fill):
    """A parameter node is a singleton: the added scene's takes the place of this one's."""
    import slicer.util

    another_scene(listed, scene, tmp_path / "y.mrb", fill=fill)
    tick(listed.ui.casesTable, 1, 0, False)
    check(listed, checked("case 1"))
    slicer.util.loadScene(str(tmp_path / "y.mrb"))
    listed.panel.set_parameters(listed.parameters())
    shown = ["case 1: a", "case 2: b", "case 3: y"] if fill else ["case 1: a", "case 2: b"]
    assert column(listed.ui.casesTable, 0) == shown
    assert column(listed.ui.casesTable, 2)[0] == "1 of 6 drawn", "what was checked stays so"
    cases = listed.panel._list.cases
    assert [case.use for case in cases] == [True, False, True][: len(shown)]
    assert all(case.inputs["ct"].GetName() == f"CT {case.source}" for case in cases)
    assert slicer.util.saveScene(str(tmp_path / "both.mrb"))
    listed.panel.scene_about_to_close()
    scene.Clear(0)
    listed.panel.set_parameters(listed.parameters())
    assert listed.ui.casesTable.rowCount == 0, "a closed scene's cases are gone"
    slicer.util.loadScene(str(tmp_path / "both.mrb"))
    listed.panel.set_parameters(listed.parameters())
    assert column(listed.ui.casesTable, 0) == shown


def test_the_added_cases_of_another_base_model_are_left_to_from_scene(listed, scene, tmp_path):
    import slicer.util

    another_scene(listed, scene, tmp_path / "y.mrb", base="brain-tumour-mri")
    slicer.util.loadScene(str(tmp_path / "y.mrb"))
    listed.panel.set_parameters(listed.parameters())
    assert listed.ui.baseSelector.currentData == listed.parameters().tuning_base == "pelvis-ct"
    assert column(listed.ui.casesTable, 0) == ["case 1: a", "case 2: b"] and listed.ui.startButton.enabled
    click(listed.ui.fromSceneButton)
    assert column(listed.ui.casesTable, 0)[2:] == ["case 3: y"]


def test_another_base_model_empties_the_list_only_when_told_to(listed):
    selector = listed.ui.baseSelector
    chosen, other = selector.currentIndex, 1 - selector.currentIndex
    listed.window.answer = False
    selector.setCurrentIndex(other)
    assert "list of cases is emptied" in listed.window.questions[-1]
    assert selector.currentIndex == chosen and listed.ui.casesTable.rowCount == 3
    listed.window.answer = True
    selector.setCurrentIndex(other)
    assert selector.currentIndex == other and listed.ui.casesTable.rowCount == 0
    asked = len(listed.window.questions)
    selector.setCurrentIndex(chosen)
    assert len(listed.window.questions) == asked, "nothing to lose, nothing to ask"


def test_cleanup_leaves_nothing_running(listed):
    engine = start(listed)
    listed.panel.cleanup()
    assert engine.cancelled and listed.window.may_close is None and not listed.panel.running


def test_the_scene_keeps_cases_and_choices(listed, scene, tmp_path):
    import slicer.util

    check(listed, *(checked(f"case {n}") for n in (1, 2, 3)))
    listed.ui.holdOutSelector.setCurrentIndex(2)
    tick(listed.ui.casesTable, 0, 0, False)
    tick(listed.ui.casesTable, 1, 1)
    listed.ui.casesTable.setCurrentCell(1, 0)
    tick(listed.ui.structuresTable, 0, 2)
    listed.ui.titleEdit.setText("Ours")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    listed.panel.scene_about_to_close()
    scene.Clear(0)
    listed.panel.set_parameters(listed.parameters())
    assert listed.ui.casesTable.rowCount == 0
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    listed.panel.set_parameters(listed.parameters())
    assert column(listed.ui.casesTable, 0) == [f"case {n}: patient {letter}" for n, letter in enumerate("abc", 1)]
    first, second, third = listed.panel._list.cases
    assert (first.use, second.hold_out, second.absent) == (False, True, {"prostate"})
    assert second.segmentation.GetName() == "patient b" and second.inputs["ct"].GetName() == "CT patient b"
    assert listed.ui.titleEdit.text == "Ours" and third.use and listed.ui.startButton.enabled


@pytest.mark.parametrize("damage", [
    "not JSON", "[" * 100000, "null", "7", "{}", "[3]", "[null]", "[{}]", {"inputs": 7}, {"inputs": [7]},
    {"inputs": {"ct": 7}}, {"name": None}, {"mapping": [1]}, {"absent": "bladder"}, {"absent": [[]]}, {"source": None},
])
def test_a_damaged_list_of_cases_does_not_keep_the_scene_from_loading(listed, damage):
    """The text comes with a scene. A damaged case is left out, the others are there."""
    node = listed.parameters().parameterNode
    cases = json.loads(node.GetParameter("FineTuning.Cases"))
    if isinstance(damage, dict):
        cases[1] |= damage
    node.SetParameter("FineTuning.Cases", damage if isinstance(damage, str) else json.dumps(cases))
    listed.panel.scene_about_to_close()
    listed.panel.set_parameters(listed.parameters())
    whole = [] if isinstance(damage, str) else ["case 1: patient a", "case 3: patient c"]
    assert column(listed.ui.casesTable, 0) == whole
