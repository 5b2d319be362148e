"""What the attention section cannot do, by the cause: each said in a sentence, the scene as it was."""

import json
import shutil

import numpy as np
import pytest
from attention_study import compute, foregrounds, maps, segmented, write_maps
from clicks import click, scene_state, spin


def test_without_a_segmentation_it_says_what_to_do(attention):
    attention.parameters.result = None
    assert "Segment a study first" in attention.ui.subjectLabel.text
    for name in ("focusButton", "mapsButton", "allLayersButton", "layerSlider", "shownCheckBox", "removeButton"):
        assert not getattr(attention.ui, name).enabled, name
    assert "Segment a study first" in attention.ui.focusButton.toolTip


def test_a_model_that_was_deleted_is_asked_for_in_words_of_the_panel(attention):
    shutil.rmtree(attention.manifest.folder)
    attention.panel.enter()
    assert attention.ui.subjectLabel.text.endswith(
        "The model that made this result is no longer here: import it again under Models.")
    assert not attention.ui.focusButton.enabled


@pytest.mark.parametrize("change", ["voxels", "moved", "removed", "weights"])
def test_a_changed_study_is_not_computed(attention, scene, change):
    import slicer

    if change == "voxels":
        slicer.util.arrayFromVolume(attention.volume)[3, 3, 3] += 1
        slicer.util.arrayFromVolumeModified(attention.volume)
    elif change == "moved":
        attention.volume.SetOrigin(0, 0, 1)
    elif change == "weights":
        attention.segmentation.SetAttribute("AutofocusSegmentation.WeightsSha256", "0" * 64)
        attention.panel.enter()
    else:
        scene.RemoveNode(attention.volume)
        attention.process()
    if change in ("removed", "weights"):
        assert not attention.ui.focusButton.enabled
        assert "segment the study again" in attention.ui.subjectLabel.text
        return
    click(attention.ui.focusButton)
    assert not attention.panel.running and attention.engines[-1].request is None
    what = "has changed" if change == "voxels" else "was moved, or its transform hardened,"
    assert attention.ui.attentionMessageLabel.text == f"CT {what} since it was segmented: segment the study again."
    assert attention.ui.attentionMessageIcon.isVisible()


@pytest.mark.parametrize("damage", ["not JSON", "[1]", "null", '{"ct": [1]}', "[" * 100000, None, [[1, 2], 3], [[0, 0]],
                                    [[10**400, 0, 0]]])
def test_a_damaged_record_of_the_study_is_a_changed_study(attention, damage):
    """A text in place of the record, or something in place of the corners."""
    name = "AutofocusSegmentation.Study"
    record = json.loads(attention.segmentation.GetAttribute(name))
    if damage is None:
        del record["ct"]["places"]
    else:
        record["ct"]["places"] = damage
    attention.segmentation.SetAttribute(name, damage if isinstance(damage, str) else json.dumps(record))
    click(attention.ui.focusButton)
    assert not attention.panel.running and attention.engines[-1].request is None
    assert attention.ui.attentionMessageLabel.text == (
        "CT has changed since it was segmented: segment the study again.")


def test_an_image_under_a_moved_transform_is_the_same_study(attention, scene):
    """A study is read in the reference's local frame."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    attention.volume.SetAndObserveTransformNodeID(transform.GetID())
    matrix = np.eye(4)
    matrix[:3, 3] = 30, 20, 10
    import slicer

    slicer.util.updateTransformMatrixFromArray(transform, matrix)
    compute(attention, attention.ui.focusButton)


def test_maps_of_an_earlier_run_are_not_taken_for_this_one(attention, scene):
    import slicer

    compute(attention, attention.ui.focusButton)
    old = maps(attention)["layer8", "focus"].GetID()
    slicer.util.arrayFromVolume(attention.volume)[:] += 1
    slicer.util.arrayFromVolumeModified(attention.volume)
    again = segmented(attention.manifest, {"ct": attention.volume})
    name = "AutofocusSegmentation.Study"
    attention.segmentation.SetAttribute(name, again.GetAttribute(name))
    attention.panel.enter()
    assert maps(attention) == {} and foregrounds(attention)[0][0] is None
    compute(attention, attention.ui.focusButton)
    assert scene.GetNodeByID(old) is None and len(maps(attention)) == 1


def test_not_while_a_segmentation_runs(attention):
    attention.one_engine.take("another panel", "A segmentation is running: wait until it has ended.")
    for button in (attention.ui.focusButton, attention.ui.mapsButton, attention.ui.allLayersButton):
        assert not button.enabled
        click(button)
    assert attention.engines == []
    assert attention.ui.subjectLabel.text == (
        "Maps of: CT segmentation\nA segmentation is running: wait until it has ended.")
    attention.one_engine.release("another panel")
    assert attention.ui.focusButton.enabled and attention.ui.subjectLabel.text == "Maps of: CT segmentation"


def damaged(content: bytes, how: str) -> bytes:
    """A compressed map of which something is lost; ITK reads it all the same where only the checksum tells."""
    if how == "cut short":
        return content[:-40]
    begin, end = (-60, -40) if how == "zeroed" else (-8, len(content))
    return content[:begin] + bytes(len(content[begin:end])) + content[end:]


@pytest.mark.parametrize("end", ["fails", "cut short", "zeroed", "without its checksum", "too many"])
def test_a_failed_run_leaves_the_scene(attention, scene, end, monkeypatch):
    before = scene_state(scene)
    click(attention.ui.focusButton)
    engine = attention.engines[-1]
    if end == "fails":
        engine.fail(4, "The computer ran out of memory; close other programs.")
    else:
        write_maps(engine, attention.manifest)
        file = engine.folder / "attention" / "layer8-focus-mm.nrrd"
        if end == "too many":
            monkeypatch.setattr("AutofocusSegmentationLib.attention.maps.LIMIT_BYTES", 100)
        else:
            file.write_bytes(damaged(file.read_bytes(), end))
    spin(lambda: not attention.panel.running)
    text = attention.ui.attentionMessageLabel.text
    assert text.endswith(".") and ("ran out of memory" if end == "fails" else "damaged or missing") in text
    assert scene_state(scene) == before and not engine.folder.exists()
    assert attention.ui.focusButton.enabled


def test_cancel(attention, scene):
    before = scene_state(scene)
    click(attention.ui.focusButton)
    click(attention.ui.cancelButton)
    assert not attention.ui.cancelButton.enabled
    spin(lambda: not attention.panel.running)
    assert attention.engines[-1].cancelled and not attention.engines[-1].folder.exists()
    assert attention.ui.attentionMessageLabel.text == "The computation of attention maps was cancelled."
    assert scene_state(scene) == before


def test_closing_slicer_asks(attention):
    click(attention.ui.focusButton)
    attention.window.answer = False
    assert not attention.window.may_close() and attention.panel.running
    attention.window.answer = True
    assert attention.window.may_close() and not attention.panel.running


def test_more_than_200_mb_is_refused_before_the_click(attention, monkeypatch):
    compute(attention, attention.ui.focusButton)
    monkeypatch.setattr("AutofocusSegmentationLib.attention.subject.LIMIT_BYTES", 400)  # a map's 120 voxels take 480
    attention.panel.enter()
    assert not attention.ui.mapsButton.enabled and "one request may take" in attention.ui.mapsButton.toolTip


def test_without_pytorch_it_says_so(attention, monkeypatch):
    from AutofocusSegmentationLib.engine import doctor

    monkeypatch.setattr(doctor, "find_torch", lambda places=None: doctor.TorchFiles())
    attention.panel.enter()
    assert not attention.ui.focusButton.enabled and "PyTorch is not installed" in attention.ui.focusButton.toolTip
    assert "PyTorch is not installed in Slicer: press the button under Before" in attention.ui.subjectLabel.text


@pytest.mark.parametrize("other", [True, False])
def test_another_result_while_maps_are_computed(attention, make_ct, other):
    """The maps go to the segmentation that they were asked for; what is shown is another's."""
    click(attention.ui.mapsButton)
    result = segmented(attention.manifest, {"ct": make_ct("CT B", (20, 24, 28))}) if other else None
    attention.parameters.result = result
    write_maps(attention.engines[-1], attention.manifest)
    spin(lambda: not attention.panel.running)
    assert attention.ui.attentionMessageLabel.text == "" and len(maps(attention)) == 4
    assert not attention.parameters.attention_shown and foregrounds(attention)[0][0] is None
    attention.parameters.result = attention.segmentation
    assert attention.ui.mapSelector.count == 5
