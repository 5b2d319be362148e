"""The headless Slicer itself: scene, module logics, loading and saving."""

import numpy as np
import pytest


def test_saved_bundle_comes_back(scene, make_volume, make_segmentation, tmp_path):
    import slicer.util

    volume = make_volume(name="ct")
    values = slicer.util.arrayFromVolume(volume).copy()
    masks = {"inner": values > 50, "outer": values > 20}  # overlapping: two layers
    make_segmentation(volume, masks, name="result")
    geometry = slicer.util.arrayFromVTKMatrix(_ijk_to_ras(volume))
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))

    scene.Clear(0)
    assert not slicer.util.getNodes("result")
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))

    volume, segmentation = slicer.util.getNode("ct"), slicer.util.getNode("result")
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(_ijk_to_ras(volume)), geometry, atol=1e-9)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), values)
    for segment, mask in masks.items():
        back = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume)
        np.testing.assert_array_equal(back > 0, mask)


def test_names_that_only_the_wheel_has_are_gone(slicer_app):
    import slicer.util

    assert callable(slicer.util.getNode)
    for name in ("getNode", "arrayFromVolume", "VTKObservationMixin", "vtkITKImageWriter"):
        with pytest.raises(AttributeError):
            getattr(slicer_app, name)
    import vtkITK

    assert vtkITK.vtkITKImageWriter()
    assert slicer_app.vtkSegment().GetClassName() == "vtkSegment"


def test_messages_are_recorded_and_answered(scene, messages):
    import slicer.util

    messages.answers["confirmYesNoDisplay"] = False
    assert slicer.util.confirmYesNoDisplay("Go on?") is False
    with pytest.raises(ValueError), slicer.util.tryWithErrorDisplay("That failed."):
        raise ValueError("because")
    assert messages.texts("confirmYesNoDisplay") == ["Go on?"]
    assert messages.texts("errorDisplay") == ["That failed.\n\nbecause"]


def test_vtk_errors_are_seen(scene, vtk_errors, tmp_path):
    import slicer.util

    (tmp_path / "broken.nrrd").write_bytes(b"NRRD0004\nnonsense\n")
    with pytest.raises(RuntimeError):
        slicer.util.loadVolume(str(tmp_path / "broken.nrrd"), {"show": False})
    assert vtk_errors.errors
    vtk_errors.clear()


def _ijk_to_ras(volume):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix
