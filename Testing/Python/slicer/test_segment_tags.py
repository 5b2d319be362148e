"""The tags of a result's segments: status of what is cut off, and what a DICOM SEG will say of its making."""

import numpy as np
import pytest
from engine_results import edit, job, labels, load, mask_of, reference_volume, tag

pytestmark = pytest.mark.usefixtures("scene")


def test_cut_organs_are_flagged(tmp_path, pelvis):
    """`labels` lets the last structure reach the edge; on a second run without that, the flag of ours goes, and none of
    a user's."""
    import slicer

    reference, whole = reference_volume(), labels(pelvis)
    whole[:, :, 25:] = 0
    job(tmp_path / "1", pelvis, reference, labels(pelvis))
    job(tmp_path / "2", pelvis, reference, whole)
    node = load(pelvis, tmp_path / "1", reference).segmentation
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert tag(node, "femur_right", logic.GetStatusTagName()) == "flagged"
    assert tag(node, "prostate", logic.GetStatusTagName()) is None
    logic.SetSegmentStatus(node.GetSegmentation().GetSegment("prostate"), logic.Completed)
    logic.SetSegmentStatus(node.GetSegmentation().GetSegment("rectum"), logic.Flagged)
    load(pelvis, tmp_path / "2", reference, node)
    status = {item: logic.GetSegmentStatus(node.GetSegmentation().GetSegment(item)) for item in
              ("femur_right", "prostate", "rectum")}
    assert status == {"femur_right": logic.NotStarted, "prostate": logic.Completed, "rectum": logic.Flagged}


def test_how_a_segment_was_made(tmp_path, pelvis):
    from AutofocusSegmentationLib.segments.tags import mark_edits

    reference = reference_volume()
    job(tmp_path / "job", pelvis, reference, labels(pelvis))
    node = load(pelvis, tmp_path / "job", reference).segmentation
    node.GetSegmentation().AddEmptySegment("mine", "Mine", (1, 1, 0))
    kind, name = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"
    assert tag(node, "bladder", kind) == "AUTOMATIC"
    assert tag(node, "bladder", name) == f"AutofocusSegmentation pelvis-ct {pelvis.version}"
    edit(node, "bladder", reference)
    assert mark_edits(node) == ["bladder"]
    assert tag(node, "bladder", kind) == "SEMIAUTOMATIC" and tag(node, "rectum", kind) == "AUTOMATIC"
    assert tag(node, "mine", kind) is None, "Slicer exports it as MANUAL"
    edit(node, "bladder", reference)
    assert mark_edits(node) == [] and tag(node, "bladder", kind) == "AUTOMATIC"


def test_inner_regions_are_seen_through_the_outer(tmp_path, brain):
    """And a second run leaves what the user chose."""
    reference = reference_volume()
    job(tmp_path / "job", brain, reference, labels(brain))
    node = load(brain, tmp_path / "job", reference).segmentation
    display = node.GetDisplayNode()
    assert display.GetSegmentOpacity3D("whole_tumour") == pytest.approx(0.3)
    assert not display.GetSegmentVisibility2DFill("whole_tumour")
    assert display.GetSegmentVisibility2DOutline("whole_tumour")
    assert 0.3 < display.GetSegmentOpacity3D("tumour_core") < 1 and display.GetSegmentVisibility2DFill("tumour_core")
    assert display.GetSegmentOpacity3D("enhancing_tumour") == 1
    display.SetSegmentOpacity3D("whole_tumour", 0.8)
    load(brain, tmp_path / "job", reference, node)
    assert display.GetSegmentOpacity3D("whole_tumour") == pytest.approx(0.8)


@pytest.mark.parametrize("box", [np.s_[2:20, 3:20, 3:25], np.s_[:1, :1, :1], np.s_[:0]], ids=["over", "beside", "none"])
def test_new_voxels_of_a_segment_leave_those_of_the_others_in_its_layer(tmp_path, pelvis, box):
    from AutofocusSegmentationLib.scene.grids import grid_of_volume
    from AutofocusSegmentationLib.segments.voxels import cut_to_box, replace_voxels

    reference = reference_volume()
    job(tmp_path / "job", pelvis, reference, labels(pelvis))
    node = load(pelvis, tmp_path / "job", reference).segmentation
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    masks = {item.id: mask_of(node, item.id, reference) for item in pelvis.structures}
    masks["bladder"] = np.zeros_like(masks["bladder"])
    masks["bladder"][box] = True
    replace_voxels(node, "bladder", cut_to_box(masks["bladder"]), grid_of_volume(reference))
    for item, mask in masks.items():
        assert np.array_equal(mask_of(node, item, reference), mask), item


def test_volumes_as_they_are_now(tmp_path, brain):
    """Also of segments that share a layer, and after an edit."""
    from AutofocusSegmentationLib.segments.voxels import segment_volumes

    reference, codes = reference_volume(), labels(brain)
    report = job(tmp_path / "job", brain, reference, codes)
    node = load(brain, tmp_path / "job", reference).segmentation
    node.GetSegmentation().AddEmptySegment("mine", "Mine", (1, 1, 0))
    before = segment_volumes(node)
    assert before.pop("mine") == 0
    assert before == pytest.approx({item["id"]: item["volume_ml"] for item in report["structures"]})
    edit(node, "whole_tumour", reference)
    inside = np.isin(codes[10, 10, 10:20], brain.structures[0].labels).sum()
    change = (10 - 2 * inside) * 0.9 * 1.1 * 2.5 / 1000
    assert segment_volumes(node)["whole_tumour"] == pytest.approx(before["whole_tumour"] + change)
