"""Results, and images of results, that lie under transforms or were taken out of them: volumes, files, what is said."""

import numpy as np
import pytest
import SimpleITK as sitk
from clicks import click, rows
from result_lines import said
from test_results_panel import NAME, VOLUME, VOXEL_ML, pelvis, run  # noqa: F401 - a fixture

from afnet.models.manifest import find_model
from harness.scene_makers import put_under_transform, shift


def scaling(factor):
    return np.diag([factor, factor, factor, 1.0])


def test_a_transform_that_scales_counts_in_the_table_as_in_the_file(pelvis, tmp_path):  # noqa: F811
    put_under_transform(scaling(1.25), pelvis.volume, pelvis.segmentation)
    pelvis.process()
    assert pelvis.ui.updateButton.enabled, "the volumes may be others"
    click(pelvis.ui.updateButton)
    scaled = 8 * VOXEL_ML * 1.25**3
    assert rows(pelvis.ui.resultsTable, NAME, VOLUME)[2] == ("Bladder", f"{scaled:.2f}")
    assert said(pelvis) == ["A transform scales this result: the volumes are 1.95 times those without it."]
    pelvis.ui.exportFolderButton.directory = str(tmp_path)
    pelvis.ui.exportSection.collapsed = False
    pelvis.process()
    click(pelvis.ui.exportNiftiButton)
    labels = sitk.ReadImage(str(tmp_path / "pelvis-ct.nii.gz"))
    count = int((sitk.GetArrayFromImage(labels) == 3).sum())
    assert count * np.prod(labels.GetSpacing()) / 1000 == pytest.approx(scaled)


def test_a_transform_that_only_moves_changes_no_volume_and_is_not_told(pelvis):  # noqa: F811
    put_under_transform(shift(10, -5, 3), pelvis.volume, pelvis.segmentation)
    pelvis.panel.enter()
    assert rows(pelvis.ui.resultsTable, NAME, VOLUME)[2] == ("Bladder", "0.06")
    assert said(pelvis) == []


def test_a_transform_that_bends_is_told_for_it_has_no_one_factor(pelvis, scene):  # noqa: F811
    import slicer

    bent = scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(displacement())
    bent.SetAndObserveTransformToParent(grid)
    for node in (pelvis.volume, pelvis.segmentation):
        node.SetAndObserveTransformNodeID(bent.GetID())
    pelvis.panel.enter()
    assert rows(pelvis.ui.resultsTable, NAME, VOLUME)[2] == ("Bladder", "0.06")
    assert pelvis.ui.resultInfoLabel.text.startswith(
        "A non-linear transform deforms this result: the volumes are those before it.")


def displacement():
    """A grid of 2 x 2 x 2 points, 100 mm apart, one of which moves by 10 mm."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(2, 2, 2)
    image.SetSpacing(100, 100, 100)
    vectors = np.zeros((8, 3))
    vectors[7, 0] = 10
    image.GetPointData().SetScalars(numpy_to_vtk(vectors, deep=1))
    return image


@pytest.mark.parametrize("hardened", [("volume",), ("segmentation",), ("volume", "segmentation")])
def test_an_image_whose_transform_was_hardened_lies_where_it_was(results, make_ct, hardened):
    results.volume = make_ct()
    put_under_transform(shift(10, -5, 3), results.volume)
    results.segmentation = run(results, "pelvis-ct")
    assert results.segmentation.GetTransformNodeID()
    for name in hardened:
        getattr(results, name).HardenTransform()
    results.panel.enter()
    assert said(results) == []
    results.volume.SetOrigin(*(np.array(results.volume.GetOrigin()) + (1, 0, 0)))
    results.panel.enter()
    assert results.ui.resultInfoLabel.text.startswith("CT no longer lies where it was when this was made")


def test_attention_says_that_the_image_was_moved_or_hardened(results, make_ct):
    """The maps would be sampled on other points; that the image itself has changed would not be true."""
    from AutofocusSegmentationLib.segments.study_record import changed

    volume, manifest = make_ct(), find_model("pelvis-ct")
    put_under_transform(shift(10, -5, 3), volume)
    segmentation = run(results, "pelvis-ct")
    assert changed(segmentation, manifest) == ""
    volume.HardenTransform()
    assert changed(segmentation, manifest) == (
        "CT was moved, or its transform hardened, since it was segmented: segment the study again.")
