"""The headless Slicer itself: scene, module logics, loading and saving."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).resolve().parents[1]


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


def test_folder_of_tests_is_no_part_of_slicer(slicer_app):
    assert (TESTS / "slicer").is_dir() and str(TESTS) in sys.path
    assert not [folder for folder in slicer_app.__path__ if Path(folder).parent == TESTS]


def test_nothing_heavy_is_imported_before_it_is_asked_for():
    assert _python("import harness, conftest") == set()


def test_logic_runs_without_qt():
    code = (
        "from harness import headless, scripted_module; headless.start(); scripted_module.install();"
        "import qt, slicer;"
        "from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic as Logic;"
        "assert Logic().getParameterNode().GetID();"
        "exec('try: qt.QTimer()\\nexcept RuntimeError as error: assert \\'needs Qt\\' in str(error)\\nelse: 1/0')"
    )
    assert _python(code) == {"slicer", "vtk"}


def _python(code: str) -> set[str]:
    """Run `code` in a new process from the tests' folder; which of the heavy packages has it imported?"""
    code += "\nimport sys; print(*{'slicer', 'vtk', 'PySide6', 'torch'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def _ijk_to_ras(volume):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix
