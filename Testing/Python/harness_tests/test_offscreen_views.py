"""Views without a window: what is drawn must be where the scene has it."""

import numpy as np
import pytest


@pytest.fixture
def study(scene, make_volume, make_segmentation):
    """A bright block on the patient's right, segmented in red."""
    array = np.zeros((20, 24, 28), np.float32)
    array[4:16, 4:20, 4:14] = 100
    geometry = np.diag([-1.0, 1.0, 1.0, 1.0])  # i grows to the patient's left
    volume = make_volume(array, ijk_to_ras=geometry)
    segmentation = make_segmentation(volume, {"block": array > 50})
    segmentation.GetSegmentation().GetSegment("block").SetColor(1, 0, 0)
    return volume, segmentation


def test_slice(study, tmp_path):
    from harness.offscreen_views import SliceView

    volume, segmentation = study
    segmentation.GetDisplayNode().SetVisibility(False)
    with SliceView("Axial", size=(280, 240)) as view:
        view.show(volume)
        plain = view.array()
        # Radiological view: the patient's right is on the picture's left.
        assert plain[120, 85].min() > 200 and plain[120, 200].max() < 30
        np.testing.assert_array_equal(view.array(), plain)

        segmentation.GetDisplayNode().SetVisibility(True)
        colored = view.array()
        assert colored[120, 85, 0] > colored[120, 85, 1] + 50
        assert colored[120, 85, 1] > 100  # half of the white block is seen through the red fill
        np.testing.assert_array_equal(colored[120, 230], plain[120, 230])

        view.jump((0, 0, 1))  # k = 1 is below the block
        assert view.array()[120, 85].max() < 30
        assert view.png(tmp_path / "slice.png").stat().st_size > 100


def test_three_d(study):
    from harness.offscreen_views import ThreeDView

    _volume, segmentation = study
    with ThreeDView(size=(200, 200), box=False) as view:
        view.fit()
        empty = view.array().astype(int)
        segmentation.CreateClosedSurfaceRepresentation()
        segmentation.GetDisplayNode().SetVisibility3D(True)
        view.fit()
        picture = view.array().astype(int)
    red = (picture[..., 0] > picture[..., 2] + 60).sum()
    assert red > 2000 and not (empty[..., 0] > empty[..., 2] + 60).any()


def test_views_let_go_of_the_scene(study, scene, slicer_app):
    from harness.offscreen_views import SliceView, ThreeDView

    def nodes():
        every = (scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes()))
        return sorted(name for name in every if "SubjectHierarchy" not in name)

    before = nodes()
    for view in (SliceView(), ThreeDView()):
        view.array()
        view.close()
    assert nodes() == before
    assert slicer_app.app.applicationLogic().GetSliceLogics().GetNumberOfItems() == 0
