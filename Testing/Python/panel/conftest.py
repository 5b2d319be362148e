"""Fixtures of the panel's tests: the module as Slicer loads it, the panel with fakes behind its Protocols."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture
def module(qt_app, scene, repository):
    """What `slicer.modules.autofocussegmentation` gives."""
    from harness import scripted_module

    return scripted_module.register_module(repository / "AutofocusSegmentation" / "AutofocusSegmentation.py")


@pytest.fixture
def models_folder(module, tmp_path):
    """The user's folder of models, empty; forgotten afterwards."""
    from AutofocusSegmentationLib import models

    folder = tmp_path / "models"
    folder.mkdir()
    models.set_user_models_folder(folder)
    yield folder
    models.set_user_models_folder(None)


@pytest.fixture
def copy_model(models_folder, repository):
    """`copy_model(id, **changes)` puts the pelvis model's description into the user's folder; returns its own."""

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
def panel(module, repository, models_folder, messages):
    """The segment panel on a scene, shown 350 px wide; `panel.engines` are the engines it started, by
    `panel.make_engine`, which a test may replace."""
    import qt
    import slicer
    from panel_fakes import FakeEngine, RecordedWindow

    from AutofocusSegmentation import AutofocusSegmentationLogic
    from AutofocusSegmentationLib.engine.one_engine import OneEngine
    from AutofocusSegmentationLib.panels.segment import SegmentPanel
    from harness.qtshim.deletion import delete_now

    engines: list[FakeEngine] = []

    def make_engine():
        engines.append(FakeEngine())
        return engines[-1]

    window = RecordedWindow()
    ui_file = repository / "AutofocusSegmentation" / "Resources" / "UI" / "Segment.ui"
    opened = SimpleNamespace(make_engine=make_engine)
    panel = SegmentPanel(str(ui_file), window, OneEngine(), lambda: opened.make_engine())
    host = qt.QWidget()  # as the module's window holds it: what is left of the height goes below
    qt.QVBoxLayout(host).addWidget(panel.widget)
    host.layout().addStretch(1)
    host.resize(350, 700)
    host.show()
    results, parameters = [], AutofocusSegmentationLogic().getParameterNode()

    def on_result(result):
        """As the results section does."""
        parameters.result = result.segmentation
        results.append(result)

    panel.on_result = on_result
    panel.set_parameters(parameters)
    panel.enter()
    vars(opened).update(
        panel=panel, ui=panel.ui, widget=panel.widget, host=host, window=window, engines=engines, messages=messages,
        results=results, logic=AutofocusSegmentationLogic(), process=slicer.app.processEvents,
    )
    yield opened
    panel.cleanup()
    delete_now(host)


@pytest.fixture
def ready(panel, make_ct):
    """The segment panel, ready to segment a CT."""
    from clicks import choose_model

    volume = make_ct()
    choose_model(panel.ui, "pelvis-ct")
    panel.process()
    assert panel.ui.segmentButton.enabled
    panel.volume = volume
    return panel


@pytest.fixture
def tuning(module, repository, models_folder, messages):
    """The fine-tuning panel on a scene, shown 350 px wide; see tuning_panel.open_panel."""
    from tuning_panel import close_panel, open_panel

    opened = open_panel(repository, messages)
    opened.models_folder = models_folder
    yield opened
    close_panel(opened)


@pytest.fixture
def listed(tuning):
    """The fine-tuning panel with the pelvis model and three studies in the list."""
    from clicks import click
    from tuning_panel import add_study

    tuning.studies = [add_study(f"patient {letter}") for letter in "abc"]
    tuning.ui.baseSelector.setCurrentIndex(tuning.ui.baseSelector.findData("pelvis-ct"))
    click(tuning.ui.fromSceneButton)
    return tuning


@pytest.fixture
def make_ct(make_volume):
    """`make_ct(name='CT', size=(12, 14, 16))`: a CT-like volume node, HU, 2 mm voxels."""

    def make(name="CT", size=(12, 14, 16)):
        array = np.full(size, -1000, np.int16)
        array[3:-3, 3:-3, 3:-3] = 40
        return make_volume(array, name=name, ijk_to_ras=np.diag([2.0, 2.0, 2.0, 1.0]))

    return make


@pytest.fixture
def results(panel, repository):
    """The results section below the segment panel, as in the module's window."""
    from AutofocusSegmentationLib.panels.results import ResultsPanel

    section = ResultsPanel(
        str(repository / "AutofocusSegmentation" / "Resources" / "UI" / "Results.ui"), panel.window)
    panel.host.layout().insertWidget(1, section.widget)
    panel.panel.on_result = section.show_new
    panel.panel.run.on_started = section.run_began
    section.set_parameters(panel.logic.getParameterNode())
    parts = {"segment": panel.panel, "panel": section, "ui": section.ui, "widget": section.widget}
    yield SimpleNamespace(**vars(panel) | parts)
    section.cleanup()


@pytest.fixture
def views(scene):
    """The composite nodes of Slicer's three slice views, each with a foreground of its own."""
    import slicer

    nodes = []
    for name in ("Red", "Green", "Yellow"):
        node = scene.CreateNodeByClass("vtkMRMLSliceCompositeNode")
        node.UnRegister(None)
        node.SetLayoutName(name)
        node.SetSingletonTag(name)
        nodes.append(scene.AddNode(node))
    yield nodes  # singletons: they outlive the scene
    for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        scene.RemoveNode(node)


@pytest.fixture
def attention(module, repository, models_folder, messages, make_ct, views, copy_model):
    """The attention panel, opened, 350 px wide, on a segmented CT; `panel.engines` are the engines it started."""
    import qt
    import slicer
    from attention_study import segmented
    from panel_fakes import FakeEngine, RecordedWindow

    from afnet.models.manifest import find_model, read_manifest
    from AutofocusSegmentation import AutofocusSegmentationLogic
    from AutofocusSegmentationLib.engine.one_engine import OneEngine
    from AutofocusSegmentationLib.panels.attention import AttentionPanel
    from harness.qtshim.deletion import delete_now

    engines, one_engine, log = [], OneEngine(), []

    def make_engine():
        engines.append(FakeEngine())
        return engines[-1]

    window = RecordedWindow()
    ui_file = repository / "AutofocusSegmentation" / "Resources" / "UI" / "Attention.ui"
    opened = SimpleNamespace(make_engine=make_engine)
    panel = AttentionPanel(str(ui_file), window, one_engine, log.append, lambda: opened.make_engine())
    host = qt.QWidget()
    qt.QVBoxLayout(host).addWidget(panel.widget)
    host.layout().addStretch(1)
    host.resize(350, 800)
    host.show()
    # A grid and a network of its own, so that no size or reach here depends on what is bundled.
    network = find_model("pelvis-ct").raw["network"] | {"name": "AFN-3", "widths": [16] * 8}
    folder = copy_model("coarse-pelvis", network=network, grid={"spacing_mm": 6.0, "margin_mm": 12.0})
    volume, manifest = make_ct(size=(20, 24, 28)), read_manifest(folder)
    segmentation = segmented(manifest, {"ct": volume})
    parameters = AutofocusSegmentationLogic().getParameterNode()
    parameters.result = segmentation
    panel.set_parameters(parameters)
    panel.enter()
    panel.ui.attentionSection.collapsed = False
    slicer.app.processEvents()
    vars(opened).update(
        panel=panel, ui=panel.ui, widget=panel.widget, host=host, window=window, engines=engines, messages=messages,
        one_engine=one_engine, log=log, volume=volume, manifest=manifest, segmentation=segmentation,
        parameters=parameters, views=views, process=slicer.app.processEvents,
    )
    yield opened
    panel.cleanup()
    delete_now(host)
