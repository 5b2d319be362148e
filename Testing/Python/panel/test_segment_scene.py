"""The segment panel by clicks, with a fake engine: closing the scene and Slicer, output, saved scenes."""

from clicks import click, spin
from engine_result import write_result
from segment_steps import selector, start

# Closing


def test_closing_the_scene_cancels(ready, module, scene):
    engine = start(ready)
    ready.panel.scene_about_to_close()
    scene.Clear(0)
    ready.panel.set_parameters(ready.logic.getParameterNode())
    assert engine.cancelled
    spin(lambda: not ready.panel.running)
    assert ready.ui.messageLabel.text == "The scene was closed: the running segmentation was cancelled."
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert not engine.folder.exists()
    assert ready.ui.segmentButton.text == "Segment" and not ready.ui.segmentButton.enabled


def test_closing_the_scene_forgets_what_failed_in_it(ready, scene, make_ct):
    """Nothing of one patient stands over the images of the next: no message, no log, no list of studies."""
    engine = start(ready)
    selector(ready, "ct").setCurrentNode(make_ct("CT second"))
    ready.process()
    click(ready.ui.segmentButton)
    engine.fail(3, "The image holds no patient.")
    spin(lambda: len(ready.engines) == 2)
    ready.engines[-1].fail(3, "The image holds no patient.")
    spin(lambda: not ready.panel.running)
    assert ready.ui.messageLabel.text == "The image holds no patient." and ready.ui.queueArea.isVisible()
    ready.panel.scene_about_to_close()
    scene.Clear(0)
    ready.panel.set_parameters(ready.logic.getParameterNode())
    assert not ready.ui.messageLabel.isVisible() and not ready.ui.queueArea.isVisible()
    assert ready.ui.logText.toPlainText() == "" and ready.ui.queueList.count == 0


def test_closing_slicer_asks_first(ready):
    engine = start(ready)
    ready.window.answer = False
    assert ready.window.may_close() is False
    assert ready.panel.running and not engine.cancelled
    ready.window.answer = True
    assert ready.window.may_close() is True
    assert engine.cancelled and not ready.panel.running
    assert len(ready.window.questions) == 2
    assert ready.window.may_close is None, "nothing is asked when nothing runs"


def test_cleanup_leaves_nothing(ready):
    engine = start(ready)
    ready.panel.cleanup()
    assert engine.cancelled and not engine.folder.exists()
    assert not ready.panel.run._timer.active
    assert ready.window.may_close is None
    ready.process()


# Output and scene


def test_writing_into_an_edited_segmentation_is_announced(ready, scene):
    import slicer.util

    from afnet.models.manifest import find_model

    write_result(start(ready), find_model("pelvis-ct"))
    spin(lambda: not ready.panel.running)
    segmentation = ready.logic.getParameterNode().result
    ready.ui.outputSelector.setCurrentNode(segmentation)
    assert ready.ui.outputProblemLabel.isVisible()
    assert "Prostate" not in ready.ui.outputProblemLabel.text
    segmentation.GetSegmentation().GetSegment("femur_left").SetName("Femur_L")
    ready.panel.enter()
    assert "are replaced" in ready.ui.outputProblemLabel.text, "its TG-263 name is no other meaning"
    array = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "prostate", ready.volume)
    array[:] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, "prostate", ready.volume)
    ready.panel.enter()
    assert "Prostate" in ready.ui.outputProblemLabel.text


def test_the_scene_keeps_choices_and_results(ready, scene, tmp_path):
    import slicer.util

    from afnet.models.manifest import find_model

    ready.ui.deviceSelector.setCurrentIndex(2)
    write_result(start(ready), find_model("pelvis-ct"))
    spin(lambda: not ready.panel.running)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    ready.panel.scene_about_to_close()
    scene.Clear(0)
    ready.panel.set_parameters(ready.logic.getParameterNode())
    assert selector(ready, "ct").currentNode() is None
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    ready.panel.set_parameters(ready.logic.getParameterNode())
    assert ready.ui.modelSelector.currentData == "pelvis-ct"
    assert ready.ui.deviceSelector.currentText == "CPU"
    assert selector(ready, "ct").currentNode().GetName() == "CT"
    assert ready.ui.segmentButton.enabled
