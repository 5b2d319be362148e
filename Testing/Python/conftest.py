"""Paths and fixtures of all tests. Nothing of Slicer or Qt is imported before a test asks for a fixture of theirs.

Fixtures: `slicer_app` (slicer-core running), `scene` (an empty scene), `make_volume`, `make_segmentation`, `messages`.
After each test that used Slicer, VTK must have reported no error.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
os.environ.setdefault("OMP_NUM_THREADS", "1")

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parents[1]
for folder in (TESTS, REPOSITORY / "Training", REPOSITORY / "AutofocusSegmentation"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import harness  # noqa: E402, F401 - keeps this folder's slicer/ out of the package slicer


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; the test is skipped where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}")
    return folder


@pytest.fixture(scope="session")
def slicer_app():
    """slicer-core, started once: slicer.mrmlScene, slicer.modules, slicer.app; no Qt."""
    if importlib.util.find_spec("vtkmodules") is None:  # comes with slicer-core; see headless.start for the order
        pytest.skip("slicer-core is not installed")
    from harness import headless, scripted_module

    headless.start()
    scripted_module.install(gui=False)
    import slicer

    return slicer


@pytest.fixture
def messages(slicer_app):
    """What slicer.util's message functions were asked to show; `messages.answers[function]` sets the reply."""
    from harness import messages as module

    record = module.recorded()
    record.reset()
    yield record
    record.reset()


@pytest.fixture
def vtk_errors(slicer_app):
    """The collector of VTK's errors. A test that provokes one ends with `vtk_errors.clear()`."""
    from harness import vtk_errors as module

    collector = module.collector()
    collector.clear()
    return collector


@pytest.fixture
def scene(slicer_app, vtk_errors, messages):
    """An empty scene. Afterwards VTK must have reported no error, and the scene is cleared."""
    slicer_app.mrmlScene.Clear(0)
    vtk_errors.clear()
    yield slicer_app.mrmlScene
    errors = list(vtk_errors.errors)
    slicer_app.mrmlScene.Clear(0)
    errors += [error for error in vtk_errors.errors if error not in errors]
    vtk_errors.clear()
    assert not errors, "VTK reported: " + errors[0]


@pytest.fixture
def make_volume(scene):
    """`make_volume(array, name=, ijk_to_ras=, label=False)` -> volume node; see harness.scene_makers."""
    from harness.scene_makers import make_volume

    return make_volume


@pytest.fixture
def make_segmentation(scene):
    """`make_segmentation(volume, {segment id: mask})` -> segmentation node; see harness.scene_makers."""
    from harness.scene_makers import make_segmentation

    return make_segmentation
