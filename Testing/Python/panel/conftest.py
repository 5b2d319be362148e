"""Fixtures of the panel's tests: the module as Slicer loads it, the panel with fakes behind its Protocols."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture(scope="session")
def gui(slicer_app):
    """Qt's stand-in and the module, registered as Slicer does at start."""
    pytest.importorskip("PySide6", reason="PySide6 is not installed")
    from harness import scripted_module

    scripted_module.install(gui=True)
    return scripted_module


@pytest.fixture
def module(gui, scene, repository):
    """What `slicer.modules.autofocussegmentation` gives."""
    return gui.register_module(repository / "AutofocusSegmentation" / "AutofocusSegmentation.py")


@pytest.fixture
def models_folder(gui, tmp_path):
    """The user's folder of models, empty; forgotten afterwards."""
    from AutofocusSegmentationLib import models

    folder = tmp_path / "models"
    folder.mkdir()
    models.set_user_models_folder(folder)
    yield folder
    models.set_user_models_folder(None)


@pytest.fixture
def copy_model(models_folder, repository):
    """`copy_model(id, **changes)`: the pelvis model's description in the user's folder; returns its folder."""

    def copy(model_id: str, **changes):
        source = repository / "AutofocusSegmentation" / "Resources" / "Models" / "pelvis-ct" / "model.json"
        folder = models_folder / model_id
        folder.mkdir()
        document = json.loads(source.read_text(encoding="utf-8")) | {"id": model_id} | changes
        (folder / "model.json").write_text(json.dumps(document), encoding="utf-8")
        return folder

    yield copy
    shutil.rmtree(models_folder, ignore_errors=True)


@pytest.fixture
def panel(module, scene, repository, models_folder, messages):
    """The segment panel on a scene, shown 350 px wide; `panel.engines` are the engines it started."""
    import slicer
    from fakes import FakeEngine, RecordedWindow

    from AutofocusSegmentation import AutofocusSegmentationLogic
    from AutofocusSegmentationLib.panels.segment import SegmentPanel

    engines: list[FakeEngine] = []

    def make_engine():
        engines.append(FakeEngine())
        return engines[-1]

    window = RecordedWindow()
    ui_file = repository / "AutofocusSegmentation" / "Resources" / "UI" / "Segment.ui"
    panel = SegmentPanel(str(ui_file), window, make_engine)
    panel.widget.resize(350, 700)
    panel.widget.show()
    panel.set_parameters(AutofocusSegmentationLogic().getParameterNode())
    panel.enter()
    yield SimpleNamespace(
        panel=panel, ui=panel.ui, widget=panel.widget, window=window, engines=engines, messages=messages,
        logic=AutofocusSegmentationLogic(), process=slicer.app.processEvents,
    )
    panel.cleanup()
    panel.widget.close()
    panel.widget.deleteLater()
    slicer.app.processEvents()


@pytest.fixture
def make_ct(make_volume):
    """`make_ct(name='CT', size=(12, 14, 16))`: a CT-like volume node, HU, 2 mm voxels."""

    def make(name="CT", size=(12, 14, 16)):
        array = np.full(size, -1000, np.int16)
        array[3:-3, 3:-3, 3:-3] = 40
        return make_volume(array, name=name, ijk_to_ras=np.diag([2.0, 2.0, 2.0, 1.0]))

    return make
