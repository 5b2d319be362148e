"""Paths and fixtures of all tests. Slicer and Qt start when a test first asks for a fixture of theirs.

Without Qt: `slicer_app` (slicer-core running), `scene` (an empty scene), `make_volume`, `make_segmentation`,
`messages`. With Qt: `qt_app`, `main_window`, `open_module`. After each test with `scene`, VTK must have reported no
error, and no slot or observer may have raised.
"""

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
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from harness import headless, scripted_module

    headless.start()
    scripted_module.install(gui=False)
    import slicer

    return slicer


@pytest.fixture
def messages(slicer_app):
    """What slicer.util's message functions were asked to show; `.answers[function]` sets the reply."""
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
def slot_errors(monkeypatch):
    """Exceptions raised in Qt slots and VTK observers: they reach nobody but sys.excepthook.

    A test that provokes one ends with `slot_errors.clear()`.
    """
    raised = []
    monkeypatch.setattr(sys, "excepthook", lambda _kind, error, _trace: raised.append(error))
    return raised


@pytest.fixture
def scene(slicer_app, vtk_errors, slot_errors, messages):
    """An empty scene, cleared afterwards; then VTK must have reported no error and no slot have raised."""
    slicer_app.mrmlScene.Clear(0)
    vtk_errors.clear()
    yield slicer_app.mrmlScene
    errors = list(vtk_errors.errors)
    slicer_app.mrmlScene.Clear(0)
    errors += [error for error in vtk_errors.errors if error not in errors]
    vtk_errors.clear()
    assert not errors, "VTK reported: " + errors[0]
    if slot_errors:
        raise AssertionError(f"a slot or observer raised {slot_errors[0]!r}") from slot_errors[0]


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


@pytest.fixture(scope="session")
def qt_app(slicer_app):
    """The modules qt and ctk and Slicer's widgets, as stand-ins on PySide6; gives the module qt."""
    pytest.importorskip("PySide6.QtWidgets", reason="PySide6 is not installed", exc_type=ImportError)
    from harness import scripted_module

    scripted_module.install(gui=True)
    import qt

    return qt


@pytest.fixture
def main_window(qt_app, scene):
    """Stand-in for Slicer's main window, shown; its `close()` returns False if an event filter kept it open."""
    from harness.qtshim.deletion import delete_now
    from harness.qtshim.window import qSlicerMainWindow

    qt_app.QSettings().clear()
    window = qSlicerMainWindow()
    window.resize(520, 900)
    window.show()
    yield window
    delete_now(window)


@pytest.fixture
def open_module(main_window, slicer_app, qt_app):
    """`open_module("AutofocusSegmentation")` opens the module as a user does and returns its Python widget.

    Afterwards it is left, cleaned up and deleted, as when Slicer closes.
    """
    from harness import scripted_module

    opened = []

    def open_(name="AutofocusSegmentation", folder=REPOSITORY / "AutofocusSegmentation"):
        handle = scripted_module.register_module(folder / f"{name}.py")
        opened.append(handle)
        representation = handle.widgetRepresentation()
        main_window.centralWidget().addWidget(representation)
        main_window.centralWidget().setCurrentWidget(representation)
        main_window.moduleSelector().selectModule(name)
        qt_app.QApplication.processEvents()
        return representation.self()

    yield open_
    main_window.moduleSelector().selectModule("")
    for handle in opened:
        handle.close()
