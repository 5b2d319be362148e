"""Several studies one after the other, by clicks, with fake engines; and the ways in which one can end."""

import shutil
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk
from clicks import choose_model, click, scene_state, spin
from engine_result import write_result
from pictures import Pictures

from afnet.models.manifest import find_model

sys.path.append(str(Path(__file__).resolve().parents[1] / "slicer"))

from test_study import sequence_of  # noqa: E402


@pytest.fixture
def two(panel, make_ct):
    """The panel with two CTs, the first one running; `first`, `second` are the volumes."""
    panel.first, panel.second = make_ct("CT first"), make_ct("CT second")
    choose_model(panel.ui, "pelvis-ct")
    choose(panel, panel.first)
    click(panel.ui.segmentButton)
    assert panel.panel.running
    return panel


def choose(panel, volume):
    import qt

    panel.widget.findChild(qt.QWidget, "ctSelector").setCurrentNode(volume)
    panel.process()


def queue_second(panel):
    choose(panel, panel.second)
    click(panel.ui.segmentButton)


def rows(panel) -> list[str]:
    return [panel.ui.queueList.item(row).text() for row in range(panel.ui.queueList.count)]


def done(panel, number):
    """Let the engine of run `number` end well."""
    write_result(panel.engines[number], find_model("pelvis-ct"))


def test_a_grey_button_says_why_during_a_run(two):
    hint = two.ui.segmentHintLabel
    assert not two.ui.segmentButton.enabled and hint.isVisible() and "choose other images" in hint.text
    choose_model(two.ui, "brain-tumour-mri")
    assert not two.ui.segmentButton.enabled and hint.isVisible() and hint.text == "Choose a volume for T1."
    choose_model(two.ui, "pelvis-ct")
    choose(two, two.second)
    assert two.ui.segmentButton.enabled and not hint.isVisible()


def test_the_second_study_waits_and_then_runs(two, scene):
    assert two.ui.segmentButton.text == "Add to queue" and not two.ui.queueArea.isVisible()
    queue_second(two)
    assert rows(two) == ["Running: CT first, Male pelvis on CT", "Waiting: CT second, Male pelvis on CT"]
    assert two.ui.queueArea.isVisible() and len(two.engines) == 1
    done(two, 0)
    spin(lambda: len(two.engines) == 2)
    assert two.panel.running and two.ui.cancelButton.isVisible()
    first = two.logic.getParameterNode().result
    assert rows(two)[0].startswith("Done: CT first") and rows(two)[1].startswith("Running")
    done(two, 1)
    spin(lambda: not two.panel.running)
    results = [result.segmentation for result in two.results]
    role = results[0].GetReferenceImageGeometryReferenceRole()
    assert [each.GetNodeReference(role) for each in results] == [two.first, two.second]
    assert results[0] is first and results[1] is two.logic.getParameterNode().result
    assert two.ui.segmentButton.text == "Segment" and not two.ui.cancelButton.isVisible()
    click(two.ui.segmentButton)
    assert len(rows(two)) == 1 and not two.ui.queueArea.isVisible(), "a new series forgets those that have ended"


def test_the_same_study_is_not_queued_twice(two):
    assert not two.ui.segmentButton.enabled
    assert "waits" in two.ui.segmentButton.toolTip
    queue_second(two)
    assert not two.ui.segmentButton.enabled
    choose(two, None)
    assert not two.ui.segmentButton.enabled and "Choose a volume" in two.ui.segmentButton.toolTip
    assert len(rows(two)) == 2


def test_a_queued_study_keeps_its_own_choices(two, scene, make_volume):
    """Model, images, output, device, memory and precision as they were when it was queued."""
    output = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    two.ui.outputSelector.setCurrentNode(output)
    for name, row in (("device", 2), ("memory", 2), ("precision", 1)):
        getattr(two.ui, name + "Selector").setCurrentIndex(row)
    queue_second(two)
    two.ui.outputSelector.setCurrentNode(None)
    for name in ("device", "memory", "precision"):
        getattr(two.ui, name + "Selector").setCurrentIndex(0)
    choose_model(two.ui, "brain-tumour-mri")
    done(two, 0)
    spin(lambda: len(two.engines) == 2)
    first, second = (engine.request for engine in two.engines)
    assert (first.device, first.memory, first.precision) == ("auto", None, None)
    assert (second.device, second.memory, second.precision) == ("cpu", "2GB", "float32")
    assert second.model.name == "pelvis-ct" and list(second.inputs) == ["ct"]
    done(two, 1)
    spin(lambda: not two.panel.running)
    assert two.results[1].segmentation is output and output.GetSegmentation().GetNumberOfSegments() > 0


def show_frame(panel, browser, number):
    """As the Sequences toolbar does."""
    import slicer

    browser.SetSelectedItemNumber(number)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    panel.process()


def exported(engine):
    image = sitk.ReadImage(str(engine.folder / engine.request.inputs["ct"]))
    return set(sitk.GetArrayFromImage(image).flat)


def test_each_queued_frame_of_a_sequence_is_the_one_that_was_shown(two):
    """The user scrolls on while they wait; frame 1 is queued, then frame 3, and frame 2 is looked at."""
    browser, proxy = sequence_of([10, 20, 30], selected=0)
    proxy.SetName("4D CT")
    choose(two, proxy)
    click(two.ui.segmentButton)
    assert not two.ui.segmentButton.enabled, "the same frame twice"
    show_frame(two, browser, 2)
    assert two.ui.segmentButton.enabled
    click(two.ui.segmentButton)
    show_frame(two, browser, 1)
    titles = [f"Waiting: 4D CT, frame {number} of 3 (time {time} s), Male pelvis on CT"
              for number, time in ((1, 0), (3, 20))]
    assert rows(two)[1:] == titles
    for number, value in ((1, 10), (2, 30)):
        done(two, number - 1)
        spin(lambda number=number: len(two.engines) == number + 1)
        assert exported(two.engines[number]) == {value}
    done(two, 2)
    spin(lambda: not two.panel.running)
    notes = [result.segmentation.GetDescription() for result in two.results[1:]]
    assert ["frame 1 of 3" in notes[0], "frame 3 of 3" in notes[1]] == [True, True]
    from AutofocusSegmentationLib.segments.study_record import changed

    first, manifest = two.results[1].segmentation, find_model("pelvis-ct")
    assert "has changed since it was segmented" in changed(first, manifest), "attention maps of frame 2 would be wrong"
    show_frame(two, browser, 0)
    assert changed(first, manifest) == ""


def test_two_frames_into_one_output_are_refused(two, scene):
    browser, proxy = sequence_of([10, 20], selected=0)
    output = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    two.ui.outputSelector.setCurrentNode(output)
    choose(two, proxy)
    click(two.ui.segmentButton)
    show_frame(two, browser, 1)
    assert not two.ui.segmentButton.enabled
    assert two.ui.segmentButton.toolTip.startswith(
        f"A running or queued segmentation of {proxy.GetName()}, frame 1 of 2 (time 0 s) will be written into")


def test_a_queued_frame_that_lies_elsewhere_than_the_one_that_is_shown(two):
    """The result would be put where the shown one lies."""
    _browser, proxy = sequence_of([10, 20], selected=0)
    choose(two, proxy)
    click(two.ui.segmentButton)
    proxy.SetOrigin(50, 0, 0)
    done(two, 0)
    spin(lambda: not two.panel.running)
    assert two.ui.messageLabel.text == ("CT does not lie where the frame lay that was to be segmented: show that frame "
                                        "again, then segment it.")


def test_one_output_for_two_images_is_refused(two, scene):
    """The second result would take the place of the first: before it is there, and afterwards."""
    click(two.ui.cancelButton)
    spin(lambda: not two.panel.running)
    output = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    two.ui.outputSelector.setCurrentNode(output)
    two.process()
    click(two.ui.segmentButton)
    assert two.panel.running
    choose(two, two.second)
    assert not two.ui.segmentButton.enabled
    assert two.ui.segmentButton.toolTip.startswith("A running or queued segmentation of CT first will be")
    done(two, 1)
    spin(lambda: not two.panel.running)
    assert not two.ui.segmentButton.enabled
    assert two.ui.outputProblemLabel.text.startswith("The output holds what a model found in CT first")
    choose(two, two.first)
    assert two.ui.segmentButton.enabled and "are replaced" in two.ui.outputProblemLabel.text
    choose(two, two.second)
    two.ui.outputSelector.setCurrentNode(None)
    assert two.ui.segmentButton.enabled and not two.ui.outputProblemLabel.isVisible()


def test_a_failure_does_not_stop_the_next(two):
    queue_second(two)
    two.engines[0].fail(3, "The CT holds only one value: choose another volume.")
    spin(lambda: len(two.engines) == 2)
    assert rows(two)[0] == "Failed: CT first, Male pelvis on CT\nThe CT holds only one value: choose another volume."
    done(two, 1)
    spin(lambda: not two.panel.running)
    assert len(two.results) == 1 and rows(two)[1].startswith("Done")
    assert rows(two)[0].startswith("Failed"), "the reason stays to be read"
    assert two.ui.logText.toPlainText().count("Stage export") == 2 and "one value" in two.ui.logText.toPlainText()


def test_cancel_ends_the_running_one_only(two):
    """Somebody who sees nothing happen within a second presses again; the next study has begun meanwhile."""
    queue_second(two)
    click(two.ui.cancelButton)
    assert two.engines[0].cancelled
    spin(lambda: len(two.engines) == 2)
    assert two.panel.running and rows(two)[0].startswith("Cancelled")
    assert not two.ui.cancelButton.enabled and "has just begun" in two.ui.cancelButton.toolTip
    click(two.ui.cancelButton)
    assert not two.engines[1].cancelled and rows(two)[1].startswith("Running: CT second")
    spin(lambda: two.ui.cancelButton.enabled)
    assert two.ui.cancelButton.toolTip.startswith("Stop the segmentation that runs")
    click(two.ui.cancelButton)
    spin(lambda: not two.panel.running)
    assert two.results == [] and two.ui.messageLabel.text == "The segmentation was cancelled."


def test_a_waiting_study_can_be_removed_and_the_running_one_not(two):
    queue_second(two)
    assert not two.ui.removeButton.enabled
    two.ui.queueList.setCurrentRow(0)
    assert not two.ui.removeButton.enabled and "Cancel" in two.ui.removeButton.toolTip
    two.ui.queueList.setCurrentRow(1)
    click(two.ui.removeButton)
    assert rows(two) == ["Running: CT first, Male pelvis on CT"] and not two.ui.queueArea.isVisible()
    assert two.ui.segmentButton.enabled, "it can be queued again"
    done(two, 0)
    spin(lambda: not two.panel.running)
    assert len(two.engines) == 1


def test_an_image_removed_while_its_study_waits(two, scene):
    queue_second(two)
    scene.RemoveNode(two.second)
    done(two, 0)
    spin(lambda: not two.panel.running)
    assert len(two.engines) == 1 and len(two.results) == 1
    assert "skipped because one of its images" in two.ui.messageLabel.text and two.ui.messageIcon.isVisible()
    assert two.ui.segmentButton.text == "Segment"


def test_a_disk_that_fills_up_while_a_study_waits(two, scene, monkeypatch):
    queue_second(two)
    full = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    done(two, 0)
    spin(lambda: not two.panel.running)
    assert "not enough free disk space" in two.ui.messageLabel.text
    assert "not enough free disk space" in rows(two)[1]
    assert two.engines[1].request is None and len(two.results) == 1


def test_closing_the_scene_empties_the_queue_and_says_so(two, scene):
    queue_second(two)
    two.panel.scene_about_to_close()
    scene.Clear(0)
    two.panel.set_parameters(two.logic.getParameterNode())
    spin(lambda: not two.panel.running)
    assert two.ui.messageLabel.text == (
        "The scene was closed: the running segmentation was cancelled, and the queue emptied (1 waited).")
    assert len(two.engines) == 1 and not two.engines[0].folder.exists()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert not two.ui.queueArea.isVisible()


def test_closing_slicer_ends_all(two):
    queue_second(two)
    assert two.window.may_close() is True
    assert two.engines[0].cancelled and len(two.engines) == 1 and not two.panel.running


def test_cleanup_ends_all_and_tells(two):
    queue_second(two)
    two.panel.cleanup()
    assert two.engines[0].cancelled and len(two.engines) == 1
    assert two.window.told == ["The module was closed or loaded again, so the running segmentation was cancelled."]
    assert not two.panel.run._timer.active and two.window.may_close is None


def test_cleanup_of_an_idle_panel_tells_nothing(panel):
    panel.panel.cleanup()
    assert panel.window.told == []


@pytest.mark.parametrize("stage", ["start", "read", "prepare", "network", "restore", "write"])
def test_cancel_at_each_stage(two, scene, stage):
    before = scene_state(scene)
    engine = two.engines[0]
    if stage != "start":
        engine.say(stage, 0.5, 10)
        spin(lambda: two.ui.progressBar.value == 50)
    click(two.ui.cancelButton)
    spin(lambda: not two.panel.running)
    assert two.ui.messageLabel.text == "The segmentation was cancelled."
    assert not engine.folder.exists() and scene_state(scene) == before
    assert two.ui.segmentButton.enabled and two.ui.segmentButton.text == "Segment"


def test_no_busy_cursor(two):
    from PySide6.QtWidgets import QApplication

    assert QApplication.overrideCursor() is None
    queue_second(two)
    two.engines[0].say("network", 0.5)
    two.process()
    assert QApplication.overrideCursor() is None


def test_pictures(two, tmp_path):
    two.host.resize(350, 900)
    pictures = Pictures(tmp_path)
    queue_second(two)
    two.engines[0].say("network", 0.3, 45)
    spin(lambda: two.ui.progressBar.value == 30)
    one = pictures.grab(two.host, "queue-1-running")
    two.engines[0].fail(3, "The CT holds only one value: choose another volume.")
    spin(lambda: len(two.engines) == 2)
    assert one != pictures.grab(two.host, "queue-2-next")
