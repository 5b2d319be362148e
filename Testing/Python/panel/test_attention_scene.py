"""The attention section and the scene: removing, maps deleted elsewhere, saving, closing."""

import numpy as np
from attention_study import compute, foregrounds, made_nodes, maps
from clicks import click, scene_state, spin, tick
from scene_files import load_without, save_in_files


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


def test_a_deleted_map_gives_the_foreground_back(attention, scene, make_volume):
    from AutofocusSegmentationLib.attention.maps import remove_node

    mine, other = make_volume(name="PET"), make_volume(name="dose")
    for view in attention.views:
        view.SetForegroundVolumeID(mine.GetID())
        view.SetForegroundOpacity(0.3)
    before = foregrounds(attention)
    compute(attention, attention.ui.focusButton)
    attention.views[2].SetForegroundVolumeID(other.GetID())  # the user's own choice meanwhile
    remove_node(maps(attention)["layer8", "focus"])  # with its subject hierarchy item, as the Data module does
    attention.process()
    assert foregrounds(attention)[:2] == before[:2] and foregrounds(attention)[2][0] == other.GetID()
    assert not attention.ui.shownCheckBox.checked and not attention.parameters.attention_shown
    compute(attention, attention.ui.focusButton)
    assert attention.ui.shownCheckBox.checked
    assert {each[0] for each in foregrounds(attention)} == {maps(attention)["layer8", "focus"].GetID()}
    attention.views[1].SetForegroundVolumeID(None)  # the user's own choice, for the map is still there
    tick(attention.ui.shownCheckBox)
    assert [each[0] for each in foregrounds(attention)] == [mine.GetID(), None, other.GetID()]


def test_the_maps_of_a_deleted_segmentation_can_be_removed(attention, scene):
    layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutConventionalView)
    views = foregrounds(attention)
    compute(attention, attention.ui.allLayersButton)
    click(attention.ui.plotButton)
    scene.RemoveNode(attention.segmentation)
    attention.process()
    assert foregrounds(attention) == views and attention.ui.removeButton.enabled
    click(attention.ui.removeButton)
    assert made_nodes(scene) == [] and not attention.ui.removeButton.enabled
    assert layout.GetViewArrangement() == layout.SlicerLayoutConventionalView


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


def test_a_map_whose_file_is_gone_is_computed_again(attention, scene, tmp_path, vtk_errors):
    from AutofocusSegmentation import AutofocusSegmentationLogic

    compute(attention, attention.ui.focusButton)
    lost = maps(attention)["layer8", "focus"].GetName()
    save_in_files(tmp_path)
    attention.panel.scene_about_to_close()
    scene.Clear(0)
    load_without(tmp_path, f"{lost}.nrrd", vtk_errors)
    attention.parameters = AutofocusSegmentationLogic().getParameterNode()
    attention.segmentation = attention.parameters.result
    attention.panel.set_parameters(attention.parameters)
    attention.panel.enter()
    assert maps(attention) == {} and not attention.ui.focusTable.isVisible()
    compute(attention, attention.ui.focusButton)
    assert len(maps(attention)) == 1 and attention.ui.focusTable.isVisible()
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 2, "the map without voxels is gone"


def test_closing_the_scene_ends_the_run(attention, scene):
    click(attention.ui.focusButton)
    attention.panel.scene_about_to_close()
    scene.Clear(0)
    spin(lambda: not attention.panel.running)
    assert attention.engines[-1].cancelled


def propagate(volume):
    """What Slicer does with a volume that was just loaded."""
    import slicer

    slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(volume.GetID())
    slicer.app.applicationLogic().PropagateVolumeSelection()


def test_no_map_lies_over_another_patient(attention, make_ct):
    compute(attention, attention.ui.focusButton)
    before, other = foregrounds(attention), make_ct("CT B")
    propagate(other)
    attention.process()
    assert not attention.ui.shownCheckBox.checked and {each[0] for each in foregrounds(attention)} == {None}
    click(attention.ui.focusButton)
    assert foregrounds(attention) == before
    assert {view.GetBackgroundVolumeID() for view in attention.views} == {attention.volume.GetID()}
    tick(attention.ui.shownCheckBox)
    assert {view.GetBackgroundVolumeID() for view in attention.views} == {other.GetID()}, "as it was before"
    tick(attention.ui.shownCheckBox)
    assert {view.GetBackgroundVolumeID() for view in attention.views} == {attention.volume.GetID()}


def test_show_focus_map_shows_it_again_whatever_the_views_show(attention, make_volume):
    """Also in views of which another one still shows it."""
    mine = make_volume(name="PET")
    compute(attention, attention.ui.focusButton)
    before = foregrounds(attention)
    attention.views[0].SetForegroundVolumeID(mine.GetID())
    attention.process()
    assert attention.ui.shownCheckBox.checked, "two views show it"
    click(attention.ui.focusButton)
    assert foregrounds(attention) == before
    for view in attention.views:
        view.SetForegroundVolumeID(mine.GetID())
    attention.process()
    assert not attention.ui.shownCheckBox.checked
    click(attention.ui.focusButton)
    assert foregrounds(attention) == before and attention.ui.shownCheckBox.checked
    tick(attention.ui.shownCheckBox)
    assert {each[0] for each in foregrounds(attention)} == {mine.GetID()}
