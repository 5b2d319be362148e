"""The segment panel by clicks, with a fake engine: choosing inputs and models."""

import numpy as np
from clicks import choose_model
from segment_steps import problem, selector

from harness.scene_makers import put_under_transform, shift

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


def test_what_is_missing_is_told_above_the_button(panel, make_ct):
    choose_model(panel.ui, "brain-tumour-mri")
    assert not panel.ui.segmentButton.enabled
    assert "T1" in panel.ui.segmentButton.toolTip
    assert panel.ui.segmentHintLabel.isVisible() and panel.ui.segmentHintLabel.text == panel.ui.segmentButton.toolTip
    choose_model(panel.ui, "pelvis-ct")
    make_ct()
    panel.process()
    assert panel.ui.segmentButton.enabled and not panel.ui.segmentHintLabel.isVisible()


def test_a_reason_in_a_closed_section_is_told_above_the_button(ready, make_segmentation, make_volume):
    other = make_segmentation(ready.volume, {"mine": np.ones((12, 14, 16), bool)}, "mine")
    put_under_transform(shift(5), other)
    ready.logic.getParameterNode().output = other
    ready.process()
    ui = ready.ui
    for section, name in ((ui.outputsSection, "segments of yours"), (ui.inputsSection, "a single slice")):
        for collapsed in (False, True, False):
            section.collapsed = collapsed
            ready.process()
            assert not ui.segmentButton.enabled and name in ui.segmentButton.toolTip
            assert ui.segmentHintLabel.isVisible() is collapsed
            assert ui.segmentHintLabel.text == (ui.segmentButton.toolTip if collapsed else "")
        selector(ready, "ct").setCurrentNode(make_volume(np.zeros((1, 14, 16), np.int16), name="CT one slice"))
        ready.process()


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


def test_removing_an_image_empties_its_slot(ready, scene):
    scene.RemoveNode(ready.volume)
    ready.process()
    assert not ready.ui.segmentButton.enabled
    assert ready.logic.getParameterNode().input_node("ct") is None


# Models


def test_the_model_says_for_whom_it_is(panel):
    from afnet.models.manifest import find_model

    choose_model(panel.ui, "pelvis-ct")
    text = panel.ui.modelInfoLabel.text
    assert find_model("pelvis-ct").population in text
    assert "Not for clinical use." in text


def test_models_of_the_user_are_listed_and_a_broken_one_says_why(panel, copy_model):
    copy_model("my-pelvis", title="My pelvis")
    (copy_model("broken") / "model.json").write_text("{", encoding="utf-8")
    panel.panel.enter()
    texts = [panel.ui.modelSelector.itemText(row) for row in range(panel.ui.modelSelector.count)]
    assert "My pelvis" in texts and "Male pelvis on CT" in texts
    choose_model(panel.ui, "broken")
    assert "cannot be read" in panel.ui.modelInfoLabel.text
    assert not panel.ui.segmentButton.enabled
    choose_model(panel.ui, "my-pelvis")
    assert panel.logic.getParameterNode().model == "my-pelvis"


def test_models_are_told_apart_where_the_panel_is_narrow(panel, copy_model):
    whole = "Male pelvis on CT (prostate, seminal vesicles, bladder, rectum, femurs), fine-tuned"
    copy_model("tuned", title=whole)
    panel.panel.enter()
    selector = panel.ui.modelSelector
    assert selector.itemText(selector.findData("tuned")) == "Male pelvis on CT, fine-tuned"
    copy_model("tuned-again", title=whole.replace("femurs", "both femurs"))
    panel.panel.enter()
    texts = [selector.itemText(row) for row in range(selector.count)]
    assert whole in texts and "Male pelvis on CT" in texts and len(set(texts)) == len(texts)


def test_the_models_folder_is_a_setting(panel, copy_model, tmp_path):
    from AutofocusSegmentationLib import models

    copy_model("my-pelvis")
    panel.panel.enter()
    panel.ui.modelsFolderButton.directory = str(tmp_path)
    assert models.user_models_folder() == tmp_path
    assert panel.ui.modelSelector.findData("my-pelvis") < 0


def test_without_pytorch_segment_says_what_to_install(ready, monkeypatch):
    from AutofocusSegmentationLib.engine import doctor

    monkeypatch.setattr(doctor, "find_torch", lambda places=None: doctor.TorchFiles())
    ready.panel.enter()
    assert not ready.ui.segmentButton.enabled
    assert ready.ui.segmentButton.toolTip == (
        "PyTorch is not installed in Slicer: press the button under Before you begin, at the top.")
    monkeypatch.undo()
    ready.panel.enter()
    assert ready.ui.segmentButton.enabled
