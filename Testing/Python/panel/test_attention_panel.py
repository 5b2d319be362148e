"""The attention section by clicks, with a fake engine: request, overlay, layers, table, plot, removal, scenes."""

import math

import attention_study
import numpy as np
import pytest
from attention_study import GRID_SIZE, segmented, write_maps
from clicks import choose_model, click, scene_state, spin, tick
from panel_fakes import FakeEngine

ATTRIBUTE = "AutofocusSegmentation.Attention"


def compute(attention, button, **options):
    """Press a button that starts a run, and let the engine do what it was asked."""
    click(button)
    assert attention.panel.running, attention.ui.attentionMessageLabel.text
    engine = attention.engines[-1]
    report = write_maps(engine, attention.manifest, **options)
    spin(lambda: not attention.panel.running)
    assert not engine.folder.exists()
    return report


def maps(attention) -> dict:
    from AutofocusSegmentationLib.attention_maps import maps_of

    return maps_of(attention.segmentation)


def foregrounds(attention) -> list:
    return [(view.GetForegroundVolumeID(), round(view.GetForegroundOpacity(), 3), bool(view.GetLinkedControl()))
            for view in attention.views]


def made_nodes(scene) -> list:
    return [node for node in (scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())) if
            node.GetAttribute(ATTRIBUTE)]


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
    assert attention.ui.subjectLabel.text.endswith("This layer looks equally far everywhere: 12 mm.")
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


# What cannot be done


def test_without_a_segmentation_it_says_what_to_do(attention):
    attention.parameters.result = None
    assert "Segment a study first" in attention.ui.subjectLabel.text
    for name in ("focusButton", "mapsButton", "allLayersButton", "layerSlider", "shownCheckBox", "removeButton"):
        assert not getattr(attention.ui, name).enabled, name
    assert "Segment a study first" in attention.ui.focusButton.toolTip


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
    assert attention.ui.attentionMessageLabel.text == (
        "CT has changed since it was segmented: segment the study again.")
    assert attention.ui.attentionMessageIcon.isVisible()


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
    click(attention.ui.focusButton)
    assert attention.engines == [] and "A segmentation is running" in attention.ui.attentionMessageLabel.text


@pytest.mark.parametrize("end", ["fails", "damaged", "too many"])
def test_a_failed_run_leaves_the_scene(attention, scene, end, monkeypatch):
    before = scene_state(scene)
    click(attention.ui.focusButton)
    engine = attention.engines[-1]
    if end == "fails":
        engine.fail(4, "The computer ran out of memory; close other programs.")
    else:
        write_maps(engine, attention.manifest)
        if end == "damaged":
            file = engine.folder / "attention" / "layer8-focus-mm.nrrd"
            file.write_bytes(file.read_bytes()[:-40])
        else:
            monkeypatch.setattr("AutofocusSegmentationLib.attention_maps.LIMIT_BYTES", 100)
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
    monkeypatch.setattr("AutofocusSegmentationLib.attention_subject.LIMIT_BYTES", 400)  # a map's 120 voxels take 480
    attention.panel.enter()
    assert not attention.ui.mapsButton.enabled and "one request may take" in attention.ui.mapsButton.toolTip


def test_without_pytorch_it_says_so(attention, monkeypatch):
    from AutofocusSegmentationLib import doctor

    monkeypatch.setattr(doctor, "torch_version", lambda: None)
    attention.panel.enter()
    assert not attention.ui.focusButton.enabled and "PyTorch is not installed" in attention.ui.focusButton.toolTip


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


# Form


CONTROLS = ("QComboBox", "QPushButton", "QTableWidget", "QProgressBar", "QCheckBox", "ctkSliderWidget",
            "ctkCollapsibleButton")


def controls(attention) -> list:
    import qt

    return [each for each in attention.widget.findChildren(qt.QWidget) if each.className() in CONTROLS
            and each.objectName]


def test_every_control_has_a_tool_tip_and_fits_350_px(attention):
    from PySide6.QtCore import Qt
    from PySide6.QtWidgets import QLabel

    compute(attention, attention.ui.allLayersButton)
    click(attention.ui.mapsButton)
    attention.engines[-1].fail(4, "The computer ran out of memory; close other programs and try again.")
    attention.process()
    assert len(controls(attention)) == 13
    assert [each.objectName for each in controls(attention) if not each.toolTip] == []
    assert attention.host.minimumSizeHint.width() <= 350
    assert all(each.width <= 350 for each in controls(attention))
    wrapping = [label for label in attention.widget.findChildren(QLabel) if label.wordWrap]
    assert wrapping and all(label.textFormat == Qt.PlainText for label in wrapping)
    spin(lambda: not attention.panel.running)


def test_the_section_is_closed_at_first_and_the_tab_key_goes_from_top_to_bottom(open_module, models_folder):
    panel = open_module().attention_panel
    assert panel.ui.attentionSection.collapsed
    panel.ui.attentionSection.collapsed = False
    names = ["attentionSection", "layerSlider", "mapSelector", "opacitySlider", "shownCheckBox", "focusButton",
             "mapsButton", "cancelButton", "focusTable", "allLayersButton", "plotButton", "removeButton"]
    seen, widget = [], panel.ui.attentionSection
    for _ in range(200):
        if widget.objectName in names and widget.objectName not in seen:
            seen.append(widget.objectName)
        widget = widget.nextInFocusChain()
    assert seen == names


def test_the_module_has_the_section(open_module, models_folder, make_ct):
    """What the module wires: the parameter node, the other panel's runs, its log, scene and clean-up."""
    from afnet.manifest import find_model

    widget = open_module()
    panel = widget.attention_panel
    panel.ui.attentionSection.collapsed = False
    engines = []
    panel._make_engine = widget.segment_panel._make_engine = lambda: engines.append(FakeEngine()) or engines[-1]
    volume, manifest = make_ct(size=(20, 24, 28)), find_model("pelvis-ct")
    widget.logic.getParameterNode().result = segmented(manifest, {"ct": volume})
    choose_model(widget.segment_panel.ui, "pelvis-ct")
    spin(lambda: widget.segment_panel.ui.segmentButton.enabled)
    click(widget.segment_panel.ui.segmentButton)
    click(panel.ui.focusButton)
    assert len(engines) == 1 and "A segmentation is running" in panel.ui.attentionMessageLabel.text
    click(widget.segment_panel.ui.segmentButton)
    spin(lambda: not widget.segment_panel.running)
    click(panel.ui.focusButton)
    write_maps(engines[-1], manifest)
    spin(lambda: not panel.running)
    assert panel.ui.focusTable.isVisible()
    assert "Done" in widget.segment_panel.ui.logText.toPlainText()
    spin(lambda: widget.segment_panel.ui.segmentButton.enabled)
    click(panel.ui.mapsButton)
    import slicer

    slicer.app.moduleManager().unload("AutofocusSegmentation")
    assert engines[-1].cancelled and not engines[-1].folder.exists() and not panel._timer.active
