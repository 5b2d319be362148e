"""A second result into the same segmentation: what the user edited or made stays."""

import numpy as np
import pytest
from engine_results import (
    SIZE,
    edit,
    job,
    labels,
    load,
    mask_of,
    reference_volume,
    segment_ids,
)

from harness.scene_makers import oblique

pytestmark = pytest.mark.usefixtures("scene")


def test_edits_are_seen(tmp_path, pelvis):
    from AutofocusSegmentationLib.segments.tags import edited_segments

    reference = reference_volume()
    job(tmp_path / "job", pelvis, reference, labels(pelvis))
    segmentation = load(pelvis, tmp_path / "job", reference).segmentation
    assert edited_segments(segmentation) == []
    edit(segmentation, "bladder", reference)
    assert edited_segments(segmentation) == ["bladder"]
    edit(segmentation, "bladder", reference)
    assert edited_segments(segmentation) == [], "undone"


def test_what_is_no_edit(tmp_path, brain):
    """Air around the voxels, layers, surfaces, names and colours are not the voxels."""
    import slicer

    from AutofocusSegmentationLib.segments.tags import edited_segments

    reference = reference_volume()
    job(tmp_path / "job", brain, reference, labels(brain))
    node = load(brain, tmp_path / "job", reference).segmentation
    segmentation = node.GetSegmentation()
    segmentation.GetSegment("whole_tumour").SetName("lesion")
    segmentation.GetSegment("whole_tumour").SetColor(0, 0, 1)
    node.CreateClosedSurfaceRepresentation()
    for segment_id in segment_ids(node):  # the same voxels, on the whole extent of the reference
        mask = mask_of(node, segment_id, reference).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment_id, reference)
        segmentation.SeparateSegmentLabelmap(segment_id)
    assert edited_segments(node) == []


def test_second_run_replaces_what_nobody_edited(tmp_path, brain):
    from AutofocusSegmentationLib.segments.tags import edited_segments

    reference, second = reference_volume(), labels(brain, seed=2)
    job(tmp_path / "1", brain, reference, labels(brain))
    job(tmp_path / "2", brain, reference, second)
    first = load(brain, tmp_path / "1", reference)
    segment = first.segmentation.GetSegmentation().GetSegment("tumour_core")
    segment.SetName("TUMOUR CORE")
    segment.SetColor(0.1, 0.2, 0.3)
    first.segmentation.CreateClosedSurfaceRepresentation()
    before = first.segmentation.GetClosedSurfaceInternalRepresentation("tumour_core").GetBounds()
    result = load(brain, tmp_path / "2", reference, first.segmentation)
    assert result.segmentation is first.segmentation and result.table is first.table
    assert segment_ids(result.segmentation) == [structure.id for structure in brain.structures]
    for structure in brain.structures:
        expected = np.isin(second, structure.labels)
        assert np.array_equal(mask_of(result.segmentation, structure.id, reference), expected)
    kept = result.segmentation.GetSegmentation().GetSegment("tumour_core")
    assert kept.GetName() == "TUMOUR CORE" and kept.GetColor() == pytest.approx((0.1, 0.2, 0.3))
    result.segmentation.CreateClosedSurfaceRepresentation()
    after = result.segmentation.GetClosedSurfaceInternalRepresentation("tumour_core").GetBounds()
    assert after != before, "the surface follows"
    assert edited_segments(result.segmentation) == []


def test_second_run_keeps_what_the_user_made(tmp_path, pelvis):
    """An edited bladder, a copy of the rectum, a segment of his own: all stay; the new bladder goes in beside."""
    import slicer

    from AutofocusSegmentationLib.results.volumes_table import structure_volumes
    from AutofocusSegmentationLib.segments.tags import edited_segments

    reference, second = reference_volume(), labels(pelvis, seed=2)
    job(tmp_path / "1", pelvis, reference, labels(pelvis))
    job(tmp_path / "2", pelvis, reference, second)
    node = load(pelvis, tmp_path / "1", reference).segmentation
    segmentation = node.GetSegmentation()
    edit(node, "bladder", reference)
    copy = slicer.vtkSegment()
    copy.DeepCopy(segmentation.GetSegment("rectum"))
    copy.SetName("Rectum before")
    segmentation.AddSegment(copy, "rectum_copy")
    segmentation.AddEmptySegment("mine", "Mine", (1, 1, 0))
    mine = np.zeros(SIZE[::-1], np.uint8)
    mine[1:3, 1:3, 1:3] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mine, node, "mine", reference)
    kept = {item: mask_of(node, item, reference) for item in ("bladder", "rectum_copy", "mine")}

    for _ in range(2):  # the second time, the bladder made beside is replaced: nothing piles up
        result = load(pelvis, tmp_path / "2", reference, node)
    ids = segment_ids(node)
    assert len(ids) == 9 and set(kept) < set(ids)
    for item, mask in kept.items():
        assert np.array_equal(mask_of(node, item, reference), mask), item
    assert np.array_equal(mask_of(node, "rectum", reference), second == 4)
    (new,) = set(ids) - set(kept) - {structure.id for structure in pelvis.structures}
    assert segmentation.GetSegment(new).GetName() == "Bladder (new)"
    assert np.array_equal(mask_of(node, new, reference), second == 3)
    assert set(edited_segments(node)) == {"bladder", "rectum_copy"}
    assert new in structure_volumes(result.table) and "bladder" not in structure_volumes(result.table)

    edit(node, new, reference)
    load(pelvis, tmp_path / "2", reference, node)
    names = [segmentation.GetNthSegment(index).GetName() for index in range(segmentation.GetNumberOfSegments())]
    assert names.count("Bladder (new 2)") == 1 and len(names) == 10


@pytest.mark.parametrize("older", [False, True])
def test_second_run_never_writes_under_a_name_with_another_meaning(tmp_path, pelvis, older):
    """The user corrects the sides by name: the left femur must not come back under the name of the right one.

    Older results do not keep what their structures were called; the model says it.
    """
    from afnet.output.segment_tags import NAME_TAG

    reference, second = reference_volume(), labels(pelvis, seed=2)
    job(tmp_path / "1", pelvis, reference, labels(pelvis))
    job(tmp_path / "2", pelvis, reference, second)
    node = load(pelvis, tmp_path / "1", reference).segmentation
    segmentation = node.GetSegmentation()
    sides = {"femur_left": "Right femur", "femur_right": "Left femur"}
    before = {item: mask_of(node, item, reference) for item in sides}
    for item, name in sides.items():
        segmentation.GetSegment(item).SetName(name)
        if older:
            segmentation.GetSegment(item).RemoveTag(NAME_TAG)
    load(pelvis, tmp_path / "2", reference, node)
    for item, name in sides.items():
        assert segmentation.GetSegment(item).GetName() == name
        assert np.array_equal(mask_of(node, item, reference), before[item])
    for code, name in ((5, "Left femur (new)"), (6, "Right femur (new)")):
        new = segmentation.GetSegmentIdBySegmentName(name)
        assert np.array_equal(mask_of(node, new, reference), second == code)


def test_second_run_replaces_a_segment_under_its_standard_name(tmp_path, pelvis):
    """A rename to TG-263 is no new meaning."""
    reference, second = reference_volume(), labels(pelvis, seed=2)
    job(tmp_path / "1", pelvis, reference, labels(pelvis))
    job(tmp_path / "2", pelvis, reference, second)
    node = load(pelvis, tmp_path / "1", reference).segmentation
    node.GetSegmentation().GetSegment("femur_left").SetName("Femur_L")
    load(pelvis, tmp_path / "2", reference, node)
    assert segment_ids(node) == [structure.id for structure in pelvis.structures]
    assert np.array_equal(mask_of(node, "femur_left", reference), second == 5)


def test_into_an_empty_segmentation(tmp_path, pelvis):
    """As when the user makes one in the selector first; it moves under the image's transform."""
    import slicer
    from test_transforms import linear_transform, rigid

    reference = reference_volume()
    reference.SetAndObserveTransformNodeID(linear_transform(rigid()).GetID())
    job(tmp_path / "job", pelvis, reference, labels(pelvis))
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    result = load(pelvis, tmp_path / "job", reference, output)
    assert result.segmentation is output and output.GetName() == "Mine"
    assert output.GetParentTransformNode() is reference.GetParentTransformNode()
    assert np.array_equal(mask_of(output, "rectum", reference), labels(pelvis) == 4)


@pytest.mark.parametrize("before", [None, "equal", "other"])
def test_second_run_lies_on_an_image_that_was_moved_since(tmp_path, pelvis, before):
    """As a registration does: what nobody edited goes under the image's transform, or stays under one like it."""
    from test_transforms import linear_transform, rigid

    reference, second = reference_volume(), labels(pelvis, seed=2)
    job(tmp_path / "1", pelvis, reference, labels(pelvis))
    job(tmp_path / "2", pelvis, reference, second)
    node = load(pelvis, tmp_path / "1", reference).segmentation
    moved = linear_transform(rigid())
    reference.SetAndObserveTransformNodeID(moved.GetID())
    own = before and linear_transform(rigid() if before == "equal" else rigid(5))
    node.SetAndObserveTransformNodeID(own.GetID() if own else None)
    load(pelvis, tmp_path / "2", reference, node)
    assert node.GetParentTransformNode() is (own if before == "equal" else moved)
    assert np.array_equal(mask_of(node, "rectum", reference), second == 4)


def test_result_on_another_image(tmp_path, pelvis):
    """The same output for another scan would lose the first one's result, also when the first scan is gone."""
    import slicer

    from AutofocusSegmentationLib.results.result_files import ResultError
    from AutofocusSegmentationLib.segments.tags import edited_segments

    first, other = reference_volume(), reference_volume(oblique(spacing=(1, 1, 3), origin=(7, 8, 9)))
    job(tmp_path / "1", pelvis, first, labels(pelvis))
    job(tmp_path / "2", pelvis, other, labels(pelvis, seed=2))
    node = load(pelvis, tmp_path / "1", first).segmentation
    with pytest.raises(ResultError, match="what a model found in another image: choose a new segmentation"):
        load(pelvis, tmp_path / "2", other, node)
    assert np.array_equal(mask_of(node, "prostate", first), labels(pelvis) == 1)
    slicer.mrmlScene.RemoveNode(first)
    before = mask_of(node, "prostate", other)
    with pytest.raises(ResultError, match="found in an image that is no longer in the scene: choose a new"):
        load(pelvis, tmp_path / "2", other, node)
    assert np.array_equal(mask_of(node, "prostate", other), before) and edited_segments(node) == []


def test_the_output_of_another_patient(tmp_path, pelvis):
    """Drawn by hand on an image of the same size: only the subject hierarchy knows that it is another patient."""
    import slicer
    from study_nodes import put_in_study

    from AutofocusSegmentationLib.results.output_check import output_problem
    from harness.scene_makers import make_segmentation

    adams, brown, unknown = (reference_volume() for _ in range(3))
    put_in_study(adams, "Adams", "CT 1")
    put_in_study(brown, "Brown", "CT 2")
    drawn = make_segmentation(adams, {"bladder": np.ones(SIZE[::-1], bool)})
    assert output_problem(pelvis, adams, drawn) == ""
    problem = output_problem(pelvis, brown, drawn)
    assert problem == "The output belongs to another patient than the image: choose a new segmentation as output."
    unsure = output_problem(pelvis, unknown, drawn, named=False)
    assert unsure == ("The output has segments of yours that were drawn on another image: choose a new segmentation as "
                      "output."), "nobody knows that it is Adams"
    slicer.mrmlScene.RemoveNode(adams)
    put_in_study(drawn, "Adams", "CT 1")
    assert output_problem(pelvis, brown, drawn) == problem


def test_what_a_user_completed_is_kept(tmp_path, pelvis):
    """Approved as it was found: new voxels under that status would be approved unseen."""
    import slicer

    reference, second = reference_volume(), labels(pelvis, seed=2)
    job(tmp_path / "1", pelvis, reference, labels(pelvis))
    job(tmp_path / "2", pelvis, reference, second)
    node = load(pelvis, tmp_path / "1", reference).segmentation
    logic, segments = slicer.vtkSlicerSegmentationsModuleLogic, node.GetSegmentation()
    logic.SetSegmentStatus(segments.GetSegment("prostate"), logic.Completed)
    logic.SetSegmentStatus(segments.GetSegment("bladder"), logic.InProgress)
    load(pelvis, tmp_path / "2", reference, node)
    assert np.array_equal(mask_of(node, "prostate", reference), labels(pelvis) == 1)
    assert logic.GetSegmentStatus(segments.GetSegment("prostate")) == logic.Completed
    new = segments.GetSegmentIdBySegmentName("Prostate (new)")
    assert np.array_equal(mask_of(node, new, reference), second == 1)
    assert np.array_equal(mask_of(node, "bladder", reference), second == 3)
    assert logic.GetSegmentStatus(segments.GetSegment("bladder")) == logic.NotStarted


def test_what_a_user_completed_gets_no_twin(tmp_path, pelvis):
    """The same run finds the same again: 'Left femur (new)' would hold nothing new, and be in the way of a NIfTI."""
    import slicer

    from AutofocusSegmentationLib.results.volumes_table import structure_volumes
    from AutofocusSegmentationLib.segments.tags import edited_segments

    reference = reference_volume()
    codes = labels(pelvis)
    codes[codes == 2] = 0  # that there are none can be approved, too
    job(tmp_path / "job", pelvis, reference, codes)
    node = load(pelvis, tmp_path / "job", reference).segmentation
    logic, segments = slicer.vtkSlicerSegmentationsModuleLogic, node.GetSegmentation()
    for item in ("femur_left", "seminal_vesicles"):
        logic.SetSegmentStatus(segments.GetSegment(item), logic.Completed)
    segments.GetSegment("rectum").SetName("Anal canal")
    edit(node, "bladder", reference)
    result = load(pelvis, tmp_path / "job", reference, node)
    new = set(segment_ids(node)) - {structure.id for structure in pelvis.structures}
    assert {segments.GetSegment(item).GetName() for item in new} == {"Bladder (new)", "Rectum"}
    assert logic.GetSegmentStatus(segments.GetSegment("femur_left")) == logic.Completed
    assert edited_segments(node) == ["bladder"] and "femur_left" in structure_volumes(result.table)


def clone_of(node):
    """As `Clone` in the Data module does (vtkSlicerSubjectHierarchyModuleLogic::CloneSubjectHierarchyItem)."""
    import slicer

    clone = slicer.mrmlScene.AddNewNodeByClass(node.GetClassName(), node.GetName() + " Copy")
    name = clone.GetName()
    clone.Copy(node)
    clone.SetName(name)
    return clone


def test_a_clone_does_not_share_the_table_of_volumes(tmp_path, pelvis):
    import slicer

    from AutofocusSegmentationLib.results.volumes_table import structure_volumes, table_of

    reference, second = reference_volume(), labels(pelvis, seed=2)
    job(tmp_path / "1", pelvis, reference, labels(pelvis))
    job(tmp_path / "2", pelvis, reference, np.where(second == 3, 0, second))
    original = load(pelvis, tmp_path / "1", reference)
    clone = clone_of(original.segmentation)
    assert table_of(original.segmentation) is original.table and table_of(clone) is None
    of_clone = load(pelvis, tmp_path / "2", reference, clone)
    assert of_clone.table is not original.table and table_of(clone) is of_clone.table
    assert structure_volumes(original.table)["bladder"] > 0 == structure_volumes(of_clone.table)["bladder"]
    another = clone_of(original.segmentation)
    slicer.mrmlScene.RemoveNode(original.segmentation)
    assert table_of(another) is None, "its original may have been segmented again before it was deleted"
