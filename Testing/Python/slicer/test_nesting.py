"""Tumour regions that no longer lie in each other after an edit, and the way back."""

import numpy as np
import pytest
from engine_results import SIZE, job, load, mask_of, reference_volume

from harness.scene_makers import put_under_transform

pytestmark = pytest.mark.usefixtures("scene")

REGIONS = ("whole_tumour", "tumour_core", "enhancing_tumour")


@pytest.fixture
def tumour(brain, tmp_path):
    """A loaded result: three boxes in each other. `paint(region, box, value)` edits one, as the editor does."""
    reference = reference_volume()
    codes = np.zeros(SIZE[::-1], np.uint8)
    codes[4:16, 4:16, 4:20] = 2
    codes[6:12, 6:12, 6:14] = 1
    codes[8:10, 8:10, 8:12] = 4
    job(tmp_path / "job", brain, reference, codes)
    node = load(brain, tmp_path / "job", reference).segmentation

    class Tumour:
        segmentation = node

        def masks(self):
            return {region: mask_of(node, region, reference) for region in REGIONS}

        def paint(self, region, box, value):
            import slicer.util

            mask = mask_of(node, region, reference).astype(np.uint8)
            mask[box] = value
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, region, reference)

    return Tumour()


def test_the_manifest_says_what_nests(brain, pelvis):
    from AutofocusSegmentationLib.segments.nesting import nested_pairs

    pairs = [(inner.id, outer.id) for inner, outer in nested_pairs(brain)]
    assert pairs == [("enhancing_tumour", "tumour_core"), ("tumour_core", "whole_tumour")]
    assert nested_pairs(pelvis) == []


def test_an_unedited_result_nests(tumour, brain):
    from AutofocusSegmentationLib.segments.nesting import check_nesting, make_nested

    before = tumour.masks()
    assert check_nesting(tumour.segmentation, brain) is None
    make_nested(tumour.segmentation, brain)
    assert all(np.array_equal(before[region], mask) for region, mask in tumour.masks().items())


def test_painting_inside_grows_what_is_around(tumour, brain):
    """A stroke of enhancing tumour across the border of the whole tumour: both outer regions take it."""
    from AutofocusSegmentationLib.segments.nesting import check_nesting, make_nested

    before = tumour.masks()
    stroke = np.s_[8, 8, 8:23]
    tumour.paint("enhancing_tumour", stroke, 1)
    problem = check_nesting(tumour.segmentation, brain)
    voxel_ml = 0.9 * 1.1 * 2.5 / 1000
    assert problem.grow
    (first,) = problem.overhangs  # the core is still inside the whole tumour
    assert (first.inner, first.outer, first.voxels) == ("Enhancing tumour", "Tumour core", 9)
    assert first.volume_ml == pytest.approx(9 * voxel_ml)
    assert "Enhancing tumour extends outside Tumour core by 9 voxels (0.02 ml)" in problem.sentence()
    put_under_transform(np.diag([2.0, 1, 1, 1]), tumour.segmentation)
    assert check_nesting(tumour.segmentation, brain).overhangs[0].volume_ml == pytest.approx(2 * 9 * voxel_ml)
    tumour.segmentation.SetAndObserveTransformNodeID(None)
    assert "nothing drawn is lost" in problem.sentence()
    make_nested(tumour.segmentation, brain)
    assert check_nesting(tumour.segmentation, brain) is None
    drawn = np.zeros_like(before["whole_tumour"])
    drawn[stroke] = True
    for region, mask in tumour.masks().items():
        assert np.array_equal(mask, before[region] | drawn), region


def test_erasing_outside_takes_what_is_inside_along(tumour, brain):
    """Half of the whole tumour erased: growing it back would undo the user's work, so the inner regions are cut."""
    from AutofocusSegmentationLib.segments.nesting import check_nesting, make_nested

    before = tumour.masks()
    erased = np.s_[:, :, 10:]
    tumour.paint("whole_tumour", erased, 0)
    problem = check_nesting(tumour.segmentation, brain)
    assert not problem.grow
    assert "erased from Whole tumour only" in problem.sentence() and "from Tumour core too" in problem.sentence()
    make_nested(tumour.segmentation, brain)
    assert check_nesting(tumour.segmentation, brain) is None
    for region, mask in tumour.masks().items():
        expected = before[region].copy()
        expected[erased] = False
        assert np.array_equal(mask, expected), region


def test_what_was_drawn_wins_over_what_was_erased(tumour, brain):
    from AutofocusSegmentationLib.segments.nesting import check_nesting, make_nested

    tumour.paint("whole_tumour", np.s_[:, :, 10:], 0)
    tumour.paint("enhancing_tumour", np.s_[2, 2, 2:5], 1)
    assert check_nesting(tumour.segmentation, brain).grow
    make_nested(tumour.segmentation, brain)
    masks = tumour.masks()
    assert check_nesting(tumour.segmentation, brain) is None
    assert masks["whole_tumour"][2, 2, 2:5].all() and masks["whole_tumour"][8, 8, 8:12].all()


def test_a_region_that_is_gone_is_not_compared(tumour, brain):
    from AutofocusSegmentationLib.segments.nesting import check_nesting

    tumour.segmentation.GetSegmentation().RemoveSegment("tumour_core")
    tumour.paint("enhancing_tumour", np.s_[2, 2, 2:5], 1)
    assert check_nesting(tumour.segmentation, brain) is None


def test_two_of_three_regions_are_compared(tumour, brain):
    from AutofocusSegmentationLib.segments.nesting import check_nesting

    tumour.segmentation.GetSegmentation().RemoveSegment("enhancing_tumour")
    tumour.paint("tumour_core", np.s_[2, 2, 2:5], 1)
    (overhang,) = check_nesting(tumour.segmentation, brain).overhangs
    assert (overhang.inner, overhang.outer, overhang.voxels) == ("Tumour core", "Whole tumour", 3)


@pytest.mark.parametrize("start", [(-1, 8, 8), (SIZE[0] - 1, 8, 8)])
def test_what_is_drawn_beyond_the_image_is_not_compared(tumour, brain, start):
    from AutofocusSegmentationLib.scene.grids import grid_of_segmentation
    from AutofocusSegmentationLib.segments.nesting import check_nesting
    from AutofocusSegmentationLib.segments.voxels import Voxels, replace_voxels

    voxels = Voxels(start, np.ones((2, 2, 2), bool))
    replace_voxels(tumour.segmentation, "enhancing_tumour", voxels, grid_of_segmentation(tumour.segmentation))
    assert check_nesting(tumour.segmentation, brain) is None
