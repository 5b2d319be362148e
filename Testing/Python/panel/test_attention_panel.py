"""The attention section by clicks, with a fake engine: request, overlay, layers, table, plot, removal, scenes."""

import math

import attention_study
import numpy as np
import pytest
from attention_study import ATTRIBUTE, GRID_SIZE, compute, foregrounds, made_nodes, maps, segmented, write_maps
from clicks import click, scene_state, spin, tick

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
    from afnet.imaging import Grid

    array = np.full((40, 60, 60), 40, np.int16)
    volume = make_volume(array, name="CT", ijk_to_ras=np.diag([10.0, 10.0, 10.0, 1.0]))  # 59 cm of patient
    attention.segmentation = attention.parameters.result = segmented(attention.manifest, {"ct": volume})
    voxels = (math.ceil(614 / 6) + 2) ** 2 * (math.ceil(414 / 6) + 2)
    assert f"focus map at most {4 * voxels / 1e6:.1f} MB" in attention.ui.sizeLabel.text
    compute(attention, attention.ui.focusButton, grid=Grid((-90, -90, 0), (95, 96, 60), 6.0))
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

    attention.ui.layerSlider.value = 7
    click(attention.ui.focusButton)
    engine = attention.engines[-1]
    arguments = engine.request.arguments()
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


# Table and plot


def test_the_table_and_the_plot(attention, scene):
    import slicer

    compute(attention, attention.ui.focusButton)
    table = attention.ui.focusTable
    assert table.isVisible() and table.rowCount == len(attention.manifest.structures)
    names = [table.item(row, 1).text() for row in range(table.rowCount)]
    assert names == [structure.name for structure in attention.manifest.structures]
    means = [float(table.item(row, 2).text()) for row in range(table.rowCount)]
    assert min(means) >= 12 and max(means) <= 84 and len(set(means)) > 1
    compute(attention, attention.ui.allLayersButton)
    assert attention.engines[-1].request.attention_layers == ("layer6", "layer7")
    assert not attention.ui.allLayersButton.enabled
    chart, = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    series = [chart.GetNthPlotSeriesNode(i) for i in range(chart.GetNumberOfPlotSeriesNodes())]
    assert [each.GetName() for each in series] == names
    content = series[0].GetTableNode().GetTable()
    layers = content.GetColumnByName(series[0].GetXColumnName())
    assert [layers.GetValue(row) for row in range(3)] == [6, 7, 8]
    for row, each in enumerate(series):
        column = content.GetColumnByName(each.GetYColumnName())
        values = [column.GetValue(line) for line in range(3)]
        assert values == sorted(values) and values[2] == pytest.approx(means[row], abs=0.06)
    attention.ui.layerSlider.value = 6
    assert float(table.item(0, 2).text()) == pytest.approx(content.GetColumnByName(series[0].GetYColumnName()
                                                                                    ).GetValue(0), abs=0.06)


def test_the_plot_is_shown_in_the_layout_and_put_away(attention, scene):
    layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutConventionalView)
    compute(attention, attention.ui.focusButton)
    click(attention.ui.plotButton)
    assert attention.ui.plotButton.checked
    assert layout.GetViewArrangement() != layout.SlicerLayoutConventionalView
    click(attention.ui.plotButton)
    assert layout.GetViewArrangement() == layout.SlicerLayoutConventionalView
    click(attention.ui.plotButton)
    click(attention.ui.removeButton)
    assert layout.GetViewArrangement() == layout.SlicerLayoutConventionalView
    assert not attention.ui.plotButton.checked and not attention.ui.plotButton.enabled


def test_edited_segments_are_measured_as_they_are(attention):
    import slicer

    compute(attention, attention.ui.focusButton)
    row = [each.id for each in attention.manifest.structures].index("bladder")
    before = attention.ui.focusTable.item(row, 2).text()
    mask = np.zeros((20, 24, 28), np.uint8)
    mask[5:10, 5:10, 0:3] = 1  # the patient's right in this volume is at large i; this is the left, which looks less
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, attention.segmentation, "bladder", attention.volume)
    attention.panel.enter()
    after = attention.ui.focusTable.item(row, 2).text()
    assert after != before
    focus = slicer.util.arrayFromVolume(maps(attention)["layer8", "focus"])
    matrix = np.linalg.inv(slicer.util.arrayFromVTKMatrix(_ijk_to_ras(maps(attention)["layer8", "focus"])))
    values = []
    for k, j, i in np.argwhere(mask):
        x, y, z, _ = np.floor(matrix @ [2 * i, 2 * j, 2 * k, 1] + 0.5).astype(int)
        values.append(focus[z, y, x])
    assert float(after) == pytest.approx(np.mean(values), abs=0.06)
    low, high = attention.ui.focusTable.item(row, 3).text().split("–")
    assert (float(low), float(high)) == pytest.approx(
        np.percentile(values, [5, 95], method="inverted_cdf"), abs=0.51)


def _ijk_to_ras(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


# Removing


def test_remove_frees_every_node(attention, scene, make_volume):
    mine = make_volume(name="PET")
    attention.views[1].SetForegroundVolumeID(mine.GetID())
    before, views = set(scene_state(scene)), foregrounds(attention)
    compute(attention, attention.ui.focusButton)
    compute(attention, attention.ui.mapsButton)
    compute(attention, attention.ui.allLayersButton)
    assert len(made_nodes(scene)) > 8
    click(attention.ui.removeButton)
    left = {node for node in set(scene_state(scene)) - before if "SubjectHierarchy" not in node}
    assert left == set() and made_nodes(scene) == []
    assert foregrounds(attention) == views
    assert not attention.ui.removeButton.enabled and not attention.ui.focusTable.isVisible()
    assert attention.ui.mapSelector.count == 1 and not attention.parameters.attention_shown
    compute(attention, attention.ui.focusButton)
    assert len(maps(attention)) == 1


def test_a_map_deleted_in_the_data_module(attention, scene):
    compute(attention, attention.ui.focusButton)
    scene.RemoveNode(maps(attention)["layer8", "focus"])
    attention.process()
    assert attention.ui.focusButton.enabled and not attention.ui.focusTable.isVisible()
    scene.RemoveNode(attention.segmentation)
    attention.process()
    assert "Segment a study first" in attention.ui.subjectLabel.text
    assert not attention.ui.focusButton.enabled


# Scenes


def test_a_saved_scene_reopens_with_the_map_in_place(attention, scene, tmp_path, make_volume):
    import slicer

    mine = make_volume(name="PET")
    attention.views[1].SetForegroundVolumeID(mine.GetID())
    attention.views[1].SetForegroundOpacity(0.3)
    attention.ui.layerSlider.value = 7
    compute(attention, attention.ui.focusButton)
    attention.ui.opacitySlider.value = 0.7
    values = slicer.util.arrayFromVolume(maps(attention)["layer7", "focus"]).copy()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))

    def logic():
        from AutofocusSegmentation import AutofocusSegmentationLogic

        return AutofocusSegmentationLogic()

    attention.panel.scene_about_to_close()
    scene.Clear(0)
    attention.panel.set_parameters(logic().getParameterNode())
    attention.panel.set_parameters(None)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    attention.parameters = logic().getParameterNode()
    attention.segmentation = attention.parameters.result
    attention.panel.set_parameters(attention.parameters)
    attention.panel.enter()
    attention.views = sorted(slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"),
                             key=lambda view: ("Red", "Green", "Yellow").index(view.GetLayoutName()))
    assert len(attention.views) == 3
    node = maps(attention)["layer7", "focus"]
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), values)
    assert foregrounds(attention) == [(node.GetID(), 0.7, True)] * 3
    assert attention.ui.layerSlider.value == 7 and attention.ui.opacitySlider.value == 0.7
    assert attention.ui.shownCheckBox.checked and attention.ui.focusTable.isVisible()
    colors = node.GetDisplayNode().GetColorNode()
    assert colors.GetNumberOfColors() == 256
    assert (node.GetDisplayNode().GetWindowLevelMin(), node.GetDisplayNode().GetWindowLevelMax()) == (12, 84)
    assert slicer.modules.colors.logic().GetColorLegendDisplayNode(node).GetVisibility()
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")) == 1
    tick(attention.ui.shownCheckBox)
    pet = slicer.util.getNode("PET")
    assert foregrounds(attention) == [(None, 0.0, False), (pet.GetID(), 0.3, False), (None, 0.0, False)]
    compute(attention, attention.ui.mapsButton)  # the images are known, and are what they were
    click(attention.ui.removeButton)
    assert made_nodes(scene) == []


def test_closing_the_scene_ends_the_run(attention, scene):
    click(attention.ui.focusButton)
    attention.panel.scene_about_to_close()
    scene.Clear(0)
    spin(lambda: not attention.panel.running)
    assert attention.engines[-1].cancelled
