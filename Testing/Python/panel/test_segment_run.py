"""The segment panel by clicks, with a fake engine: segmenting, cancelling, failing."""

import pytest
from clicks import click, scene_state, spin
from engine_result import write_result
from segment_steps import start


def test_segment(ready, scene):
    from afnet.models.manifest import find_model

    engine = start(ready)
    assert engine.request.arguments()[:1] == ["segment"]
    assert engine.request.device == "auto"
    assert all(engine.files[name] > 0 for name in engine.request.inputs.values())
    assert ready.ui.cancelButton.isVisible() and ready.ui.cancelButton.enabled
    engine.say("network", 0.42, 100.0)
    engine.note("The GPU has too little memory, so the CPU is used.")
    spin(lambda: ready.ui.progressBar.value == 42)
    assert ready.ui.messageLabel.text == "Segmenting, about 2 min left"

    manifest = find_model("pelvis-ct")
    write_result(engine, manifest)
    spin(lambda: not ready.panel.running)
    assert ready.ui.segmentButton.text == "Segment" and ready.ui.segmentButton.enabled
    assert not engine.folder.exists()
    segmentation = ready.logic.getParameterNode().result
    assert [result.segmentation for result in ready.results] == [segmentation]
    assert segmentation.GetSegmentation().GetNumberOfSegments() == len(manifest.structures)
    assert ready.ui.outputSelector.currentNode() is None, "a second run must not overwrite this result"
    assert ready.messages.shown == []


def test_the_window_stays_free(ready):
    """Nothing blocks while the engine works: the event loop runs, and the timer polls about ten times a second."""
    import time

    engine = start(ready)
    before, end, turns = engine.polls, time.monotonic() + 1.05, 0
    while time.monotonic() < end:
        ready.process()
        turns += 1
        time.sleep(0.005)
    assert turns > 50
    assert 5 <= engine.polls - before <= 12


def test_cancel(ready, scene):
    before = scene_state(scene)
    engine = start(ready)
    folder = engine.folder
    click(ready.ui.cancelButton)
    assert engine.cancelled
    assert not ready.ui.cancelButton.enabled, "one Cancel is enough"
    spin(lambda: not ready.panel.running)
    assert ready.ui.messageLabel.text == "The segmentation was cancelled."
    assert ready.ui.segmentButton.text == "Segment" and ready.ui.segmentButton.enabled
    assert not ready.ui.progressBar.isVisible() and not ready.ui.messageIcon.isVisible()
    assert not folder.exists()
    assert scene_state(scene) == before
    assert ready.results == []


def test_cancel_as_the_engine_finishes_still_means_cancel(ready, scene):
    from afnet.models.manifest import find_model

    before = scene_state(scene)
    engine = start(ready)
    click(ready.ui.cancelButton)
    write_result(engine, find_model("pelvis-ct"))
    spin(lambda: not ready.panel.running)
    assert scene_state(scene) == before


def test_a_refusal_of_the_engine_is_one_sentence(ready, scene):
    before = scene_state(scene)
    engine = start(ready)
    sentence = "The CT holds only one value: choose another volume."
    engine.fail(3, sentence, details=f"afnet: line one\n{sentence}\nafnet: line two")
    spin(lambda: not ready.panel.running)
    assert ready.ui.messageLabel.text == sentence
    assert ready.ui.messageIcon.isVisible()
    log = ready.ui.logText.toPlainText()
    assert "line two" in log and log.count(sentence) == 1, "the engine prints it, too"
    assert ready.messages.shown == [], "no pop-up"
    assert not engine.folder.exists()
    assert scene_state(scene) == before


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_no_name_of_an_image_goes_into_the_log(ready, make_ct, when):
    """It may be a patient's, and the log is what is sent to others. The panel says it below the output."""
    from afnet.models.manifest import find_model

    engine = start(ready)
    write_result(engine, find_model("pelvis-ct"))
    spin(lambda: not ready.panel.running)
    output, other = ready.logic.getParameterNode().result, make_ct("CT Meier Hans 1950", (12, 14, 18))
    ready.logic.getParameterNode().output = output
    output.RemoveAttribute("AutofocusSegmentation.Study")  # else that says of which image it is
    ready.process()
    if when == "before":
        study = ready.panel._study()
        output.SetReferenceImageGeometryParameterFromVolumeNode(other)
        ready.panel.run.add(study)
    else:
        click(ready.ui.segmentButton)
        output.SetReferenceImageGeometryParameterFromVolumeNode(other)
        write_result(ready.engines[-1], find_model("pelvis-ct"))
        spin(lambda: not ready.panel.running)
    sentence = "The output holds what a model found in another image"
    assert sentence in ready.ui.messageLabel.text and sentence in ready.ui.logText.toPlainText()
    assert "Meier" not in ready.ui.logText.toPlainText()
    ready.panel._check_output()
    assert "found in CT Meier Hans 1950" in ready.ui.outputProblemLabel.text


def test_a_full_disk_is_told_before_anything_starts(ready, scene, monkeypatch):
    import shutil

    before = scene_state(scene)
    full = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    click(ready.ui.segmentButton)
    assert "not enough free disk space" in ready.ui.messageLabel.text
    assert not ready.panel.running and ready.engines[-1].request is None
    assert scene_state(scene) == before


def test_a_damaged_result_leaves_the_scene_unchanged(ready, scene, vtk_errors):
    before = scene_state(scene)
    engine = start(ready)
    (engine.folder / engine.request.output).write_bytes(b"NRRD0004\n")
    (engine.folder / "report.json").write_text("{}", encoding="ascii")
    engine.succeed()
    spin(lambda: not ready.panel.running)
    assert ready.ui.messageIcon.isVisible() and ready.ui.messageLabel.text
    assert scene_state(scene) == before
    vtk_errors.clear()


@pytest.mark.parametrize("change", ["move", "remove"])
def test_a_reference_changed_meanwhile_is_noticed(ready, scene, change):
    from afnet.models.manifest import find_model

    engine = start(ready)
    write_result(engine, find_model("pelvis-ct"))
    if change == "move":
        ready.volume.SetOrigin(10, 20, 30)
    else:
        scene.RemoveNode(ready.volume)
    spin(lambda: not ready.panel.running)
    assert "discarded because its image was" in ready.ui.messageLabel.text
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_defect_of_ours_ends_the_engine_and_is_told(ready, scene):
    engine = start(ready)

    def broken():
        raise KeyError("defect")

    original, engine.poll = engine.poll, broken
    ready.panel.run.queue.poll()
    assert engine.cancelled
    engine.poll = original
    spin(lambda: not ready.panel.running)
    assert "unexpected error (KeyError)" in ready.ui.messageLabel.text
    assert not engine.folder.exists()
