"""The attention section by clicks, with a fake engine: request, overlay, layers, opacity."""

import math

import attention_study
import numpy as np
from attention_study import ATTRIBUTE, GRID_SIZE, compute, foregrounds, made_nodes, maps, segmented, write_maps
from clicks import click, spin, tick

# The focus map


def test_nothing_is_computed_before_a_click_and_the_size_is_said(attention):
    assert attention.engines == [] and maps(attention) == {}
    assert attention.ui.sizeLabel.text == (
        "A click loads: focus map under 0.1 MB, maps under 0.1 MB, all layers under 0.1 MB.")
    assert attention.ui.focusButton.enabled and attention.ui.mapsButton.enabled
    assert attention.ui.mapsButton.text == "Load the 4 maps"
    assert (attention.ui.layerSlider.minimum, attention.ui.layerSlider.maximum) == (6, 8)
    assert attention.ui.layerSlider.value == 8
    assert not attention.ui.removeButton.enabled and not attention.ui.plotButton.enabled
    assert not attention.ui.focusTable.isVisible() and not attention.ui.cancelButton.isVisible()
    assert "does not explain" in attention.ui.aboutLabel.text


def test_the_size_is_told_from_above_and_then_exactly(attention, make_volume):
    from afnet.preprocessing.grid import WorkingGrid

    array = np.full((40, 60, 60), 40, np.int16)
    volume = make_volume(array, name="CT", ijk_to_ras=np.diag([10.0, 10.0, 10.0, 1.0]))  # 59 cm of patient
    attention.segmentation = attention.parameters.result = segmented(attention.manifest, {"ct": volume})
    voxels = (math.ceil(614 / 6) + 2) ** 2 * (math.ceil(414 / 6) + 2)
    assert f"focus map at most {4 * voxels / 1e6:.1f} MB" in attention.ui.sizeLabel.text
    compute(attention, attention.ui.focusButton, grid=WorkingGrid((-90, -90, 0), (95, 96, 60), 6.0))
    assert f"maps {4 * 95 * 96 * 60 / 1e6:.1f} MB" in attention.ui.sizeLabel.text
    assert f"all layers {2 * 4 * 95 * 96 * 60 / 1e6:.1f} MB" in attention.ui.sizeLabel.text


def test_a_layer_that_looks_equally_far_everywhere_says_so(attention, monkeypatch):
    monkeypatch.setattr(attention_study, "attention_of", lambda layer, rates, shape: np.concatenate(
        [np.ones((1, *shape), np.float32), np.zeros((rates - 1, *shape), np.float32)]))
    compute(attention, attention.ui.focusButton)
    assert attention.ui.subjectLabel.text.endswith("Nearly everywhere this layer looks equally far: 12 mm.")
    monkeypatch.undo()
    attention.ui.layerSlider.value = 7
    compute(attention, attention.ui.focusButton)
    assert "equally far" not in attention.ui.subjectLabel.text


def test_the_focus_map_of_the_chosen_layer(attention, scene):
    import slicer

    from AutofocusSegmentationLib.parameters import Memory, Precision

    attention.parameters.memory, attention.parameters.precision = Memory.GB2, Precision.FLOAT32
    attention.ui.layerSlider.value = 7
    click(attention.ui.focusButton)
    engine = attention.engines[-1]
    arguments = engine.request.arguments()
    assert (engine.request.memory, engine.request.precision) == ("2GB", "float32"), "as for a segmentation"
    assert arguments[0] == "attend" and "--output" not in arguments
    assert arguments[arguments.index("--attention-layers") + 1] == "layer7"
    assert arguments[arguments.index("--attention-kind") + 1] == "focus"
    assert engine.files["ct.nrrd"] > 0
    assert attention.ui.cancelButton.isVisible() and not attention.ui.focusButton.enabled
    engine.say("network", 0.42, 100.0)
    spin(lambda: attention.ui.attentionProgressBar.value == 42)
    assert attention.ui.attentionMessageLabel.text == "Computing the attention, about 2 min left"
    report = write_maps(engine, attention.manifest)
    spin(lambda: not attention.panel.running)
    assert attention.ui.attentionMessageLabel.text == ""

    (place, node), = maps(attention).items()
    assert place == ("layer7", "focus")
    array = slicer.util.arrayFromVolume(node)
    assert array.dtype == np.float32 and array.shape == GRID_SIZE[::-1]
    assert array.nbytes == report["attention"]["bytes"] == 4 * 120
    # 0.5 · place of the attention goes from rate 2 to rate 14; the maps lie on the model's 6 mm
    np.testing.assert_allclose(array[0, 0], 12 + 72 * 0.5 * np.linspace(0, 1, 6), rtol=1e-5)
    corners = np.zeros(6)
    node.GetBounds(corners)
    np.testing.assert_allclose(corners, [-3, 33, -3, 27, -3, 21])  # LPS (-30, -24, 0) is RAS (30, 24, 0)
    display = node.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (12, 84)
    assert display.GetColorNode().GetAttribute(ATTRIBUTE) == "colors"
    assert foregrounds(attention) == [(node.GetID(), 0.5, True)] * 3
    assert {view.GetBackgroundVolumeID() for view in attention.views} == {attention.volume.GetID()}
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(node)
    assert legend.GetVisibility() and "mm" in legend.GetTitleText()
    assert attention.parameters.attention_shown and attention.ui.shownCheckBox.checked
    assert attention.messages.shown == []


def test_the_map_goes_where_the_image_goes(attention, scene):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    attention.volume.SetAndObserveTransformNodeID(transform.GetID())  # the study is read in the image's own frame
    compute(attention, attention.ui.focusButton)
    (node,) = maps(attention).values()
    assert node.GetTransformNodeID() == transform.GetID()


def test_maps_lie_in_a_folder_beside_the_image(attention, scene):
    import slicer

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = tree.CreateStudyItem(tree.GetSceneItemID(), "Study")
    item = tree.GetItemByDataNode(attention.volume) or tree.CreateItem(study, attention.volume)
    tree.SetItemParent(item, study)
    compute(attention, attention.ui.focusButton)
    compute(attention, attention.ui.mapsButton)
    folders = {tree.GetItemParent(tree.GetItemByDataNode(node)) for node in made_nodes(scene)
               if not node.IsA("vtkMRMLColorNode")}
    (folder,) = folders
    assert "Attention maps" in tree.GetItemName(folder) and tree.GetItemParent(folder) == study
    click(attention.ui.removeButton)
    assert not tree.GetItemByName("Attention maps of CT segmentation")
    assert tree.GetNumberOfItemChildren(study) == 1


# The K maps


def test_the_maps_by_rate_come_on_a_second_request(attention):
    import slicer

    compute(attention, attention.ui.focusButton)
    assert attention.ui.sizeLabel.text == "A click loads: maps under 0.1 MB, all layers under 0.1 MB."
    assert attention.ui.mapSelector.count == 1
    compute(attention, attention.ui.mapsButton)
    assert attention.engines[-1].request.attention_kind == "maps"
    loaded = {key: node for (layer, key), node in maps(attention).items() if layer == "layer8"}
    assert set(loaded) == {"focus", "rate2", "rate6", "rate10", "rate14"}
    arrays = {key: slicer.util.arrayFromVolume(node) for key, node in loaded.items()}
    assert all(arrays[key].dtype == np.uint8 for key in arrays if key != "focus")
    total = sum(arrays[key].astype(int) for key in arrays if key != "focus")
    assert np.abs(total - 255).max() <= 1
    assert attention.ui.mapSelector.count == 5 and attention.ui.mapSelector.currentIndex == 1
    assert foregrounds(attention)[0][0] == loaded["rate2"].GetID()
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode
    assert "255" in legend(loaded["rate2"]).GetTitleText() and not legend(loaded["focus"]).GetVisibility()
    attention.ui.mapSelector.setCurrentIndex(4)
    assert loaded["rate14"].GetDisplayNode().GetLowerThreshold() == 1  # 0 is transparent: outside the patient
    assert foregrounds(attention)[0][0] == loaded["rate14"].GetID()
    assert "14" in attention.ui.mapSelector.currentText and "84 mm" in attention.ui.mapSelector.currentText
    assert not attention.ui.mapsButton.enabled


# Layers, hiding, opacity


def test_the_slider_changes_the_map_and_a_layer_without_one_shows_none(attention):
    compute(attention, attention.ui.focusButton)
    attention.ui.layerSlider.value = 6
    assert foregrounds(attention) == [(None, 0.0, False)] * 3
    assert attention.parameters.attention_layer == 6 and not attention.ui.focusTable.isVisible()
    compute(attention, attention.ui.focusButton)
    shown = maps(attention)
    assert foregrounds(attention)[0][0] == shown["layer6", "focus"].GetID()
    attention.ui.layerSlider.value = 8
    assert foregrounds(attention)[0][0] == shown["layer8", "focus"].GetID()
    runs = len(attention.engines)
    click(attention.ui.focusButton)
    assert len(attention.engines) == runs, "a map that is loaded is not computed again"


def test_hiding_restores_what_was_there(attention, make_volume, scene):
    mine, other = make_volume(name="PET"), make_volume(name="dose")
    for view, (volume, opacity, linked) in zip(attention.views, ((mine, 0.3, 0), (None, 0.7, 1), (other, 1.0, 0))):
        view.SetForegroundVolumeID(volume.GetID() if volume else None)
        view.SetForegroundOpacity(opacity)
        view.SetLinkedControl(linked)
    before = foregrounds(attention)
    compute(attention, attention.ui.focusButton)
    attention.ui.opacitySlider.value = 0.8
    assert [each[1] for each in foregrounds(attention)] == [0.8] * 3
    tick(attention.ui.shownCheckBox)
    assert foregrounds(attention) == before
    tick(attention.ui.shownCheckBox)
    assert {each[0] for each in foregrounds(attention)} == {maps(attention)["layer8", "focus"].GetID()}
    assert foregrounds(attention)[0][1] == 0.8
    attention.ui.layerSlider.value = 7  # not loaded
    assert foregrounds(attention) == before
    attention.ui.layerSlider.value = 8
    attention.views[0].SetForegroundVolumeID(other.GetID())  # the user's own choice meanwhile
    tick(attention.ui.shownCheckBox)
    assert foregrounds(attention)[0][0] == other.GetID() and foregrounds(attention)[1:] == before[1:]


def test_a_foreground_chosen_by_the_user_is_noticed_on_return(attention, make_volume):
    compute(attention, attention.ui.focusButton)
    mine = make_volume(name="PET")
    for view in attention.views:
        view.SetForegroundVolumeID(mine.GetID())
    attention.panel.enter()
    assert not attention.parameters.attention_shown and not attention.ui.shownCheckBox.checked
    assert {each[0] for each in foregrounds(attention)} == {mine.GetID()}
