"""Loading a scripted module without Qt."""

import sys

import pytest

MODULE = """
import qt, ctk, vtk, slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

class Sample(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Sample")
        self.started = []
        slicer.app.connect("startupCompleted()", lambda: self.started.append(True))

class SampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    pass

class SampleLogic(ScriptedLoadableModuleLogic):
    def timer(self):
        return qt.QTimer()
"""


@pytest.fixture
def sample(slicer_app, tmp_path, monkeypatch):
    from harness import scripted_module

    (tmp_path / "Sample.py").write_text(MODULE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    handle = scripted_module.register_module(tmp_path / "Sample.py")
    yield handle
    del slicer_app.modules.sample, sys.modules["Sample"]


def test_module_is_registered(sample, scene, slicer_app):
    import slicer.util

    assert slicer_app.modules.sample is sample and sample.title == "Sample"
    assert slicer.util.modulePath("Sample") == sample.path
    assert slicer_app.modules.SampleInstance.resourcePath("UI/a.ui").endswith("Resources/UI/a.ui")
    slicer_app.app.send("startupCompleted()")
    assert slicer_app.modules.SampleInstance.started == [True]


def test_logic_keeps_one_parameter_node(sample, scene):
    from Sample import SampleLogic

    node = SampleLogic().getParameterNode()
    assert SampleLogic().getParameterNode() is node
    scene.Clear(0)
    assert SampleLogic().getParameterNode().GetAttribute("ModuleName") == "Sample"


def test_misspelt_names_fail(sample, slicer_app):
    with pytest.raises(AttributeError, match="no property tittle"):
        sample.tittle = "Sample"
    with pytest.raises(ValueError, match="no signal"):
        slicer_app.app.connect("startUpCompleted()", print)
    with pytest.raises(AttributeError):
        _ = slicer_app.app.moduleManger
