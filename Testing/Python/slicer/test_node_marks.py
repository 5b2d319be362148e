"""Names that saved scenes hold; another name here, and what they say is no longer found."""

import pytest

pytestmark = pytest.mark.usefixtures("slicer_app")


def test_saved_scenes_are_read_by_the_names_that_they_were_written_with():
    from AutofocusSegmentationLib import parameters
    from AutofocusSegmentationLib.attention import maps
    from AutofocusSegmentationLib.finetuning import held_out_view
    from AutofocusSegmentationLib.scene import node_marks
    from AutofocusSegmentationLib.segments import study_record, tags
    from AutofocusSegmentationLib.views import charts

    assert parameters.CHOSEN_INPUT_ROLE == "Input."
    assert study_record.SEGMENTED_INPUT_ROLE == "AutofocusSegmentation.Input."
    assert node_marks.SEGMENTATION_ROLE == "AutofocusSegmentation.Segmentation"
    assert node_marks.COMPARISON_ATTRIBUTE == "AutofocusSegmentation.Comparison"
    assert node_marks.ATTENTION_ATTRIBUTE == "AutofocusSegmentation.Attention"
    assert node_marks.TABLE_ROLE == "AutofocusSegmentation.Volumes"
    assert study_record.STUDY_ATTRIBUTE == "AutofocusSegmentation.Study"
    assert tags.HASH_TAG == "AutofocusSegmentation.VoxelHash"
    assert [maps.LAYER, maps.MAP, maps.STUDY] == [
        f"AutofocusSegmentation.Attention{word}" for word in ("Layer", "Map", "Study")]
    assert charts.LAYOUT_BEFORE == "AutofocusSegmentation.LayoutBefore"
    assert charts.CHART_SHOWN == "AutofocusSegmentation.ChartShown"
    assert held_out_view._HIDDEN_ATTRIBUTE == "AutofocusSegmentation.HiddenForHeldOut"
    assert held_out_view._IMAGE_ATTRIBUTE == "AutofocusSegmentation.HeldOutImage"
    assert held_out_view._VOXELS_ATTRIBUTE == "AutofocusSegmentation.ComparisonVoxels"


def test_what_views_showed_before_is_kept_under_these_names(scene):
    import slicer

    from AutofocusSegmentationLib.views.view_layers import BACKGROUND, FOREGROUND, LentLayers

    view = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    for purpose, layer in (("AutofocusSegmentation.Map", FOREGROUND), ("AutofocusSegmentation.HeldOut", BACKGROUND)):
        volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        LentLayers(purpose, layer, end=lambda: None).put(view, layer, volume)
        assert view.GetNodeReference(f"{purpose}{layer}Put") is volume
        assert f"{purpose}{layer}Put" in view.GetAttributeNames()
    assert view.GetAttribute("AutofocusSegmentation.MapForegroundOpacityBefore") is not None
    assert slicer.mrmlScene is scene
