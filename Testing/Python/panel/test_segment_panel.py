"""The panel by clicks, with a fake engine: choosing inputs, segmenting, cancelling, failing, closing."""

import numpy as np
import pytest
from clicks import choose_model, click, scene_state, spin
from engine_result import write_result


def selector(panel, name):
    import qt

    return panel.widget.findChild(qt.QWidget, name + "Selector")


def problem(panel, name):
    import qt

    label = panel.widget.findChild(qt.QLabel, name + "ProblemLabel")
    return label.text if label.isVisible() else ""


@pytest.fixture
def pelvis(panel, make_ct):
    """The panel, ready to segment a CT."""
    volume = make_ct()
    choose_model(panel.ui, "pelvis-ct")
    panel.process()
    assert panel.ui.segmentButton.enabled
    panel.volume = volume
    return panel


def start(panel):
    click(panel.ui.segmentButton)
    assert panel.engines and panel.panel.running
    return panel.engines[-1]


# Inputs


def test_slots_are_filled_by_name(panel, make_volume):
    nodes = {name: make_volume(name=f"BraTS2021_00000_{name}") for name in ("flair", "t1", "t1ce", "t2")}
    choose_model(panel.ui, "brain-tumour-mri")
    panel.process()
    chosen = {name: selector(panel, name).currentNode().GetName() for name in ("t1", "t1c", "t2", "flair")}
    expected = {"t1": nodes["t1"], "t1c": nodes["t1ce"], "t2": nodes["t2"], "flair": nodes["flair"]}
    assert chosen == {name: node.GetName() for name, node in expected.items()}
    assert panel.ui.segmentButton.enabled


def test_slots_are_filled_when_images_are_loaded_later(panel, make_ct):
    choose_model(panel.ui, "pelvis-ct")
    assert not panel.ui.segmentButton.enabled
    volume = make_ct("CT pelvis")
    panel.process()
    assert selector(panel, "ct").currentNode() is volume
    assert panel.ui.segmentButton.enabled


def test_a_choice_of_the_user_is_kept(panel, make_ct):
    first, second = make_ct("CT first"), make_ct("CT second")
    choose_model(panel.ui, "pelvis-ct")
    selector(panel, "ct").setCurrentNode(second)
    make_ct("CT third")
    panel.process()
    panel.panel.enter()
    assert selector(panel, "ct").currentNode() is second
    selector(panel, "ct").setCurrentNode(first)
    assert panel.logic.getParameterNode().input_node("ct") is first


def test_one_node_fills_one_slot_only(panel, make_volume):
    make_volume(name="T1 and T2 and FLAIR")
    choose_model(panel.ui, "brain-tumour-mri")
    panel.process()
    chosen = [selector(panel, name).currentNode() for name in ("t1", "t1c", "t2", "flair")]
    assert len([node for node in chosen if node]) == 1


def test_the_same_node_twice_is_explained_beside_the_slot(panel, make_volume):
    for name in ("flair", "t1", "t1ce", "t2"):
        make_volume(name=name)
    choose_model(panel.ui, "brain-tumour-mri")
    panel.process()
    selector(panel, "t2").setCurrentNode(selector(panel, "flair").currentNode())
    assert "the same volume" in problem(panel, "t2") + problem(panel, "flair")
    assert not panel.ui.segmentButton.enabled
    assert panel.ui.segmentButton.toolTip == (problem(panel, "t2") or problem(panel, "flair"))
    selector(panel, "t2").setCurrentNode(None)
    assert problem(panel, "t2") == "" and problem(panel, "flair") == ""


def test_what_is_missing_is_in_the_tool_tip(panel):
    choose_model(panel.ui, "brain-tumour-mri")
    assert not panel.ui.segmentButton.enabled
    assert "T1" in panel.ui.segmentButton.toolTip


def test_label_maps_are_not_offered(panel, make_volume):
    label_map = make_volume(np.ones((4, 4, 4), np.uint8), name="CT labels", label=True)
    choose_model(panel.ui, "pelvis-ct")
    panel.process()
    selector(panel, "ct").setCurrentNode(label_map)
    assert selector(panel, "ct").currentNode() is None


def test_attention_maps_are_not_offered(panel, make_ct):
    volume, attention = make_ct("CT"), make_ct("CT of something")
    choose_model(panel.ui, "pelvis-ct")
    attention.SetAttribute("AutofocusSegmentation.Attention", "map")
    panel.panel.enter()
    assert selector(panel, "ct").currentNode() is volume
    selector(panel, "ct").setCurrentNode(attention)
    assert selector(panel, "ct").currentNode() is None and selector(panel, "ct").nodeCount() == 1


def test_removing_an_image_empties_its_slot(pelvis, scene):
    scene.RemoveNode(pelvis.volume)
    pelvis.process()
    assert not pelvis.ui.segmentButton.enabled
    assert pelvis.logic.getParameterNode().input_node("ct") is None


# Models


def test_the_model_says_for_whom_it_is(panel):
    from afnet.manifest import find_model

    choose_model(panel.ui, "pelvis-ct")
    text = panel.ui.modelInfoLabel.text
    assert find_model("pelvis-ct").population in text
    assert "Not for clinical use." in text


def test_models_of_the_user_are_listed_and_a_broken_one_says_why(panel, copy_model):
    copy_model("my-pelvis", title="My pelvis")
    (copy_model("broken") / "model.json").write_text("{", encoding="utf-8")
    panel.panel.enter()
    texts = [panel.ui.modelSelector.itemText(row) for row in range(panel.ui.modelSelector.count)]
    assert "My pelvis" in texts
    choose_model(panel.ui, "broken")
    assert "cannot be read" in panel.ui.modelInfoLabel.text
    assert not panel.ui.segmentButton.enabled
    choose_model(panel.ui, "my-pelvis")
    assert panel.logic.getParameterNode().model == "my-pelvis"


def test_the_models_folder_is_a_setting(panel, copy_model, tmp_path):
    from AutofocusSegmentationLib import models

    copy_model("my-pelvis")
    panel.panel.enter()
    panel.ui.modelsFolderButton.directory = str(tmp_path)
    assert models.user_models_folder() == tmp_path
    assert panel.ui.modelSelector.findData("my-pelvis") < 0


def test_without_pytorch_segment_says_what_to_install(pelvis, monkeypatch):
    from AutofocusSegmentationLib import doctor

    monkeypatch.setattr(doctor, "find_torch", lambda places=None: doctor.TorchFiles())
    pelvis.panel.enter()
    assert not pelvis.ui.segmentButton.enabled
    assert "PyTorch is not installed" in pelvis.ui.segmentButton.toolTip
    monkeypatch.undo()
    pelvis.panel.enter()
    assert pelvis.ui.segmentButton.enabled


# Running


def test_segment(pelvis, scene):
    from afnet.manifest import find_model

    engine = start(pelvis)
    assert engine.request.arguments()[:1] == ["segment"]
    assert engine.request.device == "auto"
    assert all(engine.files[name] > 0 for name in engine.request.inputs.values())
    assert pelvis.ui.cancelButton.isVisible() and pelvis.ui.cancelButton.enabled
    engine.say("network", 0.42, 100.0)
    engine.note("The GPU has too little memory, so the CPU is used.")
    spin(lambda: pelvis.ui.progressBar.value == 42)
    assert pelvis.ui.messageLabel.text == "Segmenting, about 2 min left"

    manifest = find_model("pelvis-ct")
    write_result(engine, manifest)
    spin(lambda: not pelvis.panel.running)
    assert pelvis.ui.segmentButton.text == "Segment" and pelvis.ui.segmentButton.enabled
    assert not engine.folder.exists()
    segmentation = pelvis.logic.getParameterNode().result
    assert [result.segmentation for result in pelvis.results] == [segmentation]
    assert segmentation.GetSegmentation().GetNumberOfSegments() == len(manifest.structures)
    assert pelvis.ui.outputSelector.currentNode() is None, "a second run must not overwrite this result"
    assert pelvis.messages.shown == []


def test_the_window_stays_free(pelvis):
    """Nothing blocks while the engine works: the event loop runs, and the timer polls about ten times a second."""
    import time

    engine = start(pelvis)
    before, end, turns = engine.polls, time.monotonic() + 1.05, 0
    while time.monotonic() < end:
        pelvis.process()
        turns += 1
        time.sleep(0.005)
    assert turns > 50
    assert 5 <= engine.polls - before <= 12


def test_cancel(pelvis, scene):
    before = scene_state(scene)
    engine = start(pelvis)
    folder = engine.folder
    click(pelvis.ui.cancelButton)
    assert engine.cancelled
    assert not pelvis.ui.cancelButton.enabled, "one Cancel is enough"
    spin(lambda: not pelvis.panel.running)
    assert pelvis.ui.messageLabel.text == "The segmentation was cancelled."
    assert pelvis.ui.segmentButton.text == "Segment" and pelvis.ui.segmentButton.enabled
    assert not pelvis.ui.progressBar.isVisible() and not pelvis.ui.messageIcon.isVisible()
    assert not folder.exists()
    assert scene_state(scene) == before
    assert pelvis.results == []


def test_cancel_as_the_engine_finishes_still_means_cancel(pelvis, scene):
    from afnet.manifest import find_model

    before = scene_state(scene)
    engine = start(pelvis)
    click(pelvis.ui.cancelButton)
    write_result(engine, find_model("pelvis-ct"))
    spin(lambda: not pelvis.panel.running)
    assert scene_state(scene) == before


def test_a_refusal_of_the_engine_is_one_sentence(pelvis, scene):
    before = scene_state(scene)
    engine = start(pelvis)
    sentence = "The CT holds only one value: choose another volume."
    engine.fail(3, sentence, details="afnet: line one\nafnet: line two")
    spin(lambda: not pelvis.panel.running)
    assert pelvis.ui.messageLabel.text == sentence
    assert pelvis.ui.messageIcon.isVisible()
    assert "line two" in pelvis.ui.logText.toPlainText()
    assert pelvis.messages.shown == [], "no pop-up"
    assert not engine.folder.exists()
    assert scene_state(scene) == before


def test_a_full_disk_is_told_before_anything_starts(pelvis, scene, monkeypatch):
    import shutil

    before = scene_state(scene)
    full = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    click(pelvis.ui.segmentButton)
    assert "not enough free disk space" in pelvis.ui.messageLabel.text
    assert not pelvis.panel.running and pelvis.engines[-1].request is None
    assert scene_state(scene) == before


def test_a_damaged_result_leaves_the_scene_unchanged(pelvis, scene, vtk_errors):
    before = scene_state(scene)
    engine = start(pelvis)
    (engine.folder / engine.request.output).write_bytes(b"NRRD0004\n")
    (engine.folder / engine.request.report).write_text("{}", encoding="ascii")
    engine.succeed()
    spin(lambda: not pelvis.panel.running)
    assert pelvis.ui.messageIcon.isVisible() and pelvis.ui.messageLabel.text
    assert scene_state(scene) == before
    vtk_errors.clear()


@pytest.mark.parametrize("change", ["move", "remove"])
def test_a_reference_changed_meanwhile_is_noticed(pelvis, scene, change):
    from afnet.manifest import find_model

    engine = start(pelvis)
    write_result(engine, find_model("pelvis-ct"))
    if change == "move":
        pelvis.volume.SetOrigin(10, 20, 30)
    else:
        scene.RemoveNode(pelvis.volume)
    spin(lambda: not pelvis.panel.running)
    assert "discarded because its image was" in pelvis.ui.messageLabel.text
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_defect_of_ours_ends_the_engine_and_is_told(pelvis, scene):
    engine = start(pelvis)

    def broken():
        raise KeyError("defect")

    original, engine.poll = engine.poll, broken
    pelvis.panel.run.poll()
    assert engine.cancelled
    engine.poll = original
    spin(lambda: not pelvis.panel.running)
    assert "unexpected error (KeyError)" in pelvis.ui.messageLabel.text
    assert not engine.folder.exists()


# Closing


def test_closing_the_scene_cancels(pelvis, module, scene):
    engine = start(pelvis)
    pelvis.panel.scene_about_to_close()
    scene.Clear(0)
    pelvis.panel.set_parameters(pelvis.logic.getParameterNode())
    assert engine.cancelled
    spin(lambda: not pelvis.panel.running)
    assert pelvis.ui.messageLabel.text == "The scene was closed: the running segmentation was cancelled."
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert not engine.folder.exists()
    assert pelvis.ui.segmentButton.text == "Segment" and not pelvis.ui.segmentButton.enabled


def test_closing_slicer_asks_first(pelvis):
    engine = start(pelvis)
    pelvis.window.answer = False
    assert pelvis.window.may_close() is False
    assert pelvis.panel.running and not engine.cancelled
    pelvis.window.answer = True
    assert pelvis.window.may_close() is True
    assert engine.cancelled and not pelvis.panel.running
    assert len(pelvis.window.questions) == 2
    assert pelvis.window.may_close is None, "nothing is asked when nothing runs"


def test_cleanup_leaves_nothing(pelvis):
    engine = start(pelvis)
    pelvis.panel.cleanup()
    assert engine.cancelled and not engine.folder.exists()
    assert not pelvis.panel.run._timer.active
    assert pelvis.window.may_close is None
    pelvis.process()


# Output and scene


def test_writing_into_an_edited_segmentation_is_announced(pelvis, scene):
    import slicer.util

    from afnet.manifest import find_model

    write_result(start(pelvis), find_model("pelvis-ct"))
    spin(lambda: not pelvis.panel.running)
    segmentation = pelvis.logic.getParameterNode().result
    pelvis.ui.outputSelector.setCurrentNode(segmentation)
    assert pelvis.ui.outputProblemLabel.isVisible()
    assert "Prostate" not in pelvis.ui.outputProblemLabel.text
    array = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "prostate", pelvis.volume)
    array[:] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, "prostate", pelvis.volume)
    pelvis.panel.enter()
    assert "Prostate" in pelvis.ui.outputProblemLabel.text


def test_the_scene_keeps_choices_and_results(pelvis, scene, tmp_path):
    import slicer.util

    from afnet.manifest import find_model

    pelvis.ui.deviceSelector.setCurrentIndex(2)
    write_result(start(pelvis), find_model("pelvis-ct"))
    spin(lambda: not pelvis.panel.running)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    pelvis.panel.scene_about_to_close()
    scene.Clear(0)
    pelvis.panel.set_parameters(pelvis.logic.getParameterNode())
    assert selector(pelvis, "ct").currentNode() is None
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    pelvis.panel.set_parameters(pelvis.logic.getParameterNode())
    assert pelvis.ui.modelSelector.currentData == "pelvis-ct"
    assert pelvis.ui.deviceSelector.currentText == "CPU"
    assert selector(pelvis, "ct").currentNode().GetName() == "CT"
    assert pelvis.ui.segmentButton.enabled
