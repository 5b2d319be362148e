"""A result brought into view, and handed to the Segment Editor: what the MRML nodes then say."""

import numpy as np
import pytest
from engine_results import job, labels, load, mask_of, reference_volume
from test_transforms import linear_transform, rigid

from harness.scene_makers import make_segmentation, make_volume

pytestmark = pytest.mark.usefixtures("scene")


@pytest.fixture
def views(scene):
    """The three slice views that Slicer starts with."""
    pytest.importorskip("PIL")
    from harness.offscreen_views import SliceView

    made = [SliceView(orientation, (120, 120)) for orientation in ("Axial", "Sagittal", "Coronal")]
    yield made
    for view in made:
        view.close()


def boxes(volume):
    small, large = np.zeros((16, 20, 24), np.uint8), np.zeros((16, 20, 24), np.uint8)
    small[3:5, 4:6, 5:7] = 1
    large[8:14, 8:18, 9:21] = 1
    return make_segmentation(volume, {"small": small, "large": large, "empty": np.zeros_like(small)})


@pytest.mark.parametrize("moved", [False, True])
def test_the_telling_point_lies_in_the_segment(moved):
    from AutofocusSegmentationLib.scene.transforms import ijk_to_local
    from AutofocusSegmentationLib.views.arrangement import telling_point

    volume = make_volume()
    segmentation = boxes(volume)
    world = np.eye(4)
    if moved:
        world = rigid()
        for node in (volume, segmentation):
            node.SetAndObserveTransformNodeID(linear_transform(world).GetID())
    to_ijk = np.linalg.inv(world @ ijk_to_local(volume))
    for segment, box in {"small": ((5, 4, 3), (7, 6, 5)), "large": ((9, 8, 8), (21, 18, 14))}.items():
        i, j, k = (to_ijk @ [*telling_point(segmentation, [segment]), 1])[:3]
        assert all(first - 0.01 <= at <= last - 0.99 for at, first, last in zip((i, j, k), *box))
    assert telling_point(segmentation, ["empty"]) is None


def test_the_image_lies_behind_and_the_slices_go_through(views):
    from AutofocusSegmentationLib.views.arrangement import show_behind, show_in_slices, telling_point

    other, volume = make_volume(name="other"), make_volume(name="CT")
    segmentation = boxes(volume)
    for view in views:
        view.show(other, foreground=volume)
        view.node.SetSliceOffset(999)
    show_behind(volume)
    origins = [view.node.GetXYZOrigin() for view in views]
    assert show_in_slices(segmentation, ["large"])
    point = telling_point(segmentation, ["large"])
    for view, origin in zip(views, origins):
        composite = view.logic.GetSliceCompositeNode()
        assert composite.GetBackgroundVolumeID() == volume.GetID()
        assert composite.GetForegroundVolumeID() is None, "the same volume twice shows nothing more"
        assert np.abs(in_view(view, point)[2]) < 0.01, "the slice goes through the point"
        assert view.node.GetXYZOrigin() == origin, "it is seen anyway, so the view is not shifted"
    before = [view.node.GetSliceOffset() for view in views]
    assert not show_in_slices(segmentation, ["empty"])
    assert [view.node.GetSliceOffset() for view in views] == before


def test_a_view_that_looks_elsewhere_is_centred(views):
    from AutofocusSegmentationLib.views.arrangement import show_in_slices, telling_point

    volume = make_volume(name="CT")
    segmentation = boxes(volume)
    for view in views:
        view.show(volume)
        view.node.SetFieldOfView(8, 8, 1)  # zoomed in, and away
        view.node.JumpSliceByCentering(300, 300, 300)
    assert show_in_slices(segmentation, ["small"])
    for view in views:
        assert np.abs(in_view(view, telling_point(segmentation, ["small"]))).max() < 0.01


def in_view(view, point):
    """A world position in mm from the middle of the view: to the right, up, out of the slice."""
    import slicer

    return (np.linalg.inv(slicer.util.arrayFromVTKMatrix(view.node.GetSliceToRAS())) @ [*point, 1])[:3]


def test_a_foreground_of_the_user_stays(views):
    from AutofocusSegmentationLib.views.arrangement import show_behind

    volume, dose = make_volume(name="CT"), make_volume(name="dose")
    views[0].show(volume, foreground=dose, opacity=0.4)
    show_behind(volume)
    composite = views[0].logic.GetSliceCompositeNode()
    assert composite.GetForegroundVolumeID() == dose.GetID()
    assert composite.GetForegroundOpacity() == pytest.approx(0.4)


@pytest.mark.parametrize("patient, stays", [("Adams", True), ("Brown", False), (None, False)])
def test_another_patients_foreground_goes(views, patient, stays):
    """A PET fused with another CT would pass as this patient's; None: nobody knows whose CT it is."""
    from study_nodes import put_in_study

    from AutofocusSegmentationLib.views.arrangement import show_behind

    before, pet, volume = make_volume(name="CT 1"), make_volume(name="PET"), make_volume(name="CT 2")
    for node in (before, pet):
        put_in_study(node, "Adams", "study")
    if patient:
        put_in_study(volume, patient, "study")
    for view in views:
        view.show(before, foreground=pet, opacity=0.4)
    show_behind(volume)
    composites = [view.logic.GetSliceCompositeNode() for view in views]
    assert {each.GetBackgroundVolumeID() for each in composites} == {volume.GetID()}
    assert {each.GetForegroundVolumeID() for each in composites} == {pet.GetID() if stays else None}


@pytest.mark.parametrize("own", [True, False])
def test_with_its_image_unknown_a_segmentation_keeps_its_own_map_alone(views, own):
    from AutofocusSegmentationLib.attention import maps, overlay
    from AutofocusSegmentationLib.views.arrangement import show_no_other_image

    volume, pet, focus = (make_volume(name=name) for name in ("CT", "PET", "focus"))
    segmentation, other = boxes(volume), boxes(volume)
    maps.mark(focus, segmentation if own else other, "map")
    segmentation.SetNodeReferenceID(segmentation.GetReferenceImageGeometryReferenceRole(), None)
    for view in views:
        view.show(volume, foreground=pet)
    overlay.show(focus, 0.5, other, volume)
    show_no_other_image(segmentation)
    composites = [view.logic.GetSliceCompositeNode() for view in views]
    assert {each.GetForegroundVolumeID() for each in composites} == {focus.GetID() if own else None}
    overlay.hide()
    assert {each.GetForegroundVolumeID() for each in composites} == {None}, "what the map replaced stays away, too"
    assert {each.GetBackgroundVolumeID() for each in composites} == {None}


def editor_node():
    import slicer

    return slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")


def test_the_editor_leaves_overlapping_regions_alone(tmp_path, brain, pelvis):
    from AutofocusSegmentationLib.views.editing import prepare_segment_editor, regions_overlap

    reference = reference_volume()
    job(tmp_path / "brain", brain, reference, labels(brain))
    job(tmp_path / "pelvis", pelvis, reference, labels(pelvis))
    tumour = load(brain, tmp_path / "brain", reference).segmentation
    organs = load(pelvis, tmp_path / "pelvis", reference).segmentation
    assert regions_overlap(tumour, brain) and not regions_overlap(organs, pelvis)
    assert regions_overlap(tumour, None) and not regions_overlap(organs, None), "of a model that is gone"

    prepare_segment_editor(tumour, reference, "tumour_core", overlap=True)
    editor = editor_node()
    assert editor.GetSegmentationNode() is tumour and editor.GetSourceVolumeNode() is reference
    assert editor.GetSelectedSegmentID() == "tumour_core"
    assert editor.GetOverwriteMode() == editor.OverwriteNone
    prepare_segment_editor(organs, reference)
    assert editor_node() is editor, "a second one would not be what the editor uses"
    assert editor.GetSelectedSegmentID() == "prostate"
    assert editor.GetOverwriteMode() == editor.OverwriteAllSegments
    editor.SetOverwriteMode(editor.OverwriteVisibleSegments)
    prepare_segment_editor(organs, reference, "rectum")
    assert editor.GetOverwriteMode() == editor.OverwriteVisibleSegments, "the user's own choice"


@pytest.mark.parametrize("overlap", [True, False])
def test_painting_in_the_inner_region_keeps_the_outer(tmp_path, brain, overlap):
    """A stroke through the editor's own logic with this node's settings; its default would erase whole and core."""
    import slicer

    from AutofocusSegmentationLib.views.editing import prepare_segment_editor

    reference = reference_volume()
    job(tmp_path / "job", brain, reference, labels(brain))
    node = load(brain, tmp_path / "job", reference).segmentation
    prepare_segment_editor(node, reference, "enhancing_tumour", overlap)
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetSegmentEditorNode(editor_node())
    before = mask_of(node, "whole_tumour", reference)
    logic.UpdateReferenceGeometryImage()
    logic.ResetModifierLabelmapToDefault()
    logic.GetModifierLabelmap().GetPointData().GetScalars().Fill(1)
    logic.ModifySegmentByLabelmap(
        node, "enhancing_tumour", logic.GetModifierLabelmap(), logic.ModificationModeAdd, False, False)
    assert mask_of(node, "enhancing_tumour", reference).all()
    assert np.array_equal(mask_of(node, "whole_tumour", reference), before if overlap else np.zeros_like(before))
